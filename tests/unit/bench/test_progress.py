# SPDX-License-Identifier: GPL-2.0-only
"""The progress of a run."""

import pytest

from ktcp_testbed.bench.plan import Plan, Wishes, make
from ktcp_testbed.bench.progress import Progress, human_size, parts, weight
from tests.unit.bench.conftest import Events


def test_what_is_left_follows_the_pace(plan: Plan, events: Events) -> None:
    said: list[str] = []
    clock = iter(range(0, 10_000, 100))
    progress = Progress(plan.job, said.append, lambda: next(clock))
    for event in events:
        progress.told(event)
    assert len(said) == len(parts(plan.job)) == 10
    assert said[0] == "[1/10] e2e, 10 KB"
    assert "left" not in said[1], "so little says nothing about the rest"
    assert "min left)" in said[-2]
    assert said[-1].startswith("[10/10] KTCP, micro")


def test_nearly_done_is_said(plan: Plan, events: Events) -> None:
    said: list[str] = []
    progress = Progress(plan.job, said.append, iter(range(1000)).__next__)
    for event in events:
        progress.told(event)
    assert said[-1].endswith("(soon done)")


def test_tunnels_weigh_more_than_relays() -> None:
    job = make(Wishes()).job
    fresh, warm, plain = (
        weight(job, "download", way, 10240) for way in ("ssh-fresh", "ssh-warm", "nginx")
    )
    assert fresh > warm > plain


@pytest.mark.parametrize(("size", "text"), [(1, "1 B"), (10_240, "10 KB"), (1_572_864, "1.5 MB")])
def test_sizes_as_people_say_them(size: int, text: str) -> None:
    assert human_size(size) == text
