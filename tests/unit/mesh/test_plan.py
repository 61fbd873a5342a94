# SPDX-License-Identifier: GPL-2.0-only
"""The plan: exact for the small mesh, deterministic, stable, and small for a large one."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import RETURN_MARK, Mesh, Way
from ktcp_ops.mesh.model.values import PortRange, ports
from ktcp_ops.mesh.relay.plan import FIRST_MARK, assign_marks, plan
from ktcp_ops.mesh.relay.steering import (
    CHAIN_LENGTH,
    MULTIPORT_SLOTS,
    chain_name,
    chain_names,
    multiports,
)
from tests.unit.mesh.conftest import KEY, RELAYS, Describe
from tests.unit.roles.programs import ROOT

SMALL = {
    "rc": {
        "name": "rc",
        "conf": {
            "settings": ["early_syn off", "engine threads", "source4 10.77.2.1"],
            "thread_pool": ["low 32", "high 256"],
            "listeners": ["add client 5557 untracked", "add relay 5565"],
            "peers": ["add 10.77.2.2:5565 low 16 high 64 key 1"],
            "routes": ["add mark 0x101 via 10.77.2.2:5565"],
            "exits": [],
        },
        "keys": {"1": KEY},
        "steering": [
            {
                "chain": "KTCP-rc-rs",
                "mark": "0x101",
                "client_port": 5557,
                "rules4": [{"destinations": "KTCP-rc-rs.v4.D", "sources": "", "ports": [80]}],
                "rules6": [{"destinations": "KTCP-rc-rs.v6.D", "sources": "", "ports": [80]}],
                "services4": [],
                "services6": [],
            }
        ],
        "sets4": [
            {"name": "KTCP-rc-rs.v4.D", "entries": ["10.77.3.0/24"]},
            {"name": "KTCP-relays.v4.D", "entries": ["10.77.2.1", "10.77.2.2"]},
        ],
        "sets6": [{"name": "KTCP-rc-rs.v6.D", "entries": ["fd77:0:0:3::/64"]}],
        "relays4": "KTCP-relays.v4.D",
        "relays6": "",
        "relay_port": 5565,
        "peers_addresses": ["10.77.2.2"],
        "inside4": "",
        "inside6": "",
    },
    "rs": {
        "name": "rs",
        "conf": {
            "settings": ["early_syn off", "engine threads", "source4 10.77.2.2"],
            "thread_pool": ["low 32", "high 256"],
            "listeners": ["add relay 5565"],
            "peers": ["add 10.77.2.1:5565 low 16 high 64 key 1"],
            "routes": [],
            "exits": ["allow 10.77.3.0/24 port 1-65535", "allow fd77:0:0:3::/64"],
        },
        "keys": {"1": KEY},
        "steering": [],
        "sets4": [],
        "sets6": [],
        "relays4": "",
        "relays6": "",
        "relay_port": 5565,
        "peers_addresses": ["10.77.2.1"],
        "inside4": "",
        "inside6": "",
    },
}
"""The plan of the small mesh; what names a digest has D for it."""


def test_the_small_mesh(mesh: Mesh) -> None:
    text = re.sub(r"\.[0-9a-f]{8}\"", '.D"', json.dumps(plan(mesh)))
    assert json.loads(text) == SMALL


def test_nothing_is_said_that_the_mesh_does_not_say(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        del mesh["settings"], mesh["thread_pool"]

    conf = plan(read(describe(spoil)))["rc"]["conf"]
    assert conf["settings"] == ["source4 10.77.2.1"]
    assert conf["thread_pool"] == []


def test_legs_come_from_the_addresses_by_which_peers_admit_a_relay(describe: Describe) -> None:
    nodes = plan(read(describe(three, relays=THREE)))
    sources = {name: node["conf"]["settings"][-2:] for name, node in nodes.items()}
    assert sources["ra"] == ["source4 10.0.0.1", "source6 fd77::1"]
    assert sources["rc"] == ["engine threads", "source6 fd77::3"]


def test_an_ingress_takes_flows_as_its_variable_says(describe: Describe) -> None:
    for way, line in (("redirect", "add client 5557"), ("untracked", "add client 5557 untracked")):
        relays = {name: {**relay, "ktcp_interception": way} for name, relay in RELAYS.items()}
        nodes = plan(read(describe(relays=relays)))
        assert nodes["rc"]["conf"]["listeners"] == [line, "add relay 5565"]
        assert nodes["rs"]["conf"]["listeners"] == ["add relay 5565"]


THREE = {
    "ra": {"ktcp_address": "10.0.0.1", "ktcp_address6": "fd77::1"},
    "rb": {"ktcp_address": "10.0.0.2", "ktcp_address6": "fd77::2"},
    "rc": {"ktcp_address6": "fd77::3"},
}


def three(mesh: dict[str, Any]) -> None:
    """Two hops, the second only over IPv6, beside a direct path and one that shares its route."""
    mesh["pairs"] = [["ra", "rb"], ["rb", "rc"]]
    mesh["paths"] = [
        {"name": "far", "ingress": "ra", "via": ["rb", "rc"], "destinations": ["10.3.0.0/16"]},
        {"name": "near", "ingress": "ra", "destinations": ["10.1.0.0/16"], "ports": [443]},
        {
            "name": "also",
            "ingress": "ra",
            "via": ["rb", "rc"],
            "destinations": ["10.2.0.0/16"],
            "ports": ["8000-8100", 80],
        },
    ]
    anything = [{"deny": "10.0.0.1"}, {"deny": "10.0.0.2"}, {"allow": "10.0.0.0/8"}]
    mesh["exits"] = {"ra": anything, "rc": anything}


def test_hops_families_and_shared_ways(describe: Describe) -> None:
    nodes = plan(read(describe(three, relays=THREE)))
    assert nodes["ra"]["conf"]["routes"] == [
        "add mark 0x101 via 10.0.0.2:5565,[fd77::3]:5565",
        "add mark 0x102 direct",
    ]
    assert nodes["ra"]["conf"]["peers"] == ["add 10.0.0.2:5565 low 16 high 64 key 1"]
    assert nodes["rb"]["conf"]["peers"] == [
        "add 10.0.0.1:5565 low 16 high 64 key 1",
        "add [fd77::3]:5565 low 16 high 64 key 1",
    ]
    assert nodes["rb"]["peers_addresses"] == ["10.0.0.1", "fd77::3"]
    far, near = nodes["ra"]["steering"]
    assert far["chain"] == "KTCP-ra-rb-rc"
    held = {found["name"]: found["entries"] for found in nodes["ra"]["sets4"]}
    assert [(held[rule["destinations"]], rule["ports"]) for rule in far["rules4"]] == [
        (["10.2.0.0/16"], [80, "8000:8100"]),
        (["10.3.0.0/16"], []),
    ]
    assert near["chain"] == "KTCP-ra-direct"


def test_the_order_of_hosts_and_words_does_not_matter(describe: Describe) -> None:
    def shuffle(mesh: dict[str, Any]) -> None:
        three(mesh)
        turned = dict(reversed(mesh.items()))
        mesh.clear()
        mesh.update(turned)

    one = plan(read(describe(three, relays=THREE)))
    other = plan(read(describe(shuffle, relays=dict(reversed(THREE.items())))))
    assert json.dumps(one) == json.dumps(other)


def test_marks_stay_when_paths_are_added_behind(describe: Describe) -> None:
    def more(mesh: dict[str, Any]) -> None:
        three(mesh)
        path = {"name": "new", "ingress": "ra", "via": ["rb"], "destinations": ["10.4.0.0/16"]}
        mesh["paths"].append(path)
        mesh["exits"]["rb"] = [{"allow": "10.4.0.0/16"}]

    before = plan(read(describe(three, relays=THREE)))["ra"]["conf"]["routes"]
    after = plan(read(describe(more, relays=THREE)))["ra"]["conf"]["routes"]
    assert after[: len(before)] == before


def test_a_written_mark_is_kept_and_not_given_twice(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        three(mesh)
        mesh["paths"][1]["mark"] = 0x101

    routes = plan(read(describe(spoil, relays=THREE)))["ra"]["conf"]["routes"]
    assert [line.split()[2] for line in routes] == ["0x101", "0x102"]
    assert routes[0].endswith("direct")


def large(count: int) -> Mesh:
    relays = {
        f"r{n:04}": {"name": f"r{n:04}", "ktcp_address": f"10.{n >> 8}.{n & 255}.1"}
        for n in range(count)
    }
    return Mesh.model_validate({"relays": relays, "keys": {1: KEY}})


def test_a_full_mesh_of_a_thousand_relays_has_a_thousand_lines() -> None:
    count = 1000
    nodes = plan(large(count))
    lines = [line for node in nodes.values() for line in node["conf"]["peers"]]
    addresses = [text for node in nodes.values() for text in node["peers_addresses"]]
    assert len(lines) == len(addresses) == count * (count - 1)
    # The texts are shared: as many objects as relays, not as many as pairs.
    assert len({id(line) for line in lines}) == count
    assert len({id(text) for text in addresses}) == count
    # No relay is its own peer.
    assert "10.0.7.1" not in nodes["r0007"]["peers_addresses"]


@given(st.lists(st.tuples(st.integers(1, 60000), st.integers(0, 2)), max_size=60))
def test_each_rule_fits_one_multiport_match_and_none_is_lost(pairs: list[tuple[int, int]]) -> None:
    wanted = ports([f"{first}-{first + more}" for first, more in pairs]) if pairs else None
    rules = list(multiports(wanted))
    slots = [sum(2 if ":" in str(place) else 1 for place in rule) for rule in rules]
    assert max(slots) <= MULTIPORT_SLOTS
    assert [place for rule in rules for place in rule] == [
        some.first if some.slots == 1 else f"{some.first}:{some.last}" for some in wanted or ()
    ]
    # Split only where it must be.
    assert all(a + b > MULTIPORT_SLOTS - 1 for a, b in pairwise(slots))


@pytest.mark.parametrize(
    "way",
    [
        (),
        ("rs",),
        ("a-very-long-name.of.a.relay.example.net",),
        ("a", "b", "c", "d"),
        ("fd77::1", "ö"),
    ],
)
def test_chain_names_fit_iptables(way: tuple[str, ...]) -> None:
    name = chain_name("relay-cologne-1.example.net" if len(way) == 1 else "rc", Way(way))
    assert len(name) <= CHAIN_LENGTH
    assert re.fullmatch(r"KTCP-[A-Za-z0-9._-]+", name)


def test_long_chain_names_stay_apart() -> None:
    long = "relay-cologne-1.example.net"
    names = {chain_name(long, Way((f"relay-tokyo-{n}.example.net",))) for n in range(50)}
    assert len(names) == 50


def test_dashes_in_names_make_no_two_ways_one_chain() -> None:
    ways = [Way(("eu-west",)), Way(("eu", "west")), Way(("direct",)), Way(), Way(("far",))]
    names = chain_names("rc", ways)
    assert len(set(names.values())) == len(ways)
    assert names[Way(("far",))] == "KTCP-rc-far"
    assert all(len(name) <= CHAIN_LENGTH for name in names.values())


def services(mesh: dict[str, Any]) -> None:
    """Five services over the same relays to the same servers."""
    target = "10.77.3.2:80"
    mesh["paths"] += [
        {"name": "a", "service": {"port": 8080, "target": target}},
        {"name": "b", "service": {"port": 8081, "target": target}},
        {"name": "c", "service": {"port": 8082, "target": target}, "proxy": True},
        {"name": "d", "service": {"port": 8083, "target": "[fd77:0:0:3::2]:80"}},
        {
            "name": "e",
            "service": {"port": 8084, "target": "[fd77:0:0:3::2]:80"},
            "proxy": "on",
            "transparent": "on",
        },
        {"name": "f", "destinations": ["10.77.3.0/24"], "ports": [443], "transparent": True},
    ]
    for path in mesh["paths"][1:]:
        path |= {"ingress": "rc", "via": ["rs"]}


INSIDE = {
    "rc": {"ktcp_address": "10.77.2.1", "ansible_port": "2222"},
    "rs": {"ktcp_address": "10.77.2.2", "ktcp_inside_interface": "eth1"},
}


def test_a_service_has_its_target_and_ports_that_share_it_share_a_route(
    describe: Describe,
) -> None:
    node = plan(read(describe(services, relays=INSIDE)))["rc"]
    via = "via 10.77.2.2:5565"
    assert node["conf"]["routes"] == [
        f"add mark 0x101 {via}",
        f"add mark 0x102 {via} target 10.77.3.2:80",
        f"add mark 0x103 {via} target 10.77.3.2:80 proxy",
        f"add mark 0x104 {via} target [fd77:0:0:3::2]:80",
        f"add mark 0x105 {via} target [fd77:0:0:3::2]:80 proxy transparent",
        f"add mark 0x106 {via} transparent",
    ]
    # The exit of a transparent service can speak for clients of the target's family only.
    ports = [
        (
            [service["port"] for service in chain["services4"]],
            [service["port"] for service in chain["services6"]],
        )
        for chain in node["steering"]
    ]
    assert ports == [
        ([], []),
        ([8080, 8081], [8080, 8081]),
        ([8082], [8082]),
        ([8083], [8083]),
        ([], [8084]),
        ([], []),
    ]
    names = {chain["chain"] for chain in node["steering"]}
    assert len(names) == len(ports)
    assert all(len(name) <= CHAIN_LENGTH for name in names)


def test_the_exit_of_a_transparent_path_keeps_answers_of_its_families(describe: Describe) -> None:
    nodes = plan(read(describe(services, relays=INSIDE)))
    assert (nodes["rc"]["inside4"], nodes["rc"]["inside6"]) == ("", "")
    assert (nodes["rs"]["inside4"], nodes["rs"]["inside6"]) == ("eth1", "eth1")

    def only6(mesh: dict[str, Any]) -> None:
        services(mesh)
        mesh["paths"].pop()

    node = plan(read(describe(only6, relays=INSIDE)))["rs"]
    assert (node["inside4"], node["inside6"]) == ("", "eth1")


def test_no_path_is_given_the_mark_of_answers(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktcp_ops.mesh.relay.plan.RETURN_MARK", FIRST_MARK)
    assert list(assign_marks(mesh.paths).values()) == [FIRST_MARK + 1]


def test_the_mark_of_answers_is_everywhere_the_same() -> None:
    role = yaml.safe_load((ROOT / "roles/ktcp_steering/vars/main.yml").read_text())
    assert role["ktcp_steering_return"] == RETURN_MARK
    assert (
        f"RETURN_MARK = {RETURN_MARK:#X}".replace("0X", "0x")
        in (ROOT / "roles/ktcp_steering/files/ktcp-steering").read_text()
    )


def test_a_port_range_spells_itself_both_ways() -> None:
    assert PortRange(1, 2).spell(":") == "1:2"
    assert str(PortRange(1, 2)) == "1-2"
