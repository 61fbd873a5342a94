# SPDX-License-Identifier: GPL-2.0-only
"""A run of the benchmark: makes image and module, boots the guest, collects the results."""

import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from ktcp_ops import __version__, console
from ktcp_ops.errors import KtcpError
from ktcp_ops.run.environment import collection_root
from ktcp_testbed.bench import boot, envoy, programs
from ktcp_testbed.bench.boot import Boot
from ktcp_testbed.bench.plan import Plan
from ktcp_testbed.bench.progress import Progress, parts
from ktcp_testbed.bench.results import (
    Cost,
    Micro,
    Results,
    Series,
    SetUp,
    options_of,
    series_of,
    set_up_of,
)
from ktcp_testbed.kbuild import buildroot, kmodule
from ktcp_testbed.lab import cache, image
from ktcp_testbed.lab.recipe import Recipe
from ktcp_testbed.lab.virtual import Event, GuestFailedError


class Collector:
    """Collects the guest's events."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.versions: dict[str, str] = {}
        self.downloads: list[Series] = []
        self.costs: list[Cost] = []
        self.set_ups: list[SetUp] = []
        self.micro: Micro | None = None

    def told(self, event: Event) -> None:
        """Store an event of the guest."""
        facts = {key: value for key, value in event.items() if key != "event"}
        match event["event"]:
            case "versions":
                self.versions = facts["versions"]
            case "downloads":
                self.downloads.append(series_of(self.plan, **facts))
            case "cost":
                self.costs.append(Cost(**facts))
            case "set-up":
                self.set_ups.append(set_up_of(**facts))
            case "micro":
                self.micro = Micro(**facts)

    def check(self) -> None:
        """Make sure that the guest measured all that was asked for.

        Raises:
            GuestFailedError: Something is missing.
        """
        wanted = [part for part, _, _ in parts(self.plan.job)]
        found = {
            "download": len(self.downloads),
            "cost": len(self.costs),
            "set-up": len({each.way for each in self.set_ups}),
            "micro": int(self.micro is not None),
        }
        for part, count in found.items():
            if count != wanted.count(part):
                raise GuestFailedError(
                    f"the guest measured {count} of {wanted.count(part)} {part} parts"
                )


def measure(plan: Plan, work: Path) -> Results:
    """Measure what the plan says.

    Args:
        plan: What to measure.
        work: A directory for logs and the compiled module.

    Raises:
        KtcpError: Something is missing or full, the module does not build, or the guest
            could not do its job.
    """
    started = datetime.now(tz=UTC).replace(microsecond=0)
    try:
        work.mkdir(parents=True, exist_ok=True)
        with cache.locked(work / "lock"):
            guest = prepare(plan, work)
            console.print_note("guest: booting in virtual time")
            begun = time.monotonic()
            collector = listen(plan, guest)
    except OSError as error:
        raise KtcpError(f"bench {plan.name}: {error}") from error
    return Results(
        name=plan.name,
        started=started,
        took_s=round(time.monotonic() - begun, 1),
        options=options_of(plan),
        versions={**collector.versions, **host_versions(plan)},
        downloads=tuple(collector.downloads),
        costs=tuple(collector.costs),
        set_ups=tuple(collector.set_ups),
        micro=collector.micro,
    )


def prepare(plan: Plan, work: Path) -> Boot:
    """Get an image, and compile the module for its kernel."""
    base = image.follow(Recipe.bench(plan.release))
    root = buildroot.ensure(plan.release)
    headers = root.headers(base)
    console.print_note(f"module: compiling for {headers}")
    tree = f"/lib/modules/{headers}/build"
    module = kmodule.build(collection_root(), root, work, tree)
    rivals = [envoy.ensure()] if has_envoy(plan) else []
    return Boot(
        image=base,
        files=(module, *programs.build(root, work, tree), *rivals),
        job=plan.job.dump(),
        directory=work,
        memory_mib=plan.memory_mib,
    )


def listen(plan: Plan, guest: Boot) -> Collector:
    """Run the guest, report how far it is, and collect its events."""
    collector = Collector(plan)
    progress = Progress(plan.job, console.print_note, time.monotonic)

    def told(event: Event) -> None:
        collector.told(event)
        progress.told(event)

    boot.run(guest, told)
    collector.check()
    return collector


def has_envoy(plan: Plan) -> bool:
    """Whether Envoy, which the image does not have, is measured."""
    return "envoy" in (*plan.job.ways, *plan.job.costs)


def host_versions(plan: Plan) -> dict[str, str]:
    """The versions that the guest does not know."""
    found = {"ktcp_ops": __version__, "qemu": qemu_version()}
    return {**found, "envoy": envoy.VERSION} if has_envoy(plan) else found


def qemu_version() -> str:
    """QEMU's version."""
    command = ["qemu-system-x86_64", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].removeprefix("QEMU emulator version ")
