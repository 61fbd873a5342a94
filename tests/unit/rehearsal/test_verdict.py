# SPDX-License-Identifier: GPL-2.0-only
"""In which wave a rehearsal would stop a rollout, and why, with a guest that tells anything."""

from collections.abc import Callable
from typing import Any

import pytest

from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_testbed.lab.virtual import Event, GuestFailedError
from ktcp_testbed.rehearsal import session, text
from ktcp_testbed.rehearsal.verdict import Report
from tests.unit.rehearsal.conftest import Guest, change, make_job, make_mesh, move, peer

Spoil = Callable[[list[Event]], None]


def rehearse(before: Mesh | None, after: Mesh, spoil: Spoil | None = None) -> Report:
    return session.rehearse(make_job(before, after), Guest(spoil))


def problems(before: Mesh | None, after: Mesh, spoil: Spoil) -> list[str]:
    report = rehearse(before, after, spoil)
    assert report.exit_code is ExitCode.GATE
    *found, last = text.verdict(report)
    assert report.stopped
    assert last == f"the rollout would stop in wave {report.stopped.number}"
    return found


def test_a_first_rollout_that_goes_well() -> None:
    report = rehearse(None, make_mesh())
    assert report.exit_code is ExitCode.OK
    assert text.verdict(report) == []
    assert [wave.relays for wave in report.waves] == [("rc",), ("rs", "rt")]
    [first, _] = report.paths
    assert text.path_row(first) == [
        *("web (IPv4)", "rc-rs", "routed", "40.0", "split", "40.0"),
        "whole",
    ]
    assert [text.relay_row(relay)[1:] for relay in report.relays] == [
        ["1", "1", "loaded"],
        ["2", "1", "loaded"],
        ["2", "1", "loaded"],
    ]


def test_a_path_that_waits_for_a_later_wave_is_remarked() -> None:
    report = rehearse(make_mesh(), make_mesh(move))
    assert report.exit_code is ExitCode.OK
    assert next(iter(text.notes(report))) == (
        "wave 1: path web (IPv4): new flows pass by plain routing until rt is changed"
    )


def test_a_removed_path_is_routed_in_the_end() -> None:
    def without(mesh: dict[str, Any]) -> None:
        mesh["paths"] = []

    report = rehearse(make_mesh(), make_mesh(without))
    assert report.exit_code is ExitCode.OK
    assert [path.after.how for path in report.paths] == ["routed", "routed"]


def test_a_refused_configuration_stops_its_wave() -> None:
    def spoil(events: list[Event]) -> None:
        said = {"problems": ["exits.conf line 1: refused: no such family"]}
        change(events, said, event="applied", stage=2, relay="rs")

    found = problems(None, make_mesh(), spoil)
    assert found == ["wave 2: rs: exits.conf line 1: refused: no such family"]


def test_a_peer_without_a_connection_stops_the_wave_that_cut_it_off() -> None:
    def spoil(events: list[Event]) -> None:
        text = peer("10.77.2.2:5565", ready=0) + peer("10.77.4.2:5565")
        change(events, {"text": text}, event="peers", stage=1, relay="rc")

    found = problems(make_mesh(), make_mesh(move), spoil)
    assert found == ["wave 1: rc: no connection to rs, 10.77.2.2:5565"]


def test_a_peer_that_was_never_there_is_no_problem_before_its_wave() -> None:
    def spoil(events: list[Event]) -> None:
        lost = peer("10.77.2.2:5565", ready=0) + peer("10.77.4.2:5565", ready=0)
        change(events, {"text": lost}, event="peers", stage=1, relay="rc")

    assert rehearse(None, make_mesh(), spoil).exit_code is ExitCode.OK


def test_a_mesh_without_pools_needs_no_connections() -> None:
    def without(mesh: dict[str, Any]) -> None:
        mesh["pool"] = {"low": 0, "high": 0}

    def spoil(events: list[Event]) -> None:
        change(events, {"text": peer("10.77.2.2:5565", ready=0)}, event="peers")

    assert rehearse(None, make_mesh(without), spoil).exit_code is ExitCode.OK


def test_a_download_that_breaks_is_told_once() -> None:
    def spoil(events: list[Event]) -> None:
        error = {"error": "Connection reset by peer"}
        for stage in (1, 2):
            change(events, error, event="download", stage=stage, check="web (IPv4)")

    found = problems(None, make_mesh(), spoil)
    assert found == ["wave 1: path web (IPv4): a split download broke: Connection reset by peer"]


def test_a_flow_that_is_not_served_stops_the_wave() -> None:
    def spoil(events: list[Event]) -> None:
        failed = {"served": False, "split": False, "error": "Connection reset by peer"}
        change(events, failed, event="flow", stage=1, check="web (IPv6)")

    found = problems(make_mesh(), make_mesh(move), spoil)
    assert found == ["wave 1: path web (IPv6): new flows fail: Connection reset by peer"]


def test_a_complete_path_has_to_split() -> None:
    def spoil(events: list[Event]) -> None:
        change(events, {"split": False}, event="flow", stage=2, check="web (IPv4)")

    found = problems(None, make_mesh(), spoil)
    assert found == ["wave 2: path web (IPv4): new flows pass by plain routing and are not split"]


def service(mesh: dict[str, Any]) -> None:
    """A service instead of the path."""
    target = {"port": 8080, "target": "10.77.3.2:80"}
    mesh["paths"] = [{"name": "shop", "ingress": "rc", "via": ["rs"], "service": target}]


FAILED = {"served": False, "split": False, "error": "Connection refused"}


def test_a_service_need_not_answer_before_its_relays_are_changed() -> None:
    def spoil(events: list[Event]) -> None:
        for stage in (0, 1):
            change(events, FAILED, event="flow", stage=stage)

    report = rehearse(None, make_mesh(service), spoil)
    assert report.exit_code is ExitCode.OK
    assert report.waves[0].remarks == ()


def test_a_service_that_answered_goes_on_to() -> None:
    def spoil(events: list[Event]) -> None:
        change(events, FAILED, event="flow", stage=1)

    found = problems(make_mesh(service), make_mesh(service), spoil)
    assert found == ["wave 1: path shop: new flows fail: Connection refused"]


def test_nothing_is_judged_if_the_state_before_is_refused() -> None:
    def spoil(events: list[Event]) -> None:
        change(events, {"problems": ["keys.conf line 1: refused"]}, stage=0, relay="rs")

    with pytest.raises(KtcpError, match=r"before the change is refused already\nrs: keys.conf"):
        rehearse(make_mesh(), make_mesh(move), spoil)


def test_a_guest_that_does_not_come_to_the_end_is_an_error() -> None:
    def spoil(events: list[Event]) -> None:
        events[:] = [each for each in events if each.get("stage") != 2]

    with pytest.raises(GuestFailedError, match="2 of 3 stages"):
        rehearse(None, make_mesh(), spoil)


def test_what_was_left_out_and_assumed_is_noted() -> None:
    report = session.rehearse(make_job(None, make_mesh(), most=2), Guest())
    assert list(text.notes(report)) == [
        "left out relays: rt",
        "3 legs are assumed to be 20 ms long; `mesh probe` measures those between relays",
    ]
    assert text.to_data(report)["left_out"] == {"relays": ["rt"], "paths": []}


def test_the_data_has_all_of_it() -> None:
    data = text.to_data(rehearse(make_mesh(), make_mesh(move)))
    assert data["stopped_in"] is None
    assert data["waves"][0]["relays"] == ["rc"]
    assert data["relays"]["rt"]["lines"] == ["peers: add"]
    path = data["paths"]["web (IPv4)"]
    assert path["former_way"] == ["rc", "rs"]
    assert path["before"]["split"]
    assert path["download"]["bytes"] == 4096
