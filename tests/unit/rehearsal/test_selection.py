# SPDX-License-Identifier: GPL-2.0-only
"""Which part of a mesh is rehearsed."""

from typing import Any

from tests.unit.rehearsal.conftest import make_job, make_mesh, move


def add_path(mesh: dict[str, Any]) -> None:
    """A second path, which begins and ends elsewhere."""
    mesh["paths"].append(
        {"name": "mail", "ingress": "rs", "via": ["rt"], "destinations": ["192.0.2.25"]}
    )
    mesh["exits"]["rt"] = [{"allow": "192.0.2.25"}]


def test_a_small_mesh_is_rehearsed_whole() -> None:
    chosen = make_job(None, make_mesh()).selection
    assert chosen.relays == chosen.paths == ()
    assert sorted(name for wave in chosen.waves for name in wave) == ["rc", "rs", "rt"]


def test_a_changed_path_comes_before_others() -> None:
    def change(mesh: dict[str, Any]) -> None:
        add_path(mesh)
        mesh["paths"][1]["ports"] = [25]

    chosen = make_job(make_mesh(add_path), make_mesh(change), most=2).selection
    assert set(chosen.after.relays) == {"rs", "rt"}
    assert chosen.relays == ("rc",)
    assert chosen.paths == ("web",)
    assert [path.name for path in chosen.after.paths] == ["mail"]


def test_a_path_whose_exit_list_changes_is_a_changed_one() -> None:
    def change(mesh: dict[str, Any]) -> None:
        add_path(mesh)
        mesh["exits"]["rt"].append({"deny": "192.0.2.0/24"})

    chosen = make_job(make_mesh(add_path), make_mesh(change), most=2).selection
    assert chosen.paths == ("web",)


def test_a_relay_that_is_left_out_is_in_no_wave_and_nobodys_peer() -> None:
    job = make_job(None, make_mesh(), most=2)
    assert [name for wave in job.selection.waves for name in wave] == ["rc", "rs"]
    assert set(job.after) == {"rc", "rs"}
    assert "10.77.4.2" not in job.after["rc"]["peers.conf"]


def test_a_relay_that_leaves_the_mesh_stays_as_it_is() -> None:
    job = make_job(make_mesh(move), make_mesh())
    assert set(job.before) == set(job.after) == {"rc", "rs", "rt"}
    [path] = job.selection.after.paths
    assert path.exit == "rs"


def test_no_key_leaves_the_host_but_equal_ones_stay_equal() -> None:
    key, fresh = "0123456789abcdef" * 4, "fedcba9876543210" * 4
    before = make_mesh(keys={"1": key})
    after = make_mesh(keys={"1": key, "2": fresh})
    job = make_job(before, after)
    assert key not in job.dump()
    assert fresh not in job.dump()
    assert job.before["rc"]["keys.conf"] in job.after["rc"]["keys.conf"]
    assert len(set(job.after["rc"]["keys.conf"].split())) == 5
