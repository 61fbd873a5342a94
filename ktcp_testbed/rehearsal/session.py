# SPDX-License-Identifier: GPL-2.0-only
"""A whole rehearsal: compile the module, boot the guest with the job, judge what it tells."""

from collections.abc import Callable
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_ops.run.environment import collection_root
from ktcp_testbed.kbuild import buildroot, kmodule
from ktcp_testbed.kbuild.cached import key_of
from ktcp_testbed.lab import cache, image, virtual
from ktcp_testbed.lab.archive import File
from ktcp_testbed.lab.qemu import EMULATED_CPU
from ktcp_testbed.lab.recipe import Release
from ktcp_testbed.lab.virtual import Event
from ktcp_testbed.rehearsal.job import Job
from ktcp_testbed.rehearsal.observed import Observed
from ktcp_testbed.rehearsal.verdict import Report, judge

PACKAGE = Path(__file__).resolve().parent
MEMORY_MIB = 768
COMMAND_LINE = "oops=panic net.ifnames=0"
PROGRAMS = ("roles/ktcp_peers/files/ktcp-apply", "roles/ktcp_steering/files/ktcp-steering")

Perform = Callable[[Job, Callable[[Event], None]], None]
"""Does a job, and passes on what is told of it."""


def rehearse(job: Job, perform: Perform) -> Report:
    """Do a rehearsal.

    Raises:
        KtcpError: It could not be done.
    """
    seen = Observed()
    waves = job.selection.waves

    def told(event: Event) -> None:
        seen.told(event)
        if event["event"] == "stage":
            stage = event["stage"]
            what = f"wave {stage} of {len(waves)}" if stage else "before the change"
            console.print_note(f"rehearsal: {what}: done")

    perform(job, told)
    seen.check(waves)
    return judge(job, seen)


def in_guest(release: Release, directory: Path) -> Perform:
    """Do jobs in a guest of a release; logs and the module are kept in ``directory``."""

    def perform(job: Job, told: Callable[[Event], None]) -> None:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with cache.locked(directory / "lock"):
                base = image.ensure(release)
                module = compiled(release, base, directory)
                console.print_note("rehearsal: booting a guest in virtual time")
                virtual.run(machine(job, base, module, directory), told)
        except OSError as error:
            raise KtcpError(f"rehearsal: {error}") from error

    return perform


def compiled(release: Release, base: image.Image, directory: Path) -> Path:
    """Compile the module for the image's kernel, unless that was done for these sources."""
    root = buildroot.ensure(release)
    headers = root.headers(base)
    sources = sorted(
        path
        for pattern in kmodule.SOURCES
        for path in (collection_root() / "kmod").rglob(pattern)
        if path.is_file() and not path.name.endswith(".mod.c")
    )
    key = key_of(headers, *(part for path in sources for part in (str(path), path.read_bytes())))
    note, module = directory / "module.key", directory / "kmod" / "ktcp.ko"
    if module.exists() and note.exists() and note.read_text() == key:
        return module
    console.print_note(f"module: compiling for {headers}")
    note.unlink(missing_ok=True)
    tree = f"/lib/modules/{headers}/build"
    module = kmodule.build(collection_root(), root, directory, tree)
    note.write_text(key)
    return module


def machine(job: Job, base: image.Image, module: Path, directory: Path) -> virtual.Vm:
    """The guest."""
    return virtual.Vm(
        name="ktcp-rehearsal",
        disk=base.disk,
        kernel=base.kernel,
        initrd=base.initrd,
        cpu=EMULATED_CPU,
        memory_mib=MEMORY_MIB,
        command_line=COMMAND_LINE,
        job=tuple(job_files(job, module)),
        init="rehearsal/init",
        directory=directory / "guest",
    )


def job_files(job: Job, module: Path) -> list[File]:
    """The files of the job: the guest's program, the module, the relays' programs, the job."""
    top = PACKAGE.parent
    python = [top / "__init__.py", PACKAGE / "__init__.py", *sorted(PACKAGE.glob("guest/*.py"))]
    programs = [collection_root() / name for name in PROGRAMS]
    named = {
        **{f"rehearsal/{path.relative_to(top.parent).as_posix()}": path for path in python},
        **{f"rehearsal/{path.name}": path for path in (*programs, module)},
        "rehearsal/init": PACKAGE / "guest" / "init",
    }
    return [
        *(
            File(path=name, content=path.read_bytes(), mode=0o755 if not path.suffix else 0o644)
            for name, path in named.items()
        ),
        File(path="rehearsal/job.json", content=job.dump().encode()),
    ]
