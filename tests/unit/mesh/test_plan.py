# SPDX-License-Identifier: GPL-2.0-only
"""The plan: exact for the small mesh, deterministic, stable, and small for a large one."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.mesh.model import Mesh
from ktcp_ops.mesh.plan import CHAIN_LENGTH, MULTIPORT_SLOTS, chain_name, multiports, plan
from ktcp_ops.mesh.reader import read
from ktcp_ops.mesh.values import PortRange, ports
from tests.unit.mesh.conftest import KEY, Describe


def test_the_small_mesh(mesh: Mesh) -> None:
    assert plan(mesh) == {
        "rc": {
            "name": "rc",
            "conf": {
                "settings": ["early_syn off", "engine threads"],
                "thread_pool": ["low 32", "high 256"],
                "listeners": ["add client 5557", "add relay 5565"],
                "peers": ["add 10.77.2.2:5565 low 16 high 64 key 1"],
                "routes": ["add mark 0x101 via 10.77.2.2:5565"],
                "exits": [],
            },
            "keys": {1: KEY},
            "steering": [
                {
                    "chain": "KTCP-rc-rs",
                    "mark": "0x101",
                    "client_port": 5557,
                    "rules4": [{"destination": "10.77.3.0/24", "ports": [80]}],
                    "rules6": [{"destination": "fd77:0:0:3::/64", "ports": [80]}],
                }
            ],
            "relay_port": 5565,
            "peers_addresses": ["10.77.2.2"],
        },
        "rs": {
            "name": "rs",
            "conf": {
                "settings": ["early_syn off", "engine threads"],
                "thread_pool": ["low 32", "high 256"],
                "listeners": ["add relay 5565"],
                "peers": ["add 10.77.2.1:5565 low 16 high 64 key 1"],
                "routes": [],
                "exits": ["allow 10.77.3.0/24 port 1-65535", "allow fd77:0:0:3::/64"],
            },
            "keys": {1: KEY},
            "steering": [],
            "relay_port": 5565,
            "peers_addresses": ["10.77.2.1"],
        },
    }


def test_nothing_is_said_that_the_mesh_does_not_say(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        del mesh["settings"], mesh["thread_pool"]

    conf = plan(read(describe(spoil)))["rc"]["conf"]
    assert conf["settings"] == conf["thread_pool"] == []


THREE = {
    "ra": {"ktcp_address": "10.0.0.1", "ktcp_address6": "fd77::1"},
    "rb": {"ktcp_address": "10.0.0.2", "ktcp_address6": "fd77::2"},
    "rc": {"ktcp_address6": "fd77::3"},
}


def three(mesh: dict[str, Any]) -> None:
    """Two hops, the second only over IPv6, beside a direct path and one that shares a way."""
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
    anything = [{"allow": "10.0.0.0/8"}]
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
    assert far["rules4"] == [
        {"destination": "10.2.0.0/16", "ports": [80, "8000:8100"]},
        {"destination": "10.3.0.0/16", "ports": []},
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
        mesh["exits"]["rb"] = [{"allow": "10.0.0.0/8"}]

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
    # A relay is nobody's own peer.
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
    name = chain_name("relay-cologne-1.example.net" if len(way) == 1 else "rc", way)
    assert len(name) <= CHAIN_LENGTH
    assert re.fullmatch(r"KTCP-[A-Za-z0-9._-]+", name)


def test_long_chain_names_stay_apart() -> None:
    long = "relay-cologne-1.example.net"
    names = {chain_name(long, (f"relay-tokyo-{n}.example.net",)) for n in range(50)}
    assert len(names) == 50


def test_a_port_range_spells_itself_both_ways() -> None:
    assert PortRange(1, 2).spell(":") == "1:2"
    assert str(PortRange(1, 2)) == "1-2"
