# SPDX-License-Identifier: GPL-2.0-only
"""One QEMU guest in virtual time: booted with a job, listened to until it has done it.

An instruction takes a nanosecond of the guest's time and idle time is skipped, so that
the guest's clock does not know how fast or how busy the host is. There is no network to
the host, no ssh and no systemd in it: a job goes in as a disk, events come out of a
serial port.
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
from ktcp_ops.lab import process
from ktcp_ops.lab.archive import File, pack
from ktcp_ops.lab.guest import tail
from ktcp_ops.lab.image import Image
from ktcp_ops.lab.process import Process
from ktcp_ops.lab.qemu import drive

Event = dict[str, Any]

# Without -erms,-fsrm a copied byte costs an instruction, which no real CPU takes.
VIRTUAL_TIME = (
    *("-accel", "tcg,thread=single"),
    *("-icount", "shift=0,sleep=off"),
    *("-smp", "1"),
    *("-cpu", "max,-erms,-fsrm"),
    # The same random numbers and the same date in each run.
    *("-seed", "1"),
    *("-rtc", "base=2026-01-01,clock=vm"),
)
# /run is where the job is unpacked; commas and blanks would end an argument.
BOOT = "mount -t tmpfs tmpfs /run; tar -xf /dev/vdb -C /run; exec /run/bench/init {}"
SECTOR = 512
# A guest that says nothing for so long (in real seconds) hangs.
SILENCE_S = 1800.0
END_S = 10.0
PACKAGE = Path(__file__).resolve().parent
LINE_BYTES = 65_536


class GuestFailedError(KtcpError):
    """The guest died, hung, or said that it could not do its job."""


@dataclass(frozen=True, kw_only=True)
class Vm:
    """What a run needs."""

    image: Image
    files: tuple[Path, ...]
    """The module, and other programs that were compiled for the guest."""
    job: str
    directory: Path
    memory_mib: int
    program: str = "ktcp_ops.bench.guest"
    """The Python module that does the job; one of the files may be it."""

    @property
    def console(self) -> Path:
        """What the guest's kernel says."""
        return self.directory / "console.log"

    @property
    def errors(self) -> Path:
        """What QEMU itself says."""
        return self.directory / "qemu.log"

    @property
    def events(self) -> Path:
        """What the guest's programs tell, of which a run that fails leaves no more than this."""
        return self.directory / "events.log"

    @property
    def disk(self) -> Path:
        """The job."""
        return self.directory / "job.tar"


def arguments(vm: Vm) -> list[str]:
    """The command that runs the guest; pure."""
    return [
        "qemu-system-x86_64",
        *("-name", "ktcp-bench"),
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        *("-display", "none"),
        *VIRTUAL_TIME,
        *("-m", f"{vm.memory_mib}M"),
        *("-kernel", str(vm.image.kernel)),
        *("-initrd", str(vm.image.initrd)),
        *("-append", command_line(vm.program)),
        *("-serial", f"file:{vm.console}"),
        *("-serial", "stdio"),
        *drive("root", vm.image.disk, "format=raw,snapshot=on"),
        *drive("job", vm.disk, "format=raw,readonly=on"),
    ]


def command_line(program: str) -> str:
    """The kernel's; its shell gets one word, with blanks that only it sees."""
    script = BOOT.format(program).replace(" ", "${IFS}")
    words = ["root=/dev/vda", "rootfstype=ext4", "rw", "console=ttyS0", "quiet", "panic=-1"]
    # Nobody attacks this guest, and the mitigations' instructions would be counted.
    words += ["mitigations=off", "lsm=capability", "init=/bin/sh", "--", "-c", script]
    return " ".join(words)


def job_disk(vm: Vm) -> bytes:
    """The guest's programs, the module and the job as an archive, in whole sectors."""
    package = PACKAGE.parent
    programs = [
        package / "__init__.py",
        PACKAGE / "__init__.py",
        *sorted(PACKAGE.glob("guest/*.py")),
    ]
    files = [
        File(path=f"bench/{path.relative_to(package.parent).as_posix()}", content=path.read_bytes())
        for path in programs
    ]
    files += [
        File(path="bench/init", content=(PACKAGE / "guest" / "init").read_bytes(), mode=0o755),
        *(
            File(path=f"bench/{path.name}", content=path.read_bytes(), mode=0o755)
            for path in vm.files
        ),
        File(path="bench/job.json", content=vm.job.encode()),
    ]
    content = pack(files)
    return content.ljust(-len(content) % SECTOR + len(content), b"\0")


def run(vm: Vm, told: Callable[[Event], None]) -> None:
    """Boot the guest, pass on what it tells, and return when it has done its job.

    Raises:
        GuestFailedError: It has not; the message says why, with its console's last lines.
        KtcpError: QEMU is missing, or the disk is full.
    """
    try:
        vm.directory.mkdir(parents=True, exist_ok=True)
        vm.console.write_bytes(b"")
        vm.disk.write_bytes(job_disk(vm))
        with qemu(vm) as child:
            death = "" if listen(vm, child, told) else how_it_ended(child)
    except OSError as error:
        raise KtcpError(f"the guest could not be given its job: {error}") from error
    finally:
        vm.disk.unlink(missing_ok=True)
    if death:
        raise GuestFailedError(describe(vm, f"the guest has died: {death}"))


def how_it_ended(child: subprocess.Popen[bytes]) -> str:
    """What became of a QEMU that says nothing any more."""
    try:
        code = child.wait(END_S)
    except subprocess.TimeoutExpired:
        return "it has closed its line"
    return f"QEMU was killed by signal {-code}" if code < 0 else f"QEMU ended with {code}"


@contextmanager
def qemu(vm: Vm) -> Iterator[subprocess.Popen[bytes]]:
    """The running guest; ended when the context is left."""
    with vm.errors.open("wb") as errors:
        try:
            child = subprocess.Popen(
                arguments(vm),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C is for us; we end the guest.
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


def listen(vm: Vm, child: subprocess.Popen[bytes], told: Callable[[Event], None]) -> bool:
    """Pass the guest's events on until it ends; whether it said that the job is done."""
    done = False
    with vm.events.open("w", encoding="utf-8") as log:
        for line in lines(vm, child):
            log.write(f"{line}\n")
            event = parse(vm, line)
            done = done or event["event"] == "done"
            told(event)
    return done


def parse(vm: Vm, line: str) -> Event:
    """The event that the guest tells.

    Raises:
        GuestFailedError: It is none, or tells what went wrong.
    """
    try:
        event: Event = json.loads(line)
    except ValueError as error:
        raise GuestFailedError(describe(vm, f"the guest said {line!r}")) from error
    if event["event"] == "failed":
        raise GuestFailedError(f"in the guest: {event['message']}")
    if event["event"] == "kernel":
        said = "\n".join(event["lines"])
        raise GuestFailedError(f"the guest's kernel complained\n{said}")
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
                        describe(vm, f"the guest has said nothing for {SILENCE_S:.0f} s")
                    )
                continue
            data = os.read(child.stdout.fileno(), LINE_BYTES)
            if not data:
                return
            heard = time.monotonic()
            *complete, pending = (pending + data).split(b"\n")
            yield from (line.decode(errors="replace") for line in complete if line.strip())


def describe(vm: Vm, what: str) -> str:
    """``what`` happened, and the last that the guest's kernel and QEMU said."""
    said = [what]
    for path in (vm.errors, vm.console):
        last = tail(path)
        if last:
            said += [f"the last lines of {path}:", *(f"  {line}" for line in last)]
    return "\n".join(said)
