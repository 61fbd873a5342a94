# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the journal for people: a line for each, or everything about one."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from ktcp_ops.mesh.journal.journal import Run

COLUMNS = ("RUN", "STARTED", "SECONDS", "ACTION", "WHO", "OUTCOME", "HOSTS", "REASON")


def row(run: Run) -> list[str]:
    """Write a run's line of the table."""
    counts = Counter(str(host.state) for host in run.hosts.values())
    seconds = f"{(run.ended - run.started).total_seconds():.0f}" if run.ended else "-"
    return [
        run.id,
        f"{run.started:%Y-%m-%d %H:%M:%S}",
        seconds,
        run.action,
        f"{run.who}@{run.controller}",
        str(run.outcome),
        ",".join(f"{state}:{number}" for state, number in sorted(counts.items())) or "-",
        " ".join(run.reason.split()),
    ]


def text(run: Run) -> Iterator[str]:
    """Write what is known of a run, except its hosts."""
    facts = {
        "run": run.id,
        "action": run.action,
        "who": f"{run.who}@{run.controller}",
        "ktcp-ops": run.version,
        "inventories": ", ".join(run.inventories),
        "limit": run.limit,
        "options": ", ".join(f"{name} {value}" for name, value in sorted(run.options.items())),
        "started": f"{run.started:%Y-%m-%d %H:%M:%S} UTC",
        "ended": f"{run.ended:%Y-%m-%d %H:%M:%S} UTC" if run.ended else None,
        "outcome": str(run.outcome),
        "reason": run.reason,
    }
    yield from (f"{name:<12} {value}" for name, value in facts.items() if value)
    for number, wave in enumerate(run.waves, start=1):
        why = f": {wave.reason}" if wave.reason else ""
        yield f"wave {number:<7} {', '.join(wave.hosts)}: {wave.state}{why}"


def to_data(run: Run) -> dict[str, Any]:
    """Give a run as JSON data."""
    return run.model_dump(mode="json")
