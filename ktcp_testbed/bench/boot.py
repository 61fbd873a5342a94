# SPDX-License-Identifier: GPL-2.0-only
"""Boots the bench's guest in virtual time, with a disk that has programs, module and job."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ktcp_testbed.lab import virtual
from ktcp_testbed.lab.archive import File
from ktcp_testbed.lab.image import Image
from ktcp_testbed.lab.virtual import Event, GuestFailedError

# Without -erms,-fsrm each copied byte costs an instruction, which is so on no real CPU.
CPU = "max,-erms,-fsrm"
# HAProxy needs cmpxchg16b, and the kernel must not use it: see EMULATED_CPU in the lab's qemu.py.
COMMAND_LINE = "clearcpuid=cx16"
PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Boot:
    """What the guest is booted with."""

    image: Image
    files: tuple[Path, ...]
    """The module, and other programs that were compiled for the guest."""
    job: str
    directory: Path
    memory_mib: int
    program: str = "ktcp_testbed.bench.guest"
    """The Python module that does the job; it may be one of ``files``."""

    def guest(self) -> virtual.Vm:
        """The machine, which is the same for each job."""
        return virtual.Vm(
            name="ktcp-bench",
            disk=self.image.disk,
            kernel=self.image.kernel,
            initrd=self.image.initrd,
            cpu=CPU,
            memory_mib=self.memory_mib,
            command_line=COMMAND_LINE,
            job=tuple(job_files(self)),
            init=f"bench/init {self.program}",
            directory=self.directory,
        )


def job_files(boot: Boot) -> list[File]:
    """The guest's programs, the module and the job."""
    package = PACKAGE.parent
    programs = [
        package / "__init__.py",
        PACKAGE / "__init__.py",
        *sorted(PACKAGE.glob("guest/*.py")),
    ]
    return [
        *(
            File(
                path=f"bench/{path.relative_to(package.parent).as_posix()}",
                content=path.read_bytes(),
            )
            for path in programs
        ),
        File(path="bench/init", content=(PACKAGE / "guest" / "init").read_bytes(), mode=0o755),
        *(
            File(path=f"bench/{path.name}", content=path.read_bytes(), mode=0o755)
            for path in boot.files
        ),
        File(path="bench/job.json", content=boot.job.encode()),
    ]


def run(boot: Boot, told: Callable[[Event], None]) -> None:
    """Boot the guest, pass on what it tells, and return when it has done its job.

    Raises:
        GuestFailedError: It has not, or its kernel complained; the message has the complaint.
        KtcpError: QEMU is missing, or the disk is full.
    """

    def checked(event: Event) -> None:
        if event["event"] == "kernel":
            said = "\n".join(event["lines"])
            raise GuestFailedError(f"the guest's kernel complained\n{said}")
        told(event)

    virtual.run(boot.guest(), checked)
