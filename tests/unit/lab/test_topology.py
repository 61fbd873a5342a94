# SPDX-License-Identifier: GPL-2.0-only
"""Which topologies are valid, and how others are refused."""

from pathlib import Path

import pytest
import yaml

from ktcp_ops.errors import ExitCode, UsageError
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.run.environment import collection_root
from ktcp_testbed.lab import topology
from ktcp_testbed.lab.topology import PAPER

ROOT = collection_root()


def file(tmp_path: Path, data: object) -> str:
    path = tmp_path / "lab.yml"
    path.write_text(yaml.safe_dump(data))
    return str(path)


def link(first: str, second: str, number: int, **more: object) -> dict[str, object]:
    return {
        "ends": [first, second],
        "subnet4": f"192.0.2.{16 * number}/28",
        "subnet6": f"2001:db8:0:{number}::/64",
        **more,
    }


def test_paper_has_the_published_round_trip_times() -> None:
    assert {each.name: each.rtt_ms for each in PAPER.links} == {
        "rc-client": 32.7,
        "rc-rs": 215.0,
        "rs-server": 26.0,
    }
    assert str(PAPER.links[0].address4("client")) == "10.77.1.2/24"
    assert str(PAPER.links[0].address4("rc")) == "10.77.1.1/24"
    assert str(PAPER.links[2].address6("server")) == "fd77:0:0:3::2/64"
    assert [guest.name for guest in PAPER.guests if guest.forwarding] == ["rc", "rs"]


def test_built_in_topologies_are_found_by_name() -> None:
    assert topology.find("paper") is PAPER
    assert [guest.name for guest in topology.find("single").guests] == ["relay"]


def test_clouds_are_six_relays_and_the_inventory_has_their_addresses() -> None:
    found = topology.find("clouds")
    relays = {guest.name for guest in found.guests if guest.forwarding}
    mesh = inventory.load([str(ROOT / "inventories" / "clouds")])
    assert set(mesh.relays) == relays
    assert len(relays) == 6
    for name, relay in mesh.relays.items():
        links = found.links_of(name)
        assert relay.ktcp_address in {link.address4(name).ip for link in links}
        assert relay.ktcp_address6 in {link.address6(name).ip for link in links}
    server = {str(net.network_address) for path in mesh.paths for net in path.destinations}
    near = found.links_of("server")[0]
    assert server == {str(near.address4("server").ip), str(near.address6("server").ip)}


def test_between_clouds_a_detour_may_be_shorter() -> None:
    rtts = {frozenset(link.ends): link.rtt_ms for link in topology.find("clouds").links}
    detour = rtts[frozenset(("eu1", "us1"))] + rtts[frozenset(("us1", "ap1"))]
    assert detour < rtts[frozenset(("eu1", "ap1"))]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        UsageError, match="no topology 'papper': give paper, single, clouds or a YAML"
    ):
        topology.find("papper")


def test_a_file_is_read(tmp_path: Path) -> None:
    data = {
        "name": "duo",
        "guests": [{"name": "a", "cpus": 2}, {"name": "b"}],
        "links": [link("a", "b", 1, rtt_ms=10)],
    }
    found = topology.find(file(tmp_path, data))
    assert found.guest("a").cpus == 2
    assert found.links[0].rtt_ms == 10


def test_every_contradiction_is_said_at_once(tmp_path: Path) -> None:
    data = {
        "name": "wrong",
        "guests": [{"name": "a"}, {"name": "a"}, {"name": "b"}],
        "links": [link("a", "b", 1), link("b", "a", 1), link("a", "c", 2)],
    }
    with pytest.raises(UsageError) as caught:
        topology.find(file(tmp_path, data))
    for problem in (
        "guest a is there twice",
        "a and b have more than one link",
        "link a-c: there is no guest c",
        "links a-b and b-a share addresses of 192.0.2.16/28",
        "links a-b and b-a share addresses of 2001:db8:0:1::/64",
    ):
        assert problem in caught.value.message
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"colour": "red"}, r"lab.yml: colour: Extra inputs"),
        ({"guests": [{"name": "A guest"}]}, r"lab.yml: guests.0.name: "),
        ({"guests": [{"name": "a-name-of-12"}]}, r"lab.yml: guests.0.name: "),
        ({"guests": []}, r"lab.yml: guests: "),
        ({"guests": [{"name": "a", "memory_mib": 1}]}, r"guests.0.memory_mib: "),
        ({"guests": [{"name": "a", "services": ["sshd"]}]}, r"guests.0.services.0: "),
        ({"links": [link("a", "a", 1)]}, r"both ends are the same guest"),
        ({"links": [link("a", "b", 1, rtt_ms=-1)]}, r"links.0.rtt_ms: "),
        ({"links": [link("a", "b", 1, subnet4="192.0.2.0/31")]}, r"no room for two addresses"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    data: dict[str, object] = {"name": "x", "guests": [{"name": "a"}, {"name": "b"}]}
    with pytest.raises(UsageError, match=problem):
        topology.find(file(tmp_path, data | change))


def test_a_file_that_is_not_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "lab.yml"
    path.write_text("{")
    with pytest.raises(UsageError, match=r"lab\.yml"):
        topology.find(str(path))
    with pytest.raises(UsageError, match="No such file"):
        topology.find(str(tmp_path / "absent.yml"))


def test_an_unknown_guest_is_refused() -> None:
    with pytest.raises(UsageError, match="no guest 'rx'; it has client, rc, rs, server"):
        PAPER.guest("rx")
