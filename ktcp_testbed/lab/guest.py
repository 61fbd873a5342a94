# SPDX-License-Identifier: GPL-2.0-only
"""One running virtual machine: started, waited for, used over ssh, stopped.

Links and the state on disk, which a lab adds, are in ``lab``.
"""

import contextlib
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError, UnreachableError
from ktcp_testbed.lab import image, machine, process, qemu, ssh
from ktcp_testbed.lab.launch import free_port, start
from ktcp_testbed.lab.machine import Files, Options
from ktcp_testbed.lab.process import Process
from ktcp_testbed.lab.recipe import Release
from ktcp_testbed.lab.topology import Guest as Definition
from ktcp_testbed.lab.topology import Topology

Completed = subprocess.CompletedProcess[str]

# An emulated guest on a busy host; a debug kernel may be given more.
BOOT_TIMEOUT = 300.0


class GuestDiedError(UnreachableError):
    """The guest's QEMU process has ended, or does not answer any more."""


class Guest:
    """A running virtual machine."""

    def __init__(
        self, *, name: str, process: Process, port: int, files: Files, config: Path
    ) -> None:
        self.name = name
        self.process = process
        self.port = port
        self.files = files
        self.config = config
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def console(self) -> Path:
        """The serial console's log."""
        return self.files.console

    def alive(self) -> bool:
        """Whether the QEMU process runs, whatever the guest does in it."""
        if self.child is not None:
            # Also collects a child that has ended, which would remain as a zombie.
            return self.child.poll() is None
        return self.process.alive()

    def check_alive(self) -> None:
        """Raise GuestDiedError, with the console's last lines, if QEMU has ended."""
        if not self.alive():
            raise GuestDiedError(self.describe("has stopped: its QEMU process has ended"))

    def describe(self, what: str) -> str:
        """Say ``what`` happened, with the last lines of the guest and of QEMU."""
        return self.files.describe(f"guest {self.name} {what}")

    def wait(
        self, *, timeout: float = BOOT_TIMEOUT, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """Wait until the guest has applied its seed and accepts ssh.

        Args:
            timeout: seconds at most.
            stopped: called about once a second; if it is True, the wait ends.

        Raises:
            GuestDiedError: QEMU ended meanwhile.
            UnreachableError: the time is over, or the seed could not be applied.
        """
        deadline = time.monotonic() + timeout
        while not greets(self.port):
            self.check_alive()
            if stopped():
                raise UnreachableError(f"guest {self.name}: given up")
            if time.monotonic() > deadline:
                raise UnreachableError(
                    self.describe(f"did not let anybody in within {timeout:.0f} s")
                )
            time.sleep(0.5)
        left = max(30.0, deadline - time.monotonic())
        done = self.run(
            "systemctl is-active --quiet ktcp-lab || "
            "{ systemctl status --no-pager --full ktcp-lab; exit 1; }",
            timeout=left,
        )
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip()
            raise UnreachableError(self.describe(f"could not apply its configuration\n{said}"))

    def run(
        self,
        command: Sequence[str] | str,
        *,
        timeout: float = 60,
        check: bool = False,
        stdin: str | None = None,
    ) -> Completed:
        """Run a command as root in the guest.

        Args:
            command: a list of arguments, or a line for the guest's shell.
            timeout: seconds at most.
            check: raise when the command fails.
            stdin: text for its standard input.

        Raises:
            GuestDiedError: QEMU has ended, or ssh lost the guest.
            KtcpError: the command took too long, or failed and ``check`` is set.
        """
        line = ssh.command(self.config, self.name, command)
        try:
            done = subprocess.run(
                line,
                input=stdin or "",
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            self.check_alive()
            said = self.describe(f"took more than {timeout:.0f} s for: {line[-1]}")
            raise KtcpError(said) from error
        self.check_reached(done)
        if check and done.returncode != 0:
            said = f"ended with {done.returncode}\n{(done.stderr or done.stdout).strip()}"
            raise KtcpError(f"guest {self.name}: {line[-1]}: {said}".rstrip())
        return done

    def check_reached(self, done: Completed) -> None:
        """Raise GuestDiedError if it was ssh itself that failed."""
        if done.returncode == 255:
            self.check_alive()
            raise GuestDiedError(self.describe(f"is out of reach: {done.stderr.strip()}"))

    def put(self, local: Path | str, remote: Path | str, *, timeout: float = 120) -> None:
        """Copy a file, or a directory's content, to the path ``remote`` in the guest."""
        source = Path(local)
        target = shlex.quote(str(remote))
        parent = shlex.quote(str(Path(remote).parent))
        if source.is_dir():
            pack = ["tar", "-c", "-C", str(source), "."]
            unpack = f"mkdir -p {target} && tar -x --no-same-owner -C {target}"
        else:
            pack = ["cat", "--", str(source)]
            mode = f"{source.stat().st_mode & 0o777:o}"
            unpack = f"mkdir -p {parent} && cat >{target} && chmod {mode} {target}"
        pipe(pack, ssh.command(self.config, self.name, unpack), timeout, f"copying to {self.name}")

    def get(self, remote: Path | str, local: Path | str, *, timeout: float = 120) -> None:
        """Copy the file, or the directory's content, ``remote`` in the guest to ``local``."""
        source, target = str(remote), Path(local)
        if self.run(["test", "-d", source]).returncode == 0:
            target.mkdir(parents=True, exist_ok=True)
            pack = ["tar", "-c", "-C", source, "."]
            unpack = ["tar", "-x", "--no-same-owner", "-C", str(target)]
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            pack = ["cat", "--", source]
            unpack = ["sh", "-c", 'cat >"$1"', "get", str(target)]
        writer = ssh.command(self.config, self.name, pack)
        pipe(writer, unpack, timeout, f"copying {source} from {self.name}")

    def disconnect(self) -> None:
        """End the shared ssh connection, if there is one."""
        if self.config.exists():
            subprocess.run(
                ssh.close_command(self.config, self.name), capture_output=True, check=False
            )

    def power_off(self) -> None:
        """Ask the guest to switch itself off; does not wait for it."""
        with contextlib.suppress(KtcpError):
            self.run("systemctl poweroff --no-block", timeout=10)

    def stop(self, *, graceful: bool = False) -> None:
        """End the guest; when this returns, its process is gone."""
        if self.alive() and graceful:
            self.power_off()
            process.wait_gone([self.process], 30)
        self.disconnect()
        process.stop([self.process])
        if self.child is not None:
            self.child.wait()


def greets(port: int) -> bool:
    """Whether an ssh server greets on the loopback ``port``.

    QEMU accepts connections long before the guest does, so the greeting counts.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def pipe(writer: Sequence[str], reader: Sequence[str], timeout: float, what: str) -> None:
    """Run ``writer | reader``; both must succeed."""
    with subprocess.Popen(writer, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as source:
        try:
            done = subprocess.run(
                reader,
                stdin=source.stdout,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except BaseException:
            source.kill()
            raise
    if source.returncode != 0 or done.returncode != 0:
        raise KtcpError(f"{what} failed: {done.stderr.strip()}")


def launch(vm: qemu.Vm, *, files: Files, config: Path) -> Guest:
    """Start a guest, without waiting until it is up.

    Raises:
        KtcpError: QEMU is missing or did not start.
    """
    child, port = start(vm, files.errors)
    guest = Guest(
        name=vm.name, process=Process.of(child.pid), port=port, files=files, config=config
    )
    guest.child = child
    return guest


@contextlib.contextmanager
def running(  # noqa: PLR0913 - all named, and all but two optional
    *,
    release: Release,
    directory: Path,
    name: str = "guest",
    memory_mib: int = 1024,
    cpus: int = 2,
    kernel: Path | None = None,
    command_line: str = "",
    reboots: bool = True,
    boot_timeout: float = BOOT_TIMEOUT,
    progress: image.Progress = console.print_note,
) -> Iterator[Guest]:
    """Boot one guest without links, and stop it at the end.

    Args:
        release: the Debian release of its image.
        directory: made for the guest's files; the logs stay there, the disk goes.
        name: its host name.
        memory_mib: its memory.
        cpus: its processors.
        kernel: another kernel (a bzImage with ext4 and virtio disk built in), which
            is booted without an initial ramdisk.
        command_line: appended to the kernel's command line.
        reboots: whether a reset (a panic, with ``panic=-1``) starts it again; else
            its process ends, which every call then reports as GuestDiedError.
        boot_timeout: seconds at most until it lets us in.
        progress: told what happens.
    """
    base = image.ensure(release, progress=progress)
    definition = Definition(name=name, memory_mib=memory_mib, cpus=cpus)
    options = Options(kernel=kernel, command_line=command_line, reboots=reboots)
    with launched(definition, base, directory, options) as guest:
        progress(f"guest {name}: booting Debian {release}")
        began = time.monotonic()
        guest.wait(timeout=boot_timeout)
        progress(f"guest {name}: up after {time.monotonic() - began:.0f} s")
        yield guest


@contextlib.contextmanager
def launched(
    definition: Definition, base: image.Image, directory: Path, options: Options
) -> Iterator[Guest]:
    """Start a guest of its own, which boots meanwhile; at the end it is stopped."""
    topology, name = Topology(name="one", guests=(definition,)), definition.name
    directory.mkdir(parents=True, exist_ok=True)
    files, config = Files(directory=directory), directory / "ssh_config"
    files.console.unlink(missing_ok=True)
    sockets = Path(tempfile.mkdtemp(prefix="ktcp-guest-"))
    vm = machine.vm(
        topology,
        name,
        image=base,
        files=files,
        sockets=sockets,
        port=free_port(),
        options=options,
    )
    try:
        machine.write_seed(topology, name, image=base, files=files, delays_us={})
        machine.make_disk(files.disk, base.disk)
        guest = launch(vm, files=files, config=config)
        try:
            hosts = {name: guest.port}
            config.write_text(ssh.config(hosts, identity=base.identity, sockets=sockets))
            yield guest
        finally:
            guest.stop()
    finally:
        shutil.rmtree(sockets, ignore_errors=True)
        for path in (files.disk, files.seed, config):
            path.unlink(missing_ok=True)
