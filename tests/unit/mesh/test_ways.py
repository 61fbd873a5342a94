# SPDX-License-Identifier: GPL-2.0-only
"""Which way an auto path takes: the shortest known one, and not a new one each day."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.mesh.model.latency import Latency, ends
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.model.ways import RELAY_COST_US, choose, cost, resolve

NAMES = ("a", "b", "c", "d", "e")


def latency_of(rtts: Mapping[str, int], **more: Any) -> Latency:  # noqa: ANN401 - of several types
    """Write legs like ``{"a-b": 30}``, in milliseconds."""
    found: dict[str, dict[str, int]] = {}
    for leg, rtt in rtts.items():
        one, other = ends(*leg.split("-"))
        found.setdefault(one, {})[other] = rtt * 1000
    return Latency(rtts=found, **more)


def mesh_of(pairs: object = "full_mesh", **more: object) -> Mesh:
    """Make a mesh whose one path leads from a to one of some exits."""
    path = {
        "name": "web",
        "ingress": "a",
        "via": "auto",
        "exits": ["d"],
        "destinations": ["203.0.113.5"],
    }
    auto = {name: more.pop(name) for name in ("max_hops", "min_gain_percent") if name in more}
    relays = {name: {"name": name} for name in NAMES}
    return Mesh.model_validate(
        {"pairs": pairs, "relays": relays, "auto": auto, "paths": [{**path, **more}]}
    )


def way(mesh: Mesh, latency: Latency) -> str:
    return "".join(choose(mesh, latency).get("web", ()))


DETOUR = {"a-d": 100, "a-b": 20, "b-d": 30, "b-c": 5, "c-d": 5, "a-c": 90}


@pytest.mark.parametrize(("hops", "wanted"), [(1, "ad"), (2, "abd"), (3, "abcd"), (8, "abcd")])
def test_the_shortest_way_within_the_limit(hops: int, wanted: str) -> None:
    assert way(mesh_of(max_hops=hops), latency_of(DETOUR)) == wanted


def test_only_pairs_are_legs() -> None:
    pairs = [["a", "c"], ["c", "d"], ["a", "d"]]
    assert way(mesh_of(pairs, max_hops=8), latency_of(DETOUR)) == "acd"
    assert way(mesh_of([["a", "b"], ["c", "d"]], max_hops=8), latency_of(DETOUR)) == ""
    assert way(mesh_of([["a", "b"], ["b", "d"]], max_hops=1), latency_of(DETOUR)) == ""


def test_the_fewest_relays_as_long_as_nothing_is_measured() -> None:
    assert way(mesh_of(), Latency()) == "ad"
    assert way(mesh_of([["a", "c"], ["c", "d"]]), Latency()) == "acd"
    assert way(mesh_of(exits=("a", "d")), Latency()) == "a"


def test_a_leg_without_an_answer_is_avoided() -> None:
    assert way(mesh_of(), latency_of({"a-b": 400, "b-d": 400})) == "abd"


def test_a_relay_more_has_to_be_worth_it() -> None:
    assert RELAY_COST_US == 1000
    assert way(mesh_of(), latency_of({"a-d": 50, "a-b": 20, "b-d": 29})) == "ad"
    assert way(mesh_of(), latency_of({"a-d": 50, "a-b": 20, "b-d": 28})) == "abd"


def test_the_first_exit_wins_as_long_as_targets_are_not_measured() -> None:
    legs = {"a-d": 100, "a-e": 10, "d-203.0.113.5": 5}
    mesh = mesh_of(exits=("d", "e"), max_hops=1)
    assert way(mesh, latency_of(legs)) == "ad"
    assert way(mesh, latency_of({"a-e": 10})) == "ae"
    assert way(mesh, latency_of({**legs, "e-203.0.113.5": 50})) == "ae"
    assert way(mesh, latency_of({**legs, "e-203.0.113.5": 300})) == "ad"


def test_what_the_inventory_says_of_targets_goes_first() -> None:
    legs = {"a-d": 100, "a-e": 10, "d-203.0.113.5": 5, "e-203.0.113.5": 50}
    mesh = mesh_of(exits=("d", "e"), max_hops=1, target_rtt_ms={"e": 95.5})
    assert way(mesh, latency_of(legs)) == "ad"


def test_of_ways_alike_one_without_loss_is_taken() -> None:
    legs = {"a-d": 100, "a-b": 50, "b-d": 52}
    lossy = {"a": {"d": 5000}}
    assert way(mesh_of(), latency_of(legs)) == "ad"
    assert way(mesh_of(), latency_of(legs, losses=lossy)) == "abd"
    assert way(mesh_of(), latency_of(legs, losses={**lossy, "b": {"d": 10_000}})) == "ad"
    # 5000 of a million are half a percent, which is less than the gain that a change needs.
    assert way(mesh_of(), latency_of(legs, losses=lossy, ways={"web": ("a", "d")})) == "ad"
    lossy = {"a": {"d": 20_000}}
    assert way(mesh_of(), latency_of(legs, losses=lossy, ways={"web": ("a", "d")})) == "abd"


@pytest.mark.parametrize(
    ("loss", "cost_us"),
    [(0, 101_000), (10_000, 111_000), (100_000, 201_000), (1_000_000, 201_000)],
)
def test_loss_makes_a_leg_longer_up_to_twice(loss: int, cost_us: int) -> None:
    assert cost(100_000, loss) == cost_us


@pytest.mark.parametrize(
    ("direct", "wanted"),
    # With a millisecond for each leg: 101 against 92 is less than a tenth, 103 is more.
    [(100, "ad"), (102, "abd")],
)
def test_a_way_stays_for_a_small_gain(direct: int, wanted: str) -> None:
    legs = {"a-d": direct, "a-b": 40, "b-d": 50}
    assert way(mesh_of(), latency_of(legs)) == "abd"
    assert way(mesh_of(), latency_of(legs, ways={"web": ("a", "d")})) == wanted
    none = mesh_of(min_gain_percent=0)
    assert way(none, latency_of(legs, ways={"web": ("a", "d")})) == "abd"


@pytest.mark.parametrize(
    "before",
    [
        ("a", "e"),
        ("b", "d"),
        ("a", "x", "d"),
        ("a", "b", "b", "d"),
        ("a", "b", "c", "d"),
        ("a", "c", "d"),
        ("d",),
    ],
)
def test_a_way_that_cannot_be_gone_any_more_does_not_stay(before: tuple[str, ...]) -> None:
    pairs = [["a", "b"], ["b", "d"], ["a", "d"], ["a", "e"], ["b", "c"], ["c", "d"]]
    mesh = mesh_of(pairs, min_gain_percent=99)
    legs = {"a-d": 90, "a-b": 20, "b-d": 30}
    assert way(mesh, latency_of(legs, ways={"web": before})) == "abd"
    assert way(mesh, latency_of(legs, ways={"web": ("a", "d")})) == "ad"


def test_a_way_with_a_dead_leg_does_not_stay() -> None:
    mesh = mesh_of(min_gain_percent=99)
    legs = latency_of({"a-b": 200, "b-d": 300}, ways={"web": ("a", "d")})
    assert way(mesh, legs) == "abd"


def test_the_preferred_exit_is_taken_again_when_it_is_back() -> None:
    mesh = mesh_of(exits=("d", "e"), max_hops=1, min_gain_percent=99)
    down = latency_of({"a-e": 10}, ways={"web": ("a", "d")})
    assert way(mesh, down) == "ae"
    assert way(mesh, latency_of({"a-e": 10, "a-d": 30}, ways={"web": ("a", "e")})) == "ad"


def test_a_choice_is_kept_as_it_is_used() -> None:
    mesh = mesh_of()
    latency = latency_of({"a-d": 95, "a-b": 40, "b-d": 50}, ways={"web": ("a", "d")})
    once = replace(latency, ways=choose(mesh, latency))
    assert choose(mesh, once) == once.ways


def test_a_mesh_gets_its_ways() -> None:
    mesh = mesh_of()
    path = resolve(mesh.model_copy(update={"latency": latency_of(DETOUR)})).paths[0]
    assert (path.via, path.relays, path.exits) == (("b", "d"), ("a", "b", "d"), ("d",))
    lost = resolve(mesh_of([["a", "b"]])).paths[0]
    assert lost.via is None
    assert lost.relays == ("a",)
    assert resolve(resolve(mesh)) == resolve(mesh)


def shortest(rtts: Mapping[tuple[str, str], int], hops: int) -> int:
    """Find the shortest way by trying all."""
    return min(
        sum(rtts[ends(*leg)] * 1000 + RELAY_COST_US for leg in pairwise(("a", *middle, "d")))
        for length in range(hops)
        for middle in permutations("bce", length)
    )


LEGS = [ends(one, other) for one in NAMES for other in NAMES if one < other]


@given(
    st.lists(st.integers(1, 1000), min_size=len(LEGS), max_size=len(LEGS)),
    st.integers(1, 4),
)
def test_no_other_way_is_shorter(times: list[int], hops: int) -> None:
    rtts = dict(zip(LEGS, times, strict=True))
    latency = latency_of({"-".join(leg): rtt for leg, rtt in rtts.items()})
    chosen = choose(mesh_of(max_hops=hops), latency)["web"]
    assert len(chosen) <= hops + 1
    cost = sum(rtts[ends(*leg)] * 1000 + RELAY_COST_US for leg in pairwise(chosen))
    assert cost == shortest(rtts, hops)
