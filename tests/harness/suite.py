# SPDX-License-Identifier: GPL-2.0-only
"""tests/kernel in a guest: boot, copy, run, judge, bring back."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_ops.kbuild import buildroot, kmodule
from ktcp_ops.lab import guest, image, ssh
from ktcp_ops.lab.guest import Guest
from ktcp_ops.lab.recipe import Release
from tests.harness import debug_kernel
from tests.kernel.splat import splats

REMOTE = "/root/suite"
# What an input of the fuzzers may take, all tests together.
FUZZ_S = 0.5
# What a round of all that comes and goes may take.
ROUND_S = 400


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One run of the suite."""

    checkout: Path
    release: Release
    checker: str | None = None
    label: str | None = None
    """What the run is besides, as part of its name."""
    only: str | None = None
    family: str | None = None
    """v4 or v6, where one is enough."""
    fuzz: int = 400
    rounds: int = 1
    options: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Names the run's directory and its reports."""
        return "-".join(filter(None, (self.release, self.checker, self.label)))

    @property
    def directory(self) -> Path:
        """Where the results go."""
        return self.checkout / "build" / "harness" / self.name

    @property
    def bound_s(self) -> float:
        """No run takes longer."""
        seconds = 50 * 60 if self.checker else 25 * 60
        return seconds + self.fuzz * FUZZ_S + (self.rounds - 1) * ROUND_S

    def environment(self) -> dict[str, str]:
        """How much there is to do, and how fast it will be done."""
        pace = {"KTCP_TEST_SCALE": "1", "KTCP_TEST_PATIENCE": "2"}
        if self.checker:
            pace = {"KTCP_TEST_SCALE": "0.1", "KTCP_TEST_PATIENCE": "5"}
        amount = {"KTCP_TEST_FUZZ": str(self.fuzz), "KTCP_TEST_ROUNDS": str(self.rounds)}
        chosen = {"KTCP_TEST_CHECKER": self.checker or "", "KTCP_TEST_FAMILY": self.family or ""}
        return {**pace, **amount, **chosen}

    def command_line(self) -> str:
        """What is appended to the kernel's: an oops ends the guest, a busy host is no stall."""
        patience = "watchdog_thresh=60 rcupdate.rcu_cpu_stall_timeout=240"
        words = f"panic=-1 oops=panic {patience}"
        # Interpreting ACPI's routing of PCI under KASAN takes two minutes; MSI needs none.
        return f"{words} kmemleak=on pci=noacpi" if self.checker else words

    def pytest(self) -> str:
        """The guest's shell line that runs the tests."""
        words = [f"{name}={value}" for name, value in sorted(self.environment().items())]
        words += ["PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", f"PYTHONPATH={REMOTE}"]
        words += [
            "python3",
            "-m",
            "pytest",
            "-v",
            "--tb=short",
            "--color=no",
            "-ra",
            "--durations=25",
        ]
        words += ["-p", "no:cacheprovider", "--rootdir", REMOTE, "-c", "/dev/null"]
        words += ["--import-mode=importlib", f"--junitxml={REMOTE}/junit.xml", *self.options]
        words += [f"{REMOTE}/tests/kernel"]
        line = " ".join(words)
        return f"cd {REMOTE} && {line}" + (f" -k '{self.only}'" if self.only else "")


def run(plan: Plan) -> int:
    """Build the module, run the tests with it, and say what came of it.

    Returns:
        0, or 1 when a test failed, the kernel complained or memory leaked.

    Raises:
        KtcpError: It did not come to the tests, or the guest died of them.
    """
    plan.directory.mkdir(parents=True, exist_ok=True)
    root = buildroot.ensure(plan.release)
    kernel = debug_kernel.ensure(root, plan.checker) if plan.checker else None
    module = build_module(plan, root, kernel)
    begun = time.monotonic()
    with booted(plan, kernel) as vm:
        prepare(vm, plan, module)
        failures = judge(vm, plan)
    took = time.monotonic() - begun
    for failure in failures:
        console.print_error(failure)
    verdict = "FAILED" if failures else "passed"
    console.print_note(f"kernel tests {plan.name}: {verdict} after {took:.0f} s")
    return 1 if failures else 0


def booted(
    plan: Plan, kernel: debug_kernel.DebugKernel | None = None
) -> contextlib.AbstractContextManager[Guest]:
    """The guest of a run, for as long as the context lasts."""
    return guest.running(
        release=plan.release,
        directory=plan.directory / "guest",
        name="ktest",
        memory_mib=3072 if plan.checker else 1536,
        kernel=kernel.image if kernel else None,
        command_line=plan.command_line(),
        reboots=False,
        boot_timeout=600,
    )


def stock_tree(plan: Plan, root: buildroot.Buildroot) -> str:
    """The build tree of the release's own kernel, as seen in the build root."""
    return f"/lib/modules/{root.headers(image.ensure(plan.release))}/build"


def build_module(
    plan: Plan, root: buildroot.Buildroot, kernel: debug_kernel.DebugKernel | None
) -> Path:
    """Compile ktcp.ko for the kernel that the guest will run."""
    work = plan.directory
    if kernel is None:
        tree, place = stock_tree(plan, root), None
    else:
        tree, place = "/kernel/linux", kernel.directory
    options = (kmodule.SELFTEST,)
    return kmodule.build(plan.checkout, root, work, tree, kernel=place, options=options)


def prepare(vm: Guest, plan: Plan, module: Path) -> None:
    """Put the module and the tests into the guest."""
    vm.put(plan.checkout / "tests" / "kernel", f"{REMOTE}/tests/kernel")
    for built in sorted(module.parent.glob("*.ko")):
        vm.put(built, f"{REMOTE}/{built.name}")
    if plan.checker:
        vm.run("mountpoint -q /sys/kernel/debug || mount -t debugfs none /sys/kernel/debug")
    if plan.checker == "kasan":
        leaks(vm, "forget")


def judge(vm: Guest, plan: Plan) -> list[str]:
    """Run the tests; a sentence for each thing that is wrong afterwards."""
    code = stream(vm, plan.pytest(), bound_s=plan.bound_s)
    failures = [] if code == 0 else [f"pytest ended with {code}"]
    with contextlib.suppress(KtcpError):
        vm.get(f"{REMOTE}/junit.xml", plan.directory / "junit.xml")
    if plan.checker == "kasan":
        done = leaks(vm, "report")
        if done.returncode:
            failures.append(f"kmemleak:\n{done.stdout}{done.stderr}")
    else:
        vm.run("rmmod ktcp", timeout=120)
    log = vm.run(["dmesg"], timeout=120, check=True).stdout
    (plan.directory / "dmesg.txt").write_text(log, encoding="utf-8")
    found = splats(log.splitlines())
    if found:
        failures.append("the kernel complains, see dmesg.txt:\n" + "\n".join(found[:20]))
    return failures


def leaks(vm: Guest, command: str) -> subprocess.CompletedProcess[str]:
    """Run tests.kernel.leaks in the guest."""
    return vm.run(
        f"cd {REMOTE} && PYTHONPATH={REMOTE} python3 -m tests.kernel.leaks {command}", timeout=600
    )


def stream(vm: Guest, line: str, *, bound_s: float) -> int:
    """Run a shell line in the guest, its output being ours; its exit code.

    Raises:
        GuestDiedError: The guest is gone; the message holds the end of its console.
        KtcpError: It took longer than `bound_s` seconds.
    """
    with subprocess.Popen(
        ssh.command(vm.config, "ktest", line),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        timer = threading.Timer(bound_s, expire)
        timer.start()
        try:
            assert process.stdout is not None
            for row in process.stdout:
                sys.stdout.write(row)
                sys.stdout.flush()
            code = process.wait()
        finally:
            # A thread that is left waiting would keep us from ending.
            timer.cancel()
    if expired.is_set():
        raise KtcpError(f"the tests did not end within {bound_s:.0f} s")
    if code == 255:
        vm.check_alive()
    return code
