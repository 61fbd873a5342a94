# SPDX-License-Identifier: GPL-2.0-only
"""Which relay is changed in which wave."""

import time
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.rollout.waves import Step, build, parse_steps, partners_of

STANDARD = parse_steps("1,10%,100%")


def make_mesh(
    relays: int,
    paths: list[tuple[int, ...]],
    pairs: list[tuple[int, int]] | None = None,
) -> Mesh:
    """A mesh of relays r00, r01, ..., whose paths go by these numbers; else a full mesh."""
    names = [f"r{number:02}" for number in range(relays)]
    return Mesh.model_validate(
        {
            "relays": {name: {"name": name} for name in names},
            "pairs": "full_mesh"
            if pairs is None
            else [[names[one], names[other]] for one, other in pairs],
            "paths": [
                {"name": f"p{n}", "ingress": names[way[0]], "via": [names[hop] for hop in way[1:]]}
                for n, way in enumerate(paths)
            ],
        }
    )


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("off", ()),
        ("1", (Step(1),)),
        ("1,10%,100%", (Step(1), Step(10, percent=True), Step(100, percent=True))),
        ("2, 5", (Step(2), Step(5))),
    ],
)
def test_steps(text: str, steps: tuple[Step, ...]) -> None:
    assert parse_steps(text) == steps


@pytest.mark.parametrize("text", ["", "0", "1,", "101%", "1.5", "-1", "all", "1,off", "9999999"])
def test_steps_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match=r"--waves: .*like 1,10%,100%"):
        parse_steps(text)


def test_two_relays_take_two_waves_and_the_less_used_goes_first() -> None:
    assert build(make_mesh(2, [(0, 1)]), ["r00", "r01"], STANDARD) == (("r00",), ("r01",))
    mesh = make_mesh(3, [(0, 1), (2, 1)])
    assert build(mesh, list(mesh.relays), STANDARD) == (("r00",), ("r01",), ("r02",))


def test_a_canary_that_no_traffic_crosses_would_show_nothing() -> None:
    mesh = make_mesh(4, [(1, 2), (3, 2)])
    assert build(mesh, list(mesh.relays), STANDARD)[0] == ("r01",)


def test_a_canary_of_the_users_choice() -> None:
    mesh = make_mesh(3, [(0, 1)])
    assert build(mesh, list(mesh.relays), STANDARD, "r02")[0] == ("r02",)
    with pytest.raises(UsageError, match="--canary: r09: none of the relays r00, r01, r02"):
        build(mesh, list(mesh.relays), STANDARD, "r09")


def test_a_large_mesh_has_one_then_a_tenth_then_the_rest() -> None:
    mesh = make_mesh(50, [(number, number + 25) for number in range(25)])
    waves = build(mesh, list(mesh.relays), STANDARD)
    assert [len(wave) for wave in waves] == [1, 5, 25, 19]
    assert sorted(name for wave in waves for name in wave) == sorted(mesh.relays)


def test_the_last_step_is_repeated() -> None:
    mesh = make_mesh(10, [])
    assert [len(w) for w in build(mesh, list(mesh.relays), parse_steps("4,3"))] == [4, 3, 3]
    assert [len(w) for w in build(mesh, list(mesh.relays), parse_steps("1,40%"))] == [1, 4, 4, 1]


def test_off_is_one_wave_whatever_the_pairs() -> None:
    mesh = make_mesh(3, [(0, 1, 2)])
    assert build(mesh, ["r02", "r00", "r01"], ()) == (("r00", "r01", "r02"),)
    assert build(mesh, [], STANDARD) == build(mesh, [], ()) == ()


def test_only_the_relays_of_the_run_have_a_wave() -> None:
    mesh = make_mesh(4, [(0, 1, 2, 3)])
    assert build(mesh, ["r03", "r01"], STANDARD) == (("r01",), ("r03",))


def test_pairs_are_listed_or_follow_each_other_on_a_path() -> None:
    mesh = make_mesh(5, [(0, 1, 2)], [(3, 4), (0, 1), (1, 2)])
    assert partners_of(mesh) == {
        "r00": {"r01"},
        "r01": {"r00", "r02"},
        "r02": {"r01"},
        "r03": {"r04"},
        "r04": {"r03"},
    }
    assert partners_of(make_mesh(2, [])) == {"r00": set(), "r01": set()}


def with_backups(ways: list[list[str]]) -> Mesh:
    """A full mesh of a, b, c, d and e, with one path from a."""
    path = {"name": "p", "ingress": "a", "via": ways[0], "backup": ways[1:]}
    return Mesh.model_validate(
        {"relays": {name: {"name": name} for name in "abcde"}, "paths": [path]}
    )


@pytest.mark.parametrize(
    ("ways", "waves"),
    [
        # b and c are no pair, but each is to be there while the other is changed.
        ([["b"], ["c"]], (("a",), ("b", "d", "e"), ("c",))),
        ([["b"], ["c", "d"]], (("a",), ("b", "e"), ("c",), ("d",))),
        # Both ways end at d.
        ([["b", "d"], ["c", "d"]], (("a",), ("b", "e"), ("c",), ("d",))),
    ],
)
def test_no_wave_has_two_ways_of_a_path(
    ways: list[list[str]], waves: tuple[tuple[str, ...], ...]
) -> None:
    mesh = with_backups(ways)
    assert build(mesh, list(mesh.relays), STANDARD) == waves


ways = some.lists(some.integers(0, 11), min_size=1, max_size=4, unique=True).map(tuple)


@given(some.lists(ways, max_size=20), some.sampled_from(["1,10%,100%", "2,30%", "1", "100%"]))
def test_no_wave_ever_has_both_ends_of_a_pair(paths: list[tuple[int, ...]], steps: str) -> None:
    mesh = make_mesh(12, paths)
    waves = build(mesh, list(mesh.relays), parse_steps(steps))
    partners = partners_of(mesh)
    for wave in waves:
        assert wave
        assert not any(other in partners[one] for one, other in combinations(wave, 2))
    assert sorted(name for wave in waves for name in wave) == sorted(mesh.relays)


def test_a_thousand_relays_are_divided_in_no_time() -> None:
    paths = [(n, (n + step) % 1000) for n in range(1000) for step in (1, 7, 31)]
    mesh = Mesh.model_validate(
        {
            "relays": {f"r{n}": {"name": f"r{n}"} for n in range(1000)},
            "paths": [
                {"name": f"p{n}", "ingress": f"r{way[0]}", "via": [f"r{way[1]}"]}
                for n, way in enumerate(paths)
            ],
        }
    )
    began = time.monotonic()
    waves = build(mesh, list(mesh.relays), STANDARD)
    assert time.monotonic() - began < 2
    assert len(waves) < 10
