# SPDX-License-Identifier: GPL-2.0-only
"""A burst of clients that empties a pool: is a client refused, and when is the pool full again?

    ./dev run python -m tests.bench.burst --release bookworm --count 200 --runs 5

In the bench's guest, in virtual time, with the paper's round trips and all improvements on.
Prints JSON: for each burst the seconds from the moment when the pool was empty until it was
full, and how long the clients waited for their first byte.
"""

import argparse
import dataclasses
import statistics
from pathlib import Path
from typing import Any

from ktcp_ops import console
from ktcp_testbed.bench import boot, plan, session
from ktcp_testbed.bench.results import percentile
from ktcp_testbed.lab.recipe import RELEASES
from ktcp_testbed.lab.virtual import Event

GUEST = Path(__file__).with_name("guest_burst.py")
WORK = Path("build/bench/.burst.work")


def summary(bursts: list[Event]) -> dict[str, Any]:
    """Give the figures of all bursts but the first one, which finds all caches cold."""
    counted = bursts[1:]
    times = sorted(seconds for each in counted for seconds in each["first_byte_s"])
    refills = [each["refilled_s"] for each in counted]
    return {
        "bursts": [
            {name: value for name, value in each.items() if name not in ("event", "first_byte_s")}
            for each in bursts
        ],
        "refilled_s": {"median": statistics.median(refills), "most": max(refills)},
        "first_byte_s": {
            "p50": percentile(times, 50),
            "p99": percentile(times, 99),
            "most": times[-1],
        },
    }


def measure(wishes: plan.Wishes) -> dict[str, Any]:
    """Run the guest. Returns the versions in it, and its measurements."""
    told: list[Event] = []
    guest = session.prepare(plan.make(wishes), WORK)
    guest = dataclasses.replace(guest, program=GUEST.stem, files=(*guest.files, GUEST))
    boot.run(guest, told.append)
    [versions] = [event["versions"] for event in told if event["event"] == "versions"]
    return {
        "kernel": versions["kernel"],
        "srcversion": versions["srcversion"],
        **summary([event for event in told if event["event"] == "burst"]),
    }


def main() -> None:
    """Take the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--release", choices=RELEASES, default="trixie")
    parser.add_argument("--count", type=int, default=200, help="clients at once (%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="bursts (%(default)s)")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    wishes = plan.Wishes(
        release=options.release, sizes=("1",), runs=options.runs, set_ups=options.count, costs=()
    )
    console.print_json(measure(wishes))


if __name__ == "__main__":
    main()
