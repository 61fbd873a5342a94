# SPDX-License-Identifier: GPL-2.0-only
"""One QEMU guest in virtual time: it is booted with a job, and its output is read until it ends.

An instruction takes a nanosecond of the guest's time and idle time is skipped, so the guest's
clock does not depend on how fast or how busy the host is. The guest has no network to the host,
no ssh and no systemd: a job goes in as a disk, and what the guest tells comes out of its second
serial port, line by line.

A line that is a JSON object with the key ``event`` is an event. Two events have a fixed meaning:
``done``, without which the guest has died, and ``failed``, with a ``message``.
"""

import json
import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import process
from ktcp_testbed.lab.archive import File, pack
from ktcp_testbed.lab.logs import Logs
from ktcp_testbed.lab.process import Process
from ktcp_testbed.lab.qemu import drive

Event = dict[str, Any]

# Every guest gets the same date and the same time, whatever the host.
VIRTUAL_TIME = (
    *("-accel", "tcg,thread=single"),
    *("-icount", "shift=0,sleep=off"),
    *("-rtc", "base=2026-01-01,clock=vm"),
)
# The job is unpacked in /run; commas and blanks would end an argument.
BOOT = "mount -t tmpfs tmpfs /run; tar -xf /dev/vdb -C /run; exec /run/{}"
SECTOR = 512
# A guest that says nothing for so long (in real seconds) hangs.
SILENCE_S = 1800.0
END_S = 10.0
LINE_BYTES = 65_536


class GuestFailedError(KtcpError):
    """The guest died, hung, or said that it could not do its job."""


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A guest and its job."""

    name: str
    disk: Path
    """The root file system. What the guest writes to it is lost at its end."""
    kernel: Path
    initrd: Path | None
    """None for a kernel that has the drivers of the disk built in."""
    cpu: str
    memory_mib: int
    cpus: int = 1
    """Processors, which take turns on one processor of the host."""
    seed: int = 1
    """The seed of the random numbers that the guest starts with."""
    command_line: str = ""
    """Appended to the kernel's command line."""
    job: tuple[File, ...]
    """The files that are unpacked below /run."""
    init: str
    """The first process: a program of the job with its arguments, divided by blanks."""
    directory: Path
    """Where the logs go."""

    @property
    def logs(self) -> Logs:
        """The messages of the guest's kernel and of QEMU."""
        return Logs(directory=self.directory)

    @property
    def said(self) -> Path:
        """What the guest's programs told, kept also after a failed run."""
        return self.directory / "events.log"

    @property
    def job_disk(self) -> Path:
        """The job's disk, which exists while the guest runs."""
        return self.directory / "job.tar"


def arguments(vm: Vm) -> list[str]:
    """The command that runs the guest; pure."""
    return [
        "qemu-system-x86_64",
        *("-name", vm.name),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        *("-display", "none"),
        *VIRTUAL_TIME,
        *("-smp", str(vm.cpus)),
        *("-cpu", vm.cpu),
        *("-seed", str(vm.seed)),
        *("-m", f"{vm.memory_mib}M"),
        *("-kernel", str(vm.kernel)),
        *(("-initrd", str(vm.initrd)) if vm.initrd else ()),
        *("-append", command_line(vm)),
        *("-serial", f"file:{vm.logs.console}"),
        *("-serial", "stdio"),
        *drive("root", vm.disk, "format=raw,snapshot=on"),
        *drive("job", vm.job_disk, "format=raw,readonly=on"),
    ]


def command_line(vm: Vm) -> str:
    """The kernel's command line; the shell's script is one word, with IFS instead of blanks."""
    script = BOOT.format(vm.init).replace(" ", "${IFS}")
    words = ["root=/dev/vda", "rootfstype=ext4", "rw", "console=ttyS0", "quiet", "panic=-1"]
    # Nobody attacks this guest, and the mitigations' instructions would be counted.
    words += ["mitigations=off", "lsm=capability", *vm.command_line.split()]
    return " ".join([*words, "init=/bin/sh", "--", "-c", script])


def packed(job: tuple[File, ...]) -> bytes:
    """The job as an archive, in whole sectors."""
    content = pack(job)
    return content.ljust(-len(content) % SECTOR + len(content), b"\0")


def run(
    vm: Vm, told: Callable[[Event], None], *, heard: Callable[[str], None] | None = None
) -> None:
    """Boot the guest, pass on what it tells, and return when it has done its job.

    Args:
        vm: The guest.
        told: Gets the events.
        heard: Gets all other lines; without it there must be none.

    Raises:
        GuestFailedError: It has not; the message says why, with its console's last lines.
        KtcpError: QEMU is missing, or the disk is full.
    """
    try:
        vm.directory.mkdir(parents=True, exist_ok=True)
        vm.logs.console.write_bytes(b"")
        vm.job_disk.write_bytes(packed(vm.job))
        with qemu(vm) as child:
            death = "" if listen(vm, child, told, heard) else how_it_ended(child)
    except OSError as error:
        raise KtcpError(f"the guest could not be given its job: {error}") from error
    finally:
        vm.job_disk.unlink(missing_ok=True)
    if death:
        raise GuestFailedError(vm.logs.describe(f"the guest has died: {death}"))


def how_it_ended(child: subprocess.Popen[bytes]) -> str:
    """Say how QEMU ended, after its output has ended."""
    try:
        code = child.wait(END_S)
    except subprocess.TimeoutExpired:
        return "it has closed its serial port"
    return f"QEMU was killed by signal {-code}" if code < 0 else f"QEMU ended with {code}"


@contextmanager
def qemu(vm: Vm) -> Iterator[subprocess.Popen[bytes]]:
    """The running guest; ended when the context is left."""
    with vm.logs.errors.open("wb") as errors:
        try:
            child = subprocess.Popen(
                arguments(vm),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C must reach only us; we end the guest.
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise KtcpError(
                "qemu-system-x86_64 is missing: install the package qemu-system-x86"
            ) from error
    with child:
        identity = Process.of(child.pid)
        try:
            yield child
        finally:
            process.stop([identity])


def listen(
    vm: Vm,
    child: subprocess.Popen[bytes],
    told: Callable[[Event], None],
    heard: Callable[[str], None] | None,
) -> bool:
    """Pass on what the guest tells until it ends; whether it said that the job is done."""
    done = False
    with vm.said.open("w", encoding="utf-8") as log:
        for line in lines(vm, child):
            log.write(f"{line}\n")
            event = parse(line)
            if event is None and heard:
                heard(line)
            elif event is None:
                raise GuestFailedError(vm.logs.describe(f"the guest said {line!r}"))
            elif event["event"] == "failed":
                raise GuestFailedError(vm.logs.describe(f"in the guest: {event['message']}"))
            else:
                done = done or event["event"] == "done"
                told(event)
    return done


def parse(line: str) -> Event | None:
    """The event that a line tells; None for any other line."""
    if not line.startswith('{"event":'):
        return None
    try:
        event: Event = json.loads(line)
    except ValueError:
        return None
    return event


def lines(vm: Vm, child: subprocess.Popen[bytes]) -> Iterator[str]:
    """The lines that the guest sends, until it ends."""
    assert child.stdout is not None
    pending = b""
    with selectors.DefaultSelector() as ready:
        ready.register(child.stdout, selectors.EVENT_READ)
        heard = time.monotonic()
        while True:
            if not ready.select(1.0):
                if time.monotonic() - heard > SILENCE_S:
                    raise GuestFailedError(
                        vm.logs.describe(f"the guest has said nothing for {SILENCE_S:.0f} s")
                    )
                continue
            data = os.read(child.stdout.fileno(), LINE_BYTES)
            if not data:
                return
            heard = time.monotonic()
            *complete, pending = (pending + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in complete if line.strip())
