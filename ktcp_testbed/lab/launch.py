# SPDX-License-Identifier: GPL-2.0-only
"""Starting QEMU, and finding a loopback port for the guest's ssh server."""

import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import qemu

PORT_ATTEMPTS = 10
PORT_TAKEN = "Could not set up host forwarding rule"

# QEMU makes its devices before it runs the guest. That is quick, even on a busy host.
START_SECONDS = 60.0


def start(vm: qemu.Vm, errors: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start QEMU; return its process and the port of the guest's ssh server.

    If the port was taken in the meantime, another one is used. The process gets
    a session of its own, so that Ctrl-C on the terminal reaches only us, and we
    end the guests in order.

    Args:
        vm: what to run.
        errors: the file for QEMU's own messages.

    Raises:
        KtcpError: QEMU is missing or did not start.
    """
    for _ in range(PORT_ATTEMPTS):
        child = spawn(vm, errors)
        if child is not None:
            return child, vm.ssh_port
        vm = replace(vm, ssh_port=free_port())
    raise KtcpError(f"guest {vm.name}: {PORT_ATTEMPTS} loopback ports in a row were taken")


def spawn(vm: qemu.Vm, errors: Path) -> subprocess.Popen[bytes] | None:
    """Start QEMU once, and wait until it listens; None if the port was taken."""
    with errors.open("wb") as output:
        try:
            child = subprocess.Popen(
                qemu.arguments(vm, qemu.host_accelerator()),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise KtcpError(
                "qemu-system-x86_64 is missing: install the package qemu-system-x86"
            ) from error
    try:
        await_port(child, vm.ssh_port)
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.poll() is None:
        return child
    said = errors.read_text(encoding="utf-8", errors="replace").strip()
    if PORT_TAKEN in said:
        return None
    raise KtcpError(f"guest {vm.name} could not be started: QEMU ended\n{said}".rstrip())


def await_port(child: subprocess.Popen[bytes], port: int) -> None:
    """Wait until QEMU has made its devices and listens, or has ended."""
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and not listens(port, child.pid):
        if time.monotonic() > deadline:
            raise KtcpError(f"QEMU has not made its devices within {START_SECONDS:.0f} s")
        time.sleep(0.05)


def free_port() -> int:
    """A loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int, pid: int) -> bool:
    """Whether the process ``pid``, and not another one, listens on the loopback ``port``."""
    wanted = f"0100007F:{port:04X}"
    listening = "0A"
    sockets = {
        f"socket:[{fields[9]}]"
        for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        if (fields := line.split())[1] == wanted and fields[3] == listening
    }
    return not sockets.isdisjoint(open_files(pid)) if sockets else False


def open_files(pid: int) -> set[str]:
    """The files that the process ``pid`` has open; none if it has ended."""
    found = set()
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(link.readlink()))
    except FileNotFoundError:
        return found
    return found
