# SPDX-License-Identifier: GPL-2.0-only
"""Events and results of a run, as a guest would send them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ktcp_testbed.bench.plan import Plan, Wishes, make
from ktcp_testbed.bench.results import Results, options_of
from ktcp_testbed.bench.session import Collector

Events = list[dict[str, Any]]
TIMES = {"e2e": (0.5477, 0.5478), "nginx": (0.5479, 0.548), "ktcp": (0.3068, 0.307)}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """Three ways, one size, two runs, and the cost of one way."""
    return make(
        Wishes(
            parent=tmp_path / "bench",
            sizes=("10k",),
            runs=2,
            ways=tuple(TIMES),
            costs=("ktcp",),
            set_ups=3,
        )
    )


@pytest.fixture
def events(plan: Plan) -> Events:
    """The events that the guest sends for the plan."""
    told: Events = [{"event": "versions", "versions": {"kernel": "6.12.1", "module": "0.1.0"}}]
    for way, (first, total) in TIMES.items():
        told.append({"event": "begin", "part": "download", "way": way, "size": 10240})
        later = [first + 0.001, total + 0.001]
        told.append(
            {
                "event": "downloads",
                "way": way,
                "size": 10240,
                "first": [0.82, 0.83],
                "runs": [[first, total], later],
            }
        )
    told.append({"event": "begin", "part": "cost", "way": "ktcp", "size": 0})
    cost = {"cpu_s": 1.6, "connections_per_s": 1594.0, "idle_kib": 276.0, "slow_reader_kib": 18e3}
    told.append({"event": "cost", "way": "ktcp", **cost})
    for way in ("routed", "haproxy", "ktcp-basic", "ktcp-tp", "ktcp"):
        told.append({"event": "begin", "part": "set-up", "way": way, "size": 0})
        told.append(
            {"event": "set-up", "way": way, "at_a_time": 1, "seconds": [0.5, 0.3, 0.4]},
        )
    assert plan.job.set_ups == 3
    told.append({"event": "begin", "part": "micro", "way": "ktcp", "size": 0})
    kinds = ("kthread", "process", "pthread")
    threads = {f"{verb}_{kind}": 1500.0 for verb in ("create", "switch") for kind in kinds}
    told.append({"event": "micro", "threads_ns": threads, "buffers_cpu_s": {"4096": 2.5}})
    return [*told, {"event": "done"}]


@pytest.fixture
def results(plan: Plan, events: Events) -> Results:
    """The results of these events."""
    collector = Collector(plan)
    for event in events:
        collector.told(event)
    collector.check()
    return Results(
        name="paper",
        started=datetime(2026, 1, 2, tzinfo=UTC),
        took_s=120,
        options=options_of(plan),
        versions=collector.versions,
        downloads=tuple(collector.downloads),
        costs=tuple(collector.costs),
        set_ups=tuple(collector.set_ups),
        micro=collector.micro,
    )
