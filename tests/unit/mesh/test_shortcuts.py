# SPDX-License-Identifier: GPL-2.0-only
"""Pairs of relays that are faster over a third one: which are found, and how they are shown."""

import json
from collections.abc import Mapping, Sequence
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.cli import main
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.latency import RTT_MAX_US, Latency
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import shortcuts
from ktcp_ops.mesh.observation.shortcuts import LISTED, Shortcut, find
from tests.unit.mesh.conftest import make_description, one_mesh
from tests.unit.mesh.test_ways import NAMES, latency_of, mesh_of


def measured(legs: Mapping[str, int], pairs: object = "full_mesh") -> Mesh:
    """Make a mesh with legs like ``{"a-b": 30}``, in milliseconds."""
    return mesh_of(pairs).model_copy(update={"latency": latency_of(legs)})


TRIANGLE = {"a-b": 100, "a-c": 30, "b-c": 40}


def test_a_triangle_with_a_shorter_way() -> None:
    found = find(measured(TRIANGLE), NAMES)
    assert found.count == 1
    (one,) = found.best
    assert one == Shortcut(ends=("a", "b"), via="c", direct_us=100_000, via_us=70_000)
    assert shortcuts.row(one) == ["a", "b", "100.000", "c", "70.000", "30.000"]


@pytest.mark.parametrize(("direct", "count"), [(70, 0), (71, 0), (72, 1)])
def test_the_relay_between_has_to_be_worth_a_millisecond(direct: int, count: int) -> None:
    assert find(measured({**TRIANGLE, "a-b": direct}), NAMES).count == count


def test_only_pairs_that_were_measured_count() -> None:
    listed = [["a", "b"], ["a", "c"]]
    assert find(measured(TRIANGLE, listed), NAMES).count == 0
    assert find(measured({"a-c": 30, "b-c": 40}), NAMES).count == 0
    assert find(measured({"a-b": 100, "a-c": 30}), NAMES).count == 0
    assert find(measured({**TRIANGLE, "b-gone": 1, "gone-a": 1}), NAMES).best[0].via == "c"
    assert find(measured({}), NAMES) == shortcuts.Shortcuts((), 0)


def test_a_pair_counts_if_one_end_is_wanted() -> None:
    legs = {**TRIANGLE, "d-e": 100, "c-d": 20, "c-e": 20}
    mesh = measured(legs)
    assert [one.ends for one in find(mesh, NAMES).best] == [("d", "e"), ("a", "b")]
    assert [one.ends for one in find(mesh, ["b"]).best] == [("a", "b")]
    assert find(mesh, ["c"]).count == 0


def large(legs: Mapping[tuple[str, str], int]) -> Mesh:
    """Make a mesh of as many relays as the legs have, in microseconds."""
    names = sorted({name for ends in legs for name in ends})
    rtts: dict[str, dict[str, int]] = {}
    for (one, other), rtt in legs.items():
        rtts.setdefault(one, {})[other] = rtt
    mesh = Mesh.model_validate({"relays": {name: {"name": name} for name in names}})
    return mesh.model_copy(update={"latency": Latency(rtts=rtts)})


def slowly(legs: Mapping[tuple[str, str], int]) -> list[tuple[int, str, str]]:
    """Find all shortcuts by trying every triangle: what each gains, and its ends."""
    both = {**legs, **{(other, one): rtt for (one, other), rtt in legs.items()}}
    names = sorted({name for ends in both for name in ends})
    found = []
    for one, other in combinations(names, 2):
        ways = [
            both[one, via] + both[via, other]
            for via in names
            if (one, via) in both and (via, other) in both
        ]
        if (one, other) in both and ways and both[one, other] - min(ways) > 1000:
            found.append((min(ways) - both[one, other], one, other))
    return sorted(found)


ENDS = list(combinations([f"r{number}" for number in range(9)], 2))
RTTS = st.one_of(st.integers(1, 10_000), st.integers(1, RTT_MAX_US), st.just(RTT_MAX_US))


@given(st.dictionaries(st.sampled_from(ENDS), RTTS, min_size=len(ENDS) - 6))
def test_it_finds_what_trying_every_triangle_finds(legs: dict[tuple[str, str], int]) -> None:
    wanted = slowly(legs)
    found = find(large(legs), {name for ends in legs for name in ends})
    assert found.count == len(wanted)
    assert [(-one.gain_us, *one.ends) for one in found.best] == wanted[:LISTED]


def star(relays: int) -> Mesh:
    """Make a mesh whose pairs are all faster over the first relay, each by another gain."""
    names = [f"r{number:02}" for number in range(relays)]
    return large(
        {
            (one, other): 1000 if one == names[0] else 10_000 + 100 * number
            for number, (one, other) in enumerate(combinations(names, 2))
        }
    )


def test_plan_lists_the_largest_gains_and_counts_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relays = {f"r{number:02}": {"ktcp_address": f"10.0.0.{number + 1}"} for number in range(8)}
    description = make_description(lambda mesh: mesh.update(paths=[], exits={}), relays=relays)
    mesh = read(description).model_copy(update={"latency": star(8).latency})

    def load(_names: Sequence[str]) -> Mesh:
        return mesh

    monkeypatch.setattr(inventory, "load_all", one_mesh(load))
    assert main.run(["mesh", "plan", "-i", "inv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = lines.index("FROM  TO   DIRECT_MS  VIA  VIA_MS  GAIN_MS")
    assert lines[head + 1].split() == ["r06", "r07", "12.700", "r00", "2.000", "10.700"]
    assert lines[head + 1 + LISTED :] == ["and 1 more"]
    assert main.run(["mesh", "plan", "-i", "inv", "-o", "json"]) == 0
    data = json.loads(capsys.readouterr().out)["shortcuts"]
    assert (data["count"], len(data["best"])) == (21, LISTED)
    assert data["best"][0] == {
        "ends": ["r06", "r07"],
        "via": "r00",
        "direct_us": 12_700,
        "via_us": 2000,
        "gain_us": 10_700,
    }
    assert main.run(["mesh", "plan", "-i", "inv", "-o", "json", "--relay", "r03"]) == 0
    assert json.loads(capsys.readouterr().out)["shortcuts"]["count"] == 6
