# SPDX-License-Identifier: GPL-2.0-only
"""The hosts, links and routes that stand for a mesh, and the flows through them."""

from ipaddress import ip_interface
from typing import Any

import pytest

from ktcp_ops.mesh.model.latency import Latency
from ktcp_testbed.rehearsal import scene
from ktcp_testbed.rehearsal.scene import Link, Scene
from tests.unit.rehearsal.conftest import RELAYS, make_job, make_mesh, move


def link(made: Scene, one: str, other: str) -> Link:
    [found] = [each for each in made.links if {end.host for end in each.ends} == {one, other}]
    return found


def via(made: Scene, host: str, prefix: str) -> str:
    """The device over which a host sends packets for a prefix."""
    [found] = [each for each in made.routes if (each.host, each.prefix) == (host, prefix)]
    return found.device


def test_each_relay_has_its_own_addresses_and_forwards() -> None:
    made = make_job(None, make_mesh()).scene
    assert made.relays == {"rc": "r1", "rs": "r2", "rt": "r3"}
    hosts = {host.name: host for host in made.hosts}
    assert hosts["r2"].addresses == ("10.77.2.2/32", "fd77:0:0:2::2/128")
    assert hosts["r2"].forwards
    assert hosts["t-r2"].addresses == ("10.77.3.2/32", "fd77:0:0:3::1/128")
    assert not hosts["c-r1"].forwards


def test_no_two_links_share_an_address_or_a_device() -> None:
    made = make_job(None, make_mesh()).scene
    nets = [ip_interface(own).network for each in made.links for own in each.ends[0].addresses]
    assert len(set(nets)) == len(nets)
    for each in made.links:
        for own, other in zip(each.ends[0].addresses, each.ends[1].addresses, strict=True):
            assert own != other
            assert ip_interface(own).network == ip_interface(other).network
    devices = [(end.host, end.device) for each in made.links for end in each.ends]
    assert len(set(devices)) == len(devices)
    assert max(len(device) for _, device in devices) <= 15


def test_flows_come_to_the_ingress_and_answers_come_back() -> None:
    made = make_job(None, make_mesh()).scene
    assert via(made, "r1", "10.77.3.2/32") == "to-t-r2"
    assert via(made, "r2", "10.77.3.2/32") == "to-t-r2"
    assert via(made, "t-r2", "198.19.0.1/32") == "to-r1"
    assert via(made, "r1", "10.77.2.2/32") == "to-r2"
    assert {route.device for route in made.routes if route.host == "c-r1"} == {"to-r1"}


def test_distances_are_the_known_ones_and_others_are_assumed() -> None:
    latency = Latency(rtts={"rc": {"rs": 215_000}, "10.77.3.2": {"rs": 26_000}})
    mesh = make_mesh().model_copy(update={"latency": latency})
    job = make_job(None, mesh)
    assert link(job.scene, "r1", "r2").rtt_us == 215_000
    assert link(job.scene, "r2", "t-r2").rtt_us == 26_000
    assert link(job.scene, "r1", "c-r1").rtt_us == scene.ASSUMED_US
    # Nobody has measured plain routing.
    assert link(job.scene, "r1", "t-r2").rtt_us == 241_000
    # The client's, and both of rt.
    assert job.assumed == 3


def test_plain_routing_has_its_own_length() -> None:
    rtts = {"client": {"rc": 30_000}, "10.77.3.2": {"client": 180_000, "rs": 26_000}}
    mesh = make_mesh().model_copy(update={"latency": Latency(rtts=rtts)})
    assert link(make_job(None, mesh).scene, "r1", "t-r2").rtt_us == 150_000


def test_a_path_that_moves_keeps_its_target_and_reaches_it_from_both_exits() -> None:
    job = make_job(make_mesh(), make_mesh(move))
    check = job.checks[0]
    assert (check.former, check.way, check.exits) == (("rc", "rs"), ("rc", "rt"), ("rt", "rs"))
    assert via(job.scene, "r2", "10.77.3.2/32") == "to-t-r3"


def seen(mesh: dict[str, Any]) -> None:
    """A service, whose target sees the client."""
    service = {"port": 8080, "target": "10.77.3.2:80"}
    mesh["paths"] = [
        {"name": "shop", "ingress": "rc", "via": ["rs"], "service": service, "transparent": True}
    ]


def test_a_transparent_exit_gets_the_answers_on_its_inside_interface(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(RELAYS["rs"], "ktcp_inside_interface", "eth7")
    job = make_job(None, make_mesh(seen))
    [check] = job.checks
    assert str(check.address) == "10.77.2.1"
    assert (check.port, check.target_port) == (8080, 80)
    assert via(job.scene, "r2", "10.77.3.2/32") == "eth7"
    assert via(job.scene, "t-r2", "198.19.0.1/32") == "to-r2"
    assert via(job.scene, "r2", "198.19.0.1/32") == "to-r1"


def test_a_client_is_where_the_path_wants_it() -> None:
    def some(mesh: dict[str, Any]) -> None:
        mesh["paths"][0]["sources"] = ["192.0.2.64/26"]
        del mesh["paths"][0]["destinations"][1]

    checks = make_job(None, make_mesh(some)).checks
    assert [(str(check.source), check.name) for check in checks] == [("192.0.2.65", "web")]


def test_a_target_is_one_that_no_narrower_path_takes() -> None:
    def inner(mesh: dict[str, Any]) -> None:
        del mesh["paths"][0]["probe"]
        mesh["paths"].append(
            {"name": "inner", "ingress": "rc", "via": ["rt"], "destinations": ["10.77.3.0/30"]}
        )
        mesh["exits"]["rt"] = [{"allow": "10.77.3.0/30"}]

    checks = {check.name: check for check in make_job(None, make_mesh(inner)).checks}
    assert str(checks["web (IPv4)"].target) == "10.77.3.4"
    assert str(checks["inner"].target) == "10.77.3.1"
    assert checks["inner"].target_port == 80


def test_a_removed_path_is_still_looked_at() -> None:
    def without(mesh: dict[str, Any]) -> None:
        mesh["paths"] = []

    [check, _] = make_job(make_mesh(), make_mesh(without)).checks
    assert (check.way, check.former) == ((), ("rc", "rs"))
    assert check.ingress == "rc"


def test_tunnels_are_plain_links() -> None:
    def encrypted(mesh: dict[str, Any]) -> None:
        mesh["encryption"] = "wireguard"

    job = make_job(None, make_mesh(encrypted))
    [tunnel] = [at for at, name in job.endpoints.items() if name == "rs"]
    assert tunnel.startswith("[fd6b:7463:7000:")
    [own] = [host.addresses for host in job.scene.hosts if host.name == "r2"]
    assert own[-1].partition("/")[0] in tunnel
    assert tunnel in job.after["rc"]["peers.conf"]


def test_checks_have_names_of_their_own() -> None:
    checks = make_job(None, make_mesh()).checks
    assert [check.name for check in checks] == ["web (IPv4)", "web (IPv6)"]
