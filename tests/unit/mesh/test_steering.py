# SPDX-License-Identifier: GPL-2.0-only
"""Chains and sets: for all prefixes and ports, the longest matching prefix gets the flow."""

from ipaddress import IPv4Address, ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import Path
from ktcp_ops.mesh.relay.address_set import SET_LENGTH, AddressSet, Sets, collapsed, entries_of
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.mesh.relay.steering import Chain, chains
from tests.unit.mesh.conftest import Describe

PREFIXES = st.builds(
    lambda number, length: str(
        ip_network((0x0A000000 | number >> (32 - length) << (32 - length), length))
        if length >= 8
        else ip_network("0.0.0.0/0")
    ),
    st.integers(0, 255),
    st.sampled_from([0, 24, 28, 29, 30, 31, 32]),
)
PORTS = st.sampled_from([None, [80], [443], ["80-443"], [22, 80]])
PATHS = st.lists(st.tuples(st.integers(0, 2), PREFIXES, PORTS), max_size=8)


def matches(found: AddressSet, address: IPv4Address) -> bool:
    """Look an address up as hash:net does: the longest prefix decides."""
    held = [entry.split() for entry in found["entries"]]
    inside = [
        (ip_network(prefix).prefixlen, not exception)
        for prefix, *exception in held
        if address in ip_network(prefix)
    ]
    return max(inside, default=(0, False))[1]


def marked(found: list[Chain], sets: Sets, address: IPv4Address, port: int) -> list[str]:
    """The marks that rules set on a flow."""

    def fits(ports: list[int | str]) -> bool:
        spans = [[int(end) for end in str(some).split(":")] for some in ports]
        return not spans or any(span[0] <= port <= span[-1] for span in spans)

    return [
        chain["mark"]
        for chain in found
        for rule in chain["rules4"]
        if fits(rule["ports"]) and matches(sets.found[4][rule["destinations"]], address)
    ]


@given(PATHS, st.integers(0, 255), st.sampled_from([22, 80, 100, 443, 65535]))
def test_the_longest_prefix_that_fits_has_the_flow(
    described: list[tuple[int, str, Any]], last: int, port: int
) -> None:
    paths: list[Path] = []
    for number, (via, prefix, ports) in enumerate(described):
        path = Path.model_validate(
            {
                "name": str(number),
                "ingress": "rc",
                "via": [f"r{via}"],
                "destinations": [prefix],
                "ports": ports,
            }
        )
        if not any(path.destinations == other.destinations for other in paths):
            paths.append(path)
    marks = {way: 0x101 + n for n, way in enumerate(dict.fromkeys(path.way for path in paths))}
    sets = Sets()
    found = chains("rc", 5557, marks, paths, sets)
    address = IPv4Address(0x0A000000 | last)
    fitting = [
        path
        for path in paths
        if address in path.destinations[0]
        and (path.ports is None or any(some.first <= port <= some.last for some in path.ports))
    ]
    best = max(fitting, key=lambda path: path.destinations[0].prefixlen, default=None)
    assert marked(found, sets, address, port) == ([f"{marks[best.way]:#x}"] if best else [])


def test_a_set_is_named_for_what_it_holds() -> None:
    sets = Sets()
    label = "KTCP-a-very-long-name-of-a-c"
    one, other = sets.add(label, 4, ["10.0.0.0/8"]), sets.add(label, 4, ["10.0.0.0/9"])
    assert one != other
    assert sets.add(label, 4, ["10.0.0.0/8"]) == one
    assert all(len(name) <= SET_LENGTH for name in (one, other))
    assert [found["name"] for found in sets.listed(4)] == sorted([one, other])


def test_ipset_has_no_prefix_without_bits() -> None:
    assert entries_of(ip_network("0.0.0.0/0")) == ["0.0.0.0/1", "128.0.0.0/1"]
    assert entries_of(ip_network("::/0")) == ["::/1", "8000::/1"]
    assert collapsed([ip_network("10.0.0.1"), ip_network("10.0.0.0/8")]) == ["10.0.0.0/8"]


def test_everything_by_one_way_and_what_is_inside_by_another(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        mesh["paths"][0] |= {"destinations": ["0.0.0.0/0"], "ports": None}
        mesh["paths"].append({"name": "in", "ingress": "rc", "destinations": ["10.0.0.0/8"]})
        mesh["exits"] = {
            "rs": [{"deny": "10.0.0.0/8"}, {"allow": "0.0.0.0/0"}],
            "rc": [{"deny": "10.77.2.2"}, {"allow": "10.0.0.0/8"}],
        }

    node = plan(read(describe(spoil)))["rc"]
    held = {found["name"]: found["entries"] for found in node["sets4"]}
    far, near = [chain["rules4"] for chain in node["steering"]]
    assert [held[rule["destinations"]] for rule in far] == [
        ["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8 nomatch"]
    ]
    assert [held[rule["destinations"]] for rule in near] == [["10.0.0.0/8"]]


def test_sources_say_who_may_use_a_path(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        mesh["paths"][0]["sources"] = ["192.0.2.0/24", "192.0.2.7", "198.51.100.0/24"]
        mesh["paths"][0]["destinations"] = ["10.77.3.0/24"]
        service = {"port": 8443, "target": "10.77.3.2:80"}
        more = {"ingress": "rc", "via": ["rs"], "sources": ["192.0.2.9"], "service": service}
        mesh["paths"].append({"name": "shop", **more})

    node = plan(read(describe(spoil)))["rc"]
    held = {found["name"]: found["entries"] for found in node["sets4"]}
    web, shop = node["steering"]
    assert [held[rule["sources"]] for rule in web["rules4"]] == [
        ["192.0.2.0/24", "198.51.100.0/24"]
    ]
    # None of the sources is an IPv6 prefix.
    assert (web["rules6"], shop["services6"]) == ([], [])
    assert [held[service["sources"]] for service in shop["services4"]] == [["192.0.2.9"]]


def test_nothing_is_steered_to_a_relay(describe: Describe) -> None:
    relays = {
        "rc": {"ktcp_address": "10.77.2.1", "ansible_host": "203.0.113.7"},
        "rs": {"ktcp_address": "10.77.2.2", "ktcp_address6": "fd77::2", "ansible_host": "rs.net"},
    }
    node = plan(read(describe(relays=relays)))["rc"]
    held = {found["name"]: found["entries"] for found in (*node["sets4"], *node["sets6"])}
    assert held[node["relays4"]] == ["10.77.2.1", "10.77.2.2", "203.0.113.7"]
    assert held[node["relays6"]] == [str(ip_address("fd77::2"))]
