# SPDX-License-Identifier: GPL-2.0-only
"""Tunnels and edges: addresses that stay, peers and routes, and every error with its fix."""

import json
import tracemalloc
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from ktcp_ops.errors import InvalidMeshError
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.relay.edge import host_variables
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.mesh.relay.tunnel import interfaces, over, tunnel_address
from tests.unit.mesh.conftest import KEY, MESH, RELAYS, Describe, Spoil
from tests.unit.mesh.test_inventory import HOSTS, hostvars, write

RC, RS = "fd6b:7463:7000::1", "fd6b:7463:7000::2"
FIXED = {
    "rc": {**RELAYS["rc"], "ktcp_tunnel_address": RC},
    "rs": {**RELAYS["rs"], "ktcp_tunnel_address": RS},
}
EDGE = "fd6b:7463:7000::e"
CALLER = {"relay": "rc", "by": "wireguard", "networks": ["10.5.0.0/24"], "address": EDGE}


def settings(**values: object) -> Spoil:
    """Make a spoiler that sets keys of the mesh."""
    return lambda mesh: mesh.update(values)


def test_without_encryption_and_edges_nobody_has_an_interface(mesh: Mesh) -> None:
    assert over(mesh) is mesh
    assert host_variables(mesh) == {}


def test_encrypted_legs_go_through_the_tunnel(describe: Describe) -> None:
    mesh = read(describe(settings(encryption="wireguard"), relays=FIXED))
    node = plan(mesh)["rc"]
    assert node["conf"]["peers"] == [f"add [{RS}]:5565 low 16 high 64 key 1"]
    assert node["conf"]["routes"] == [f"add mark 0x101 via [{RS}]:5565"]
    assert node["peers_addresses"] == [RS]
    assert host_variables(mesh)["rc"] == {
        "ktcp_wireguard_interface": {
            "address": f"{RC}/64",
            "port": 51820,
            "mtu": 1420,
            "peers": [
                {
                    "name": "rs",
                    "networks": [f"{RS}/128"],
                    "endpoint": "10.77.2.2:51820",
                    "keepalive": 0,
                }
            ],
        }
    }


def test_an_ipv4_tunnel_has_ipv4_legs(describe: Describe) -> None:
    tunnel = {"network": "10.88.0.0/16", "port": 5182, "mtu": 1380}
    mesh = read(describe(settings(encryption="wireguard", tunnel=tunnel)))
    interface = interfaces(mesh)["rs"]
    assert ip_address(interface["address"].removesuffix("/16")) in ip_network("10.88.0.0/16")
    assert (interface["port"], interface["mtu"]) == (5182, 1380)
    assert interface["peers"][0]["endpoint"] == "10.77.2.1:5182"
    (peer,) = plan(mesh)["rs"]["conf"]["peers"]
    assert peer.startswith(f"add {tunnel_address(mesh, 'rc')}:5565 ")


def test_only_paired_relays_are_peers_and_ipv6_legs_have_ipv6_endpoints(describe: Describe) -> None:
    relays = {
        "rc": {"ktcp_address": "10.77.2.1", "ktcp_address6": "fd77::1"},
        "rs": {"ktcp_address": "10.77.2.2"},
        "rt": {"ktcp_address6": "fd77::3"},
    }
    pairs = [["rc", "rs"], ["rc", "rt"]]
    mesh = read(describe(settings(encryption="wireguard", pairs=pairs), relays=relays))
    ends = {name: interface["peers"] for name, interface in interfaces(mesh).items()}
    assert [peer["name"] for peer in ends["rc"]] == ["rs", "rt"]
    assert [peer["endpoint"] for peer in ends["rc"]] == ["10.77.2.2:51820", "[fd77::3]:51820"]
    assert [peer["name"] for peer in ends["rt"]] == ["rc"]


def test_an_address_stays_when_others_come(describe: Describe) -> None:
    before = read(describe(settings(encryption="wireguard")))
    more = {**RELAYS, "ra": {"ktcp_address": "10.77.2.9"}}
    after = read(describe(settings(encryption="wireguard"), relays=more))
    assert tunnel_address(before, "rc") == tunnel_address(after, "rc")


def test_an_edge_with_a_tunnel_and_its_relay_know_each_other(describe: Describe) -> None:
    mesh = read(describe(settings(edges={"client": CALLER}), relays=FIXED))
    found = host_variables(mesh)
    assert sorted(found) == ["client", "rc"]
    (relay,) = found["client"]["ktcp_wireguard_interface"]["peers"]
    assert relay == {
        "name": "rc",
        "networks": [f"{RC}/128", "10.77.3.0/24", "fd77:0:0:3::/64"],
        "endpoint": "10.77.2.1:51820",
        "keepalive": 25,
    }
    assert found["client"]["ktcp_edge_routes"] == [
        {"destination": "10.77.3.0/24", "via": "", "sources": ["10.5.0.0/24"]},
        {"destination": "fd77:0:0:3::/64", "via": "", "sources": []},
    ]
    (edge,) = found["rc"]["ktcp_wireguard_interface"]["peers"]
    assert edge == {
        "name": "client",
        "networks": [f"{EDGE}/128", "10.5.0.0/24"],
        "endpoint": "",
        "keepalive": 0,
    }
    assert found["rc"]["ktcp_edge_routes"] == [
        {"destination": "10.5.0.0/24", "via": "", "sources": []}
    ]
    # The legs between relays stay as they are.
    assert plan(mesh)["rc"]["peers_addresses"] == ["10.77.2.2"]


def test_an_edge_with_a_route_needs_no_tunnel(describe: Describe) -> None:
    edges = {"client": {"relay": "rc", "via": ["fd77:0:0:1::1", "10.77.1.1"]}}
    found = host_variables(read(describe(settings(edges=edges))))
    assert found == {
        "client": {
            "ktcp_edge_routes": [
                {"destination": "10.77.3.0/24", "via": "10.77.1.1", "sources": []},
                {"destination": "fd77:0:0:3::/64", "via": "fd77:0:0:1::1", "sources": []},
            ]
        }
    }


def test_the_plugin_gives_hosts_their_variables_and_edges_a_group(tmp_path: Path) -> None:
    mesh = {**MESH, "encryption": "wireguard", "edges": {"client": CALLER}}
    inventory = write(
        tmp_path,
        hosts=HOSTS,
        group_vars__all={"ktcp_mesh": mesh, "ktcp_keys": {1: KEY}, "grouped": "{{ group_names }}"},
    )
    client = hostvars(inventory, "client")
    assert len(client["ktcp_wireguard_interface"]["peers"]) == 1
    assert [route["destination"] for route in client["ktcp_edge_routes"]] == [
        "10.77.3.0/24",
        "fd77:0:0:3::/64",
    ]
    assert "ktcp_node" not in client
    rs = hostvars(inventory, "rs")
    assert [peer["name"] for peer in rs["ktcp_wireguard_interface"]["peers"]] == ["rc"]
    assert "ktcp_edge_routes" not in rs


def test_a_thousand_relays_share_what_their_peers_are() -> None:
    count = 1000
    relays = {
        f"r{n:04}": {"name": f"r{n:04}", "ktcp_address": f"10.{n >> 8}.{n & 255}.1"}
        for n in range(count)
    }
    mesh = Mesh.model_validate({"relays": relays, "keys": {1: KEY}, "encryption": "wireguard"})
    tracemalloc.start()
    found = interfaces(mesh)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    peers = [peer for interface in found.values() for peer in interface["peers"]]
    assert len(peers) == count * (count - 1)
    assert len({id(peer) for peer in peers}) == count
    assert len({interface["address"] for interface in found.values()}) == count
    assert peak < 64 << 20


ENCRYPTED = {"encryption": "wireguard"}
SAME = {name: {**relay, "ktcp_tunnel_address": RC} for name, relay in RELAYS.items()}
OUTSIDE = {"rc": {**RELAYS["rc"], "ktcp_tunnel_address": "10.1.2.3"}, "rs": RELAYS["rs"]}
BROKEN = {"rc": {**RELAYS["rc"], "ktcp_tunnel_address": "here"}, "rs": RELAYS["rs"]}
OTHER = {**CALLER, "networks": ["10.5.0.128/25"], "address": "fd6b:7463:7000::f"}
ROUTED = {"relay": "rc", "via": ["10.77.1.1", "fd77:0:0:1::1"]}
EVERYWHERE = [
    {**MESH["paths"][0], "destinations": ["0.0.0.0/0"], "ports": [80]},
]
ANYTHING = {"rs": [{"allow": "0.0.0.0/0"}]}


@pytest.mark.parametrize(
    ("values", "relays", "key", "fix"),
    [
        ({"encryption": "ipsec"}, None, "ktcp_mesh.encryption", "'none' or 'wireguard'"),
        ({"tunnel": {"mtu": 1279}}, None, "ktcp_mesh.tunnel.mtu", "from 1280 to 9000"),
        ({"tunnel": {"net": 1}}, None, "ktcp_mesh.tunnel.net", "write network"),
        (
            {**ENCRYPTED, "tunnel": {"network": "10.9.0.0/31"}},
            None,
            "ktcp_mesh.tunnel.network",
            "has 0 addresses for 2 hosts; write a larger",
        ),
        (ENCRYPTED, SAME, "hostvars.rs.ktcp_tunnel_address", f"is free, like {RS}"),
        (ENCRYPTED, OUTSIDE, "hostvars.rc.ktcp_tunnel_address", f"like {RC}"),
        (ENCRYPTED, BROKEN, "hostvars.rc.ktcp_tunnel_address", "write one like"),
        (
            {**ENCRYPTED, "tunnel": {"network": "10.77.2.0/24"}},
            None,
            "ktcp_mesh.tunnel.network",
            "10.77.2.1/32, the address of rc, lies in",
        ),
        (
            {**ENCRYPTED, "tunnel": {"network": "10.77.0.0/16"}},
            None,
            "ktcp_mesh.tunnel.network",
            "10.77.3.0/24, of path 'web', lies in",
        ),
        (
            {"edges": {"client": {**CALLER, "networks": ["fd6b:7463:7000::/80"]}}},
            None,
            "ktcp_mesh.tunnel.network",
            "a network of edge 'client', lies in",
        ),
        ({"edges": {"rs": ROUTED}}, None, "ktcp_mesh.edges.rs", "is a relay"),
        ({"edges": {"nobody": ROUTED}}, None, "ktcp_mesh.edges.nobody", "add it"),
        ({"edges": {"client": {}}}, None, "ktcp_mesh.edges.client.relay", "add it"),
        ({"edges": {"client": {"rely": 1}}}, None, "ktcp_mesh.edges.client.rely", "write relay"),
        (
            {"edges": {"client": {**ROUTED, "by": "gre"}}},
            None,
            "ktcp_mesh.edges.client.by",
            "'route' or",
        ),
        (
            {"edges": {"client": {**ROUTED, "relay": "rx"}}},
            None,
            "ktcp_mesh.edges.client.relay",
            "group relays",
        ),
        (
            {"edges": {"client": {**ROUTED, "relay": "rs"}}},
            None,
            "ktcp_mesh.edges.client.relay",
            "name the ingress",
        ),
        (
            {"edges": {"client": ROUTED}, "paths": EVERYWHERE, "exits": ANYTHING},
            None,
            "ktcp_mesh.edges.client.relay",
            "list narrower destinations",
        ),
        (
            {"edges": {"client": {"relay": "rc"}}},
            None,
            "ktcp_mesh.edges.client.via",
            "add the one at which client reaches rc",
        ),
        (
            {"edges": {"client": {**ROUTED, "via": ["10.77.1.1", "10.77.1.3", "fd77::1"]}}},
            None,
            "ktcp_mesh.edges.client.via",
            "has 2 IPv4 addresses",
        ),
        (
            {"edges": {"client": {**CALLER, "networks": []}}},
            None,
            "ktcp_mesh.edges.client.networks",
            "list the prefixes behind",
        ),
        (
            {"edges": {"client": {**CALLER, "networks": ["::/0"]}}},
            None,
            "ktcp_mesh.edges.client.networks[0]",
            "list the edge's own prefixes",
        ),
        (
            {"edges": {"client": {**ROUTED, "networks": ["10.5.0.0/24"]}}},
            None,
            "ktcp_mesh.edges.client.networks",
            "write by: wireguard",
        ),
        (
            {"edges": {"client": CALLER, "server": OTHER}},
            None,
            "ktcp_mesh.edges.server.networks[0]",
            "keep it in one",
        ),
        (
            {"edges": {"client": CALLER, "server": {**CALLER, "networks": ["10.6.0.0/24"]}}},
            None,
            "ktcp_mesh.edges.server.address",
            "also the tunnel address of client",
        ),
    ],
)
def test_an_error_has_its_key_and_a_fix(
    describe: Describe,
    values: dict[str, Any],
    relays: dict[str, dict[str, Any]] | None,
    key: str,
    fix: str,
) -> None:
    with pytest.raises(InvalidMeshError) as caught:
        read(describe(settings(**values), relays=relays))
    assert [problem for problem in caught.value.problems if f": {key}: " in problem], caught.value
    assert any(fix in problem for problem in caught.value.problems), caught.value.problems


def test_errors_of_tunnels_come_all_at_once(describe: Describe) -> None:
    edges = {"client": {"relay": "rx"}, "server": {**CALLER, "networks": []}, "x": {"by": 1}}
    values = {"encryption": "wireguard", "tunnel": {"network": "10.77.2.0/30"}, "edges": edges}
    with pytest.raises(InvalidMeshError) as caught:
        read(describe(settings(**values)))
    said = json.dumps(caught.value.problems)
    for key in ("edges.client.relay", "edges.server.networks", "edges.x.by", "tunnel.network"):
        assert f"ktcp_mesh.{key}: " in said
