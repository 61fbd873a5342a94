# SPDX-License-Identifier: GPL-2.0-only
"""Runs tests/kernel in a guest in virtual time: build, boot, collect results, judge."""

import base64
import json
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktcp_ops import console
from ktcp_testbed.kbuild import buildroot, kernels, kmodule
from ktcp_testbed.lab import image, virtual
from ktcp_testbed.lab.archive import File
from ktcp_testbed.lab.qemu import EMULATED_CPU
from ktcp_testbed.lab.recipe import Release
from ktcp_testbed.lab.virtual import Event
from tests.harness import debug_kernel
from tests.kernel.splat import splats

HARNESS = Path(__file__).resolve().parent
# A kernel that is not the image's own.
Other = debug_kernel.DebugKernel | kernels.Kernel
MEMORY_MIB = {None: 1536, "kasan": 3072, "kcsan": 3072}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run of the suite."""

    checkout: Path
    release: Release
    checker: str | None = None
    kernel: str | None = None
    """One of kernels.BOOTABLE in the place of the image's own kernel."""
    label: str | None = None
    """What the run is besides, as part of its name."""
    only: str | None = None
    family: str | None = None
    """v4 or v6, where one is enough."""
    fuzz: int = 400
    rounds: int = 1
    options: Sequence[str] = ()
    tests: Sequence[str] = ()
    """Files and names of tests below tests/kernel; all of them for none."""
    share: str | None = None
    """N/M for each Mth test from the Nth on."""

    @property
    def name(self) -> str:
        """The name of the run's directory and of its reports."""
        share = self.share and self.share.replace("/", "of")
        return "-".join(filter(None, (self.release, self.kernel, self.checker, self.label, share)))

    @property
    def directory(self) -> Path:
        """The directory for the results."""
        return self.checkout / "build" / "harness" / self.name

    def environment(self) -> dict[str, str]:
        """The environment that chooses the tests, and how much they do."""
        return {
            "KTCP_TEST_SCALE": "0.1" if self.checker else "1",
            "KTCP_TEST_FUZZ": str(self.fuzz),
            "KTCP_TEST_ROUNDS": str(self.rounds),
            "KTCP_TEST_CHECKER": self.checker or "",
            "KTCP_TEST_FAMILY": self.family or "",
            "KTCP_TEST_SHARE": self.share or "1/1",
        }

    def command_line(self) -> str:
        """Additions to the kernel's command line: an oops ends the guest, the whole log is kept."""
        words = "oops=panic log_buf_len=8M net.ifnames=0"
        # Interpreting ACPI's PCI routing takes two minutes under KASAN; MSI does not need it.
        return f"{words} kmemleak=on pci=noacpi" if self.checker else words


@dataclass(frozen=True, kw_only=True)
class Part:
    """Tests that run together, with one module."""

    name: str
    module: Path
    words: Sequence[str]
    """For pytest."""
    environment: Mapping[str, str]


@dataclass(kw_only=True)
class Outcome:
    """The results that a guest has sent."""

    codes: dict[str, int] = field(default_factory=dict)
    """What pytest ended with, by part."""
    leaks: str = ""
    """What kmemleak reports."""
    guest_s: float = 0.0
    host_s: float = 0.0
    files: dict[str, bytes] = field(default_factory=dict)

    def told(self, event: Event) -> None:
        """Take in an event."""
        match event["event"]:
            case "ran":
                self.codes[event["name"]] = event["code"]
            case "leaks":
                self.leaks = event["text"] if event["code"] else ""
            case "file":
                self.files[event["name"]] = zlib.decompress(base64.b64decode(event["content"]))
            case "done":
                self.guest_s = event["guest_s"]

    @property
    def complaints(self) -> list[str]:
        """The faults that the kernel reported."""
        return splats(self.files["dmesg.txt"].decode(errors="replace").splitlines())


def run(plan: Plan) -> int:
    """Build the module, run the tests with it, and print the result.

    Returns:
        0, or 1 when a test failed, the kernel complained or memory leaked.

    Raises:
        KtcpError: The tests could not run, or the guest died during them.
    """
    plan.directory.mkdir(parents=True, exist_ok=True)
    root, kernel = chosen(plan)
    module = build_module(plan, root, kernel)
    outcome = boot(plan, [part_of(plan, module)], kernel)
    failures = judge(outcome)
    for failure in failures:
        console.print_error(failure)
    verdict = "FAILED" if failures else "passed"
    took = f"{outcome.guest_s:.0f} s of the guest's time, {outcome.host_s:.0f} s of the host's"
    console.print_note(f"kernel tests {plan.name}: {verdict} after {took}")
    return 1 if failures else 0


def chosen(plan: Plan) -> tuple[buildroot.Buildroot, Other | None]:
    """The build root, and the kernel that is not the image's own."""
    if plan.kernel:
        root = kernels.ensure(plan.release)
        return root, kernels.bootable(root, plan.kernel)
    root = buildroot.ensure(plan.release)
    return root, debug_kernel.ensure(root, plan.checker) if plan.checker else None


def part_of(plan: Plan, module: Path, name: str = "tests") -> Part:
    """The tests of a plan with one module."""
    words = [*plan.options, *(["-k", plan.only] if plan.only else [])]
    words += [f"tests/kernel/{name}" for name in plan.tests or [""]]
    return Part(name=name, module=module, words=words, environment=plan.environment())


def boot(plan: Plan, parts: Sequence[Part], kernel: Other | None = None) -> Outcome:
    """Run the parts one after the other in one guest; results go to the plan's directory.

    Raises:
        GuestFailedError: The guest has died, or could not do its job.
    """
    begun = time.monotonic()
    outcome = Outcome()
    try:
        virtual.run(machine(plan, parts, kernel), outcome.told, heard=show)
    finally:
        for name, content in outcome.files.items():
            (plan.directory / name).write_bytes(content)
    outcome.host_s = time.monotonic() - begun
    return outcome


def show(line: str) -> None:
    """Print pytest's output as it comes; of an overwritten line only its last state."""
    sys.stdout.write(f"{line.rpartition(chr(13))[2]}\n")
    sys.stdout.flush()


def machine(plan: Plan, parts: Sequence[Part], kernel: Other | None) -> virtual.Vm:
    """The guest, with the image's own kernel or another."""
    base = image.ensure(plan.release)
    files = job_files(plan, parts)
    if isinstance(kernel, kernels.Kernel):
        files += module_files(kernel)
    return virtual.Vm(
        name=f"ktcp-{plan.name}",
        disk=base.disk,
        kernel=kernel.image if kernel else base.kernel,
        initrd=kernel.initrd if kernel else base.initrd,
        cpu=EMULATED_CPU,
        memory_mib=MEMORY_MIB[plan.checker],
        command_line=plan.command_line(),
        job=tuple(files),
        init="suite/init",
        directory=plan.directory / "guest",
    )


def module_files(kernel: kernels.Kernel) -> list[File]:
    """The kernel's modules, which are not in the image."""
    return [
        File(path=f"suite/{path.relative_to('usr')}", content=(kernel.root / path).read_bytes())
        for path in kernel.modules()
    ]


def job_files(plan: Plan, parts: Sequence[Part]) -> list[File]:
    """The files of the job: tests, the guest's program, each part's modules, instructions."""
    tests = sorted((plan.checkout / "tests" / "kernel").rglob("*.py"))
    programs = [HARNESS / "__init__.py", HARNESS / "guest.py", *tests]
    files = [
        File(
            path=f"suite/tests/{path.parent.name}/{path.name}",
            content=path.read_bytes(),
        )
        for path in programs
    ]
    job: dict[str, Any] = {"leaks": plan.checker == "kasan", "parts": []}
    for number, part in enumerate(parts):
        modules = sorted(part.module.parent.glob("*.ko"))
        files += [
            File(path=f"suite/modules/{number}/{path.name}", content=path.read_bytes())
            for path in modules
        ]
        job["parts"].append(
            {
                "name": part.name,
                "module": f"modules/{number}/{part.module.name}",
                "words": list(part.words),
                "environment": dict(part.environment),
            }
        )
    return [
        *files,
        File(path="suite/init", content=(HARNESS / "init").read_bytes(), mode=0o755),
        File(path="suite/job.json", content=json.dumps(job).encode()),
    ]


def judge(outcome: Outcome) -> list[str]:
    """A sentence for each problem after the run."""
    failures = [f"pytest ended with {code}" for code in outcome.codes.values() if code]
    if not outcome.codes:
        failures.append("pytest did not run")
    if outcome.leaks:
        failures.append(f"kmemleak:\n{outcome.leaks}")
    if outcome.complaints:
        failures.append(
            "the kernel complains, see dmesg.txt:\n" + "\n".join(outcome.complaints[:20])
        )
    return failures


def stock_tree(plan: Plan, root: buildroot.Buildroot) -> str:
    """The build tree of the release's own kernel, as seen in the build root."""
    return f"/lib/modules/{root.headers(image.ensure(plan.release))}/build"


def build_module(plan: Plan, root: buildroot.Buildroot, kernel: Other | None) -> Path:
    """Compile ktcp.ko for the kernel that the guest will run."""
    place = None
    if isinstance(kernel, debug_kernel.DebugKernel):
        tree, place = "/kernel/linux", kernel.directory
    elif kernel:
        tree = f"/lib/modules/{kernel.release}/build"
    else:
        tree = stock_tree(plan, root)
    options = (kmodule.SELFTEST,)
    return kmodule.build(plan.checkout, root, plan.directory, tree, kernel=place, options=options)
