# SPDX-License-Identifier: GPL-2.0-only
"""The roles' templates, rendered without a host."""

import re
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from tests.unit.roles.programs import ROOT, program

edge = program("ktcp_edge", "ktcp-edge")
steering = program("ktcp_steering", "ktcp-steering")
wireguard = program("ktcp_wireguard", "ktcp-wireguard")

NODE: dict[str, Any] = {
    "name": "rc",
    "conf": {
        "exits": ["allow 10.77.3.0/24 port 80-80"],
        "listeners": ["add client 5557", "add relay 5565"],
        "peers": [],
        "routes": [],
        "settings": [],
        "thread_pool": [],
    },
    "keys": {"2": "cd" * 32, "1": "ab" * 32},
    "relay_port": 5565,
    "peers_addresses": ["10.77.2.2", "fd77:0:0:2::2"],
    "inside4": "",
    "inside6": "",
    "relays4": "KTCP-relays.v4.5",
    "relays6": "",
    "sets4": [
        {"name": "KTCP-one.v4.1", "entries": ["10.0.0.0/8", "10.77.0.0/16 nomatch"]},
        {"name": "KTCP-relays.v4.5", "entries": ["10.77.2.1"]},
    ],
    "sets6": [],
    "steering": [
        {
            "chain": "KTCP-rc-rs",
            "mark": "0x101",
            "client_port": 5557,
            "rules4": [
                {"destinations": "KTCP-one.v4.1", "sources": "", "ports": [80, "8000:8100"]},
                {"destinations": "KTCP-two.v4.2", "sources": "KTCP-who.v4.3", "ports": []},
            ],
            "rules6": [{"destinations": "KTCP-one.v6.1", "sources": "", "ports": [80]}],
            "services4": [],
            "services6": [],
        },
        {
            "chain": "KTCP-rc-direct",
            "mark": "0x102",
            "client_port": 5557,
            "rules4": [{"destinations": "KTCP-two.v4.4", "sources": "", "ports": []}],
            "rules6": [],
            "services4": [
                {"port": 8443, "sources": ""},
                {"port": 8444, "sources": "KTCP-who.v4.3"},
            ],
            "services6": [],
        },
    ],
}


def variables(role: str, kind: str) -> dict[str, Any]:
    """A role's variables that contain no expressions."""
    path = ROOT / "roles" / role / kind / "main.yml"
    loaded: dict[str, Any] = yaml.safe_load(path.read_text())
    return loaded


def render(role: str, template: str, **values: object) -> str:
    """Render a template that uses only Jinja's own filters, as Ansible would."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROOT / "roles" / role / "templates"),
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    return environment.get_template(template).render(ansible_managed="managed", **values)


def chains(
    family: str,
    *,
    guard: bool = True,
    untracked: bool = False,
    node: dict[str, Any] | None = None,
) -> str:
    return render(
        "ktcp_steering",
        "steering.j2",
        family=family,
        ktcp_node=node or NODE,
        ktcp_steering_client_ports=["5557"],
        ktcp_steering_guard=guard,
        ktcp_steering_untracked=untracked,
        ktcp_steering_taken=variables("ktcp_steering", "vars")["ktcp_steering_taken"],
        ktcp_steering_return=variables("ktcp_steering", "vars")["ktcp_steering_return"],
    )


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_what_is_jumped_to_is_declared_and_all_rules_are_ours(family: str) -> None:
    text = chains(family)
    tables = steering.parse(text)
    assert set(tables) == {"filter", "nat", "mangle"}
    for table in tables.values():
        targets = {rule.split()[-1] for rule in table.rules if rule.split()[-1].startswith("KTCP")}
        assert targets == set(table.chains)
    rules = sum(len(table.rules) for table in tables.values())
    assert rules == sum(line.startswith("-") for line in text.splitlines())


def test_marks_are_set_for_the_wanted_flows() -> None:
    marks = [rule for rule in steering.parse(chains("v4"))["mangle"].rules if "MARK" in rule]
    assert marks == [
        (
            "-A KTCP -p tcp -m tcp --dport 8443 -m addrtype --dst-type LOCAL"
            " -j MARK --set-xmark 0x102/0xffffffff"
        ),
        (
            "-A KTCP -m set --match-set KTCP-who.v4.3 src -p tcp -m tcp --dport 8444 -m addrtype"
            " --dst-type LOCAL -j MARK --set-xmark 0x102/0xffffffff"
        ),
        (
            "-A KTCP-rc-rs -p tcp -m multiport --dports 80,8000:8100"
            " -m set --match-set KTCP-one.v4.1 dst -j MARK --set-xmark 0x101/0xffffffff"
        ),
        (
            "-A KTCP-rc-rs -p tcp -m set --match-set KTCP-two.v4.2 dst"
            " -m set --match-set KTCP-who.v4.3 src -j MARK --set-xmark 0x101/0xffffffff"
        ),
        (
            "-A KTCP-rc-direct -p tcp -m set --match-set KTCP-two.v4.4 dst"
            " -j MARK --set-xmark 0x102/0xffffffff"
        ),
    ]


def test_of_what_is_meant_for_the_relay_only_services_are_marked() -> None:
    for family, services in (("v4", 2), ("v6", 0)):
        rules = steering.parse(chains(family))["mangle"].rules
        own = [rule for rule in rules if rule.startswith("-A KTCP ")]
        assert own[services] == "-A KTCP -m addrtype --dst-type LOCAL -j RETURN"
        assert all(re.search("--dport 844[34] -m addrtype", rule) for rule in own[:services])


def test_nothing_from_or_to_relays_is_steered() -> None:
    for family, count in (("v4", 2), ("v6", 0)):
        own = [
            r for r in steering.parse(chains(family))["mangle"].rules if r.startswith("-A KTCP ")
        ]
        asked = [rule for rule in own if "KTCP-relays" in rule]
        assert len(asked) == count
        assert all(rule.endswith("-j RETURN") for rule in asked)
        first = min(place for place, rule in enumerate(own) if "-j KTCP-" in rule)
        assert all(own.index(rule) < first for rule in asked)


@pytest.mark.parametrize("pairs", [NODE["steering"], []])
def test_answers_to_clients_are_kept_before_all_else(pairs: list[dict[str, Any]]) -> None:
    node = {**NODE, "steering": pairs, "inside6": "eth1"}
    mark = hex(steering.RETURN_MARK)
    own = list(steering.parse(chains("v6", node=node))["mangle"].rules)
    keep = f"-m socket --transparent -j MARK --set-xmark {mark}/0xffffffff"
    assert own[1:5] == [
        "-A PREROUTING -i eth1 -p ipv6-icmp -j KTCP",
        f"-A KTCP -i eth1 -p ipv6-icmp {keep}",
        f"-A KTCP -i eth1 -p tcp {keep}",
        f"-A KTCP -m mark --mark {mark} -j RETURN",
    ]
    assert all(steering.KEEPS_ANSWERS.search(rule) for rule in own[2:4])
    assert not steering.KEEPS_ANSWERS.search(chains("v4", node=node))


def test_only_the_modules_own_mark_is_redirected() -> None:
    header = (ROOT / "kmod/relay/route.h").read_text()
    found = re.search(r"KTCP_MARK_TAKEN (0x[0-9a-f]+)", header)
    assert found is not None
    marks = re.findall(r"--mark (\S+) -j REDIRECT", chains("v4"))
    assert [int(mark, 16) for mark in marks] == [
        int(found[1], 16) | 0x101,
        int(found[1], 16) | 0x102,
    ]


@pytest.mark.parametrize("family", ["v4", "v6"])
def test_ahead_of_conntrack_the_same_flows_are_marked_in_raw(family: str) -> None:
    redirected = steering.parse(chains(family))
    tables = steering.parse(chains(family, untracked=True))
    assert set(tables) == {"filter", "raw"}
    assert tables["raw"] == redirected["mangle"]
    assert not [rule for table in tables.values() for rule in table.rules if "REDIRECT" in rule]


def test_what_was_taken_ahead_of_conntrack_is_let_in_first() -> None:
    tables = steering.parse(chains("v4", untracked=True))
    bit = variables("ktcp_steering", "vars")["ktcp_steering_taken"]
    taken = f"-m mark --mark {bit:#x}/{bit:#x} -j"
    assert f"-I INPUT {taken} KTCP-INPUT" in tables["filter"].jumps
    own = [rule for rule in tables["filter"].rules if rule.startswith("-A KTCP-INPUT ")]
    assert own[0] == f"-A KTCP-INPUT {taken} ACCEPT"
    # The limits on KTCP's ports stay, and so do the rules for streams that were redirected before.
    assert own[1:] == [
        rule for rule in steering.parse(chains("v4"))["filter"].rules if "-A KTCP-INPUT" in rule
    ]
    assert set(steering.parse(chains("v4", untracked=True, guard=False))) == {"raw"}


def test_a_transparent_exit_leaves_alone_what_was_taken_ahead_of_conntrack() -> None:
    node = {**NODE, "inside4": "eth1"}
    tables = steering.parse(chains("v4", untracked=True, node=node))
    assert set(tables) == {"filter", "mangle", "raw"}
    mark = hex(steering.RETURN_MARK)
    keep = f"-m socket --transparent -j MARK --set-xmark {mark}/0xffffffff"
    assert tables["mangle"].rules == [
        "-A PREROUTING -p tcp -j KTCP",
        "-A PREROUTING -i eth1 -p icmp -j KTCP",
        "-A KTCP -m mark --mark 0x80000000/0x80000000 -j RETURN",
        f"-A KTCP -i eth1 -p icmp {keep}",
        f"-A KTCP -i eth1 -p tcp {keep}",
    ]
    assert steering.KEEPS_ANSWERS.search(chains("v4", untracked=True, node=node))
    assert not [rule for rule in tables["raw"].rules if "transparent" in rule]


@pytest.mark.parametrize(("family", "peer"), [("v4", "10.77.2.2"), ("v6", "fd77:0:0:2::2")])
def test_the_relay_port_takes_the_peers_only(family: str, peer: str) -> None:
    rules = [rule for rule in steering.parse(chains(family))["filter"].rules if "5565" in rule]
    assert rules == [
        f"-A KTCP-INPUT -s {peer} -p tcp -m tcp --dport 5565 -j ACCEPT",
        "-A KTCP-INPUT -p tcp -m tcp --dport 5565 -j REJECT --reject-with tcp-reset",
    ]


def test_a_relay_without_paths_marks_nothing() -> None:
    assert set(steering.parse(chains("v4", node={**NODE, "steering": []}))) == {"filter"}
    assert steering.parse(chains("v4", guard=False, node={**NODE, "steering": []})) == {}


def test_configuration_files_hold_exactly_the_lines() -> None:
    text = render("ktcp_peers", "lines.conf.j2", section="listeners", ktcp_node=NODE)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == NODE["conf"]["listeners"]


def test_keys_are_sorted() -> None:
    text = render("ktcp_peers", "keys.conf.j2", ktcp_node=NODE)
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [["add", "1"], ["add", "2"]]


INTERFACE = {
    "address": "fd6b::1/64",
    "port": 51820,
    "mtu": 1420,
    "peers": [
        {
            "name": "rs",
            "networks": ["fd6b::2/128"],
            "endpoint": "10.77.2.2:51820",
            "keepalive": 0,
        },
        {
            "name": "branch",
            "networks": ["fd6b::e/128", "10.5.0.0/24"],
            "endpoint": "",
            "keepalive": 25,
        },
        {"name": "unborn", "networks": ["fd6b::f/128"], "endpoint": "", "keepalive": 0},
    ],
}


def test_a_tunnel_has_the_peers_whose_keys_are_known() -> None:
    text = render(
        "ktcp_wireguard",
        "wireguard.conf.j2",
        ktcp_wireguard_interface=INTERFACE,
        ktcp_wireguard_keys={"rs": "RS=", "branch": "BRANCH="},
    )
    found = wireguard.parse(text)
    assert found.interface == {"Address": "fd6b::1/64", "ListenPort": "51820", "MTU": "1420"}
    assert [(peer.name, peer.key, sorted(peer.networks)) for peer in found.peers] == [
        ("rs", "RS=", ["fd6b::2/128"]),
        ("branch", "BRANCH=", ["10.5.0.0/24", "fd6b::e/128"]),
    ]
    first, second = text.split("[Peer]")[1:]
    assert "Endpoint = 10.77.2.2:51820\n" in first
    assert "Keepalive" not in first
    assert "Endpoint" not in second
    assert "PersistentKeepalive = 25\n" in second
    assert "PrivateKey" not in text


def test_a_tunnels_end_is_kept_out_of_routes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = render(
        "ktcp_wireguard",
        "wireguard.conf.j2",
        ktcp_wireguard_interface=INTERFACE,
        ktcp_wireguard_keys={"rs": "RS="},
    )
    monkeypatch.setattr(edge, "TUNNEL", tmp_path / "wireguard.conf")
    edge.TUNNEL.write_text(text)
    assert {str(address) for address in edge.endpoints()} == {"10.77.2.2"}


def test_routes_are_written_as_the_command_reads_them() -> None:
    lines = ["10.8.0.0/16 via 10.5.0.9", "10.9.0.0/16 dev ktcp-wg"]
    text = render("ktcp_edge", "ktcp-edge.conf.j2", ktcp_edge_lines=lines)
    assert [str(route) for route in edge.parse(text.splitlines())] == lines


def test_dkms_is_told_the_key_in_its_own_words() -> None:
    text = render(
        "ktcp_module",
        "framework.conf.j2",
        ktcp_module_signing_key="/root/mok.key",
        ktcp_module_signing_certificate="/root/mok.der",
    )
    assert text.splitlines()[-2:] == [
        'mok_signing_key="/root/mok.key"',
        'mok_certificate="/root/mok.der"',
    ]


def test_every_option_of_a_role_has_the_default_that_its_specification_says() -> None:
    for specs in sorted(Path(ROOT / "roles").glob("*/meta/argument_specs.yml")):
        role = specs.parents[1].name
        entries = yaml.safe_load(specs.read_text())["argument_specs"].values()
        options = {name: o for entry in entries for name, o in entry["options"].items()}
        path = ROOT / "roles" / role / "defaults" / "main.yml"
        defaults = yaml.safe_load(path.read_text())
        described = {
            name: option["default"]
            for name, option in options.items()
            if name.startswith(role) and "default" in option
        }
        assert described == defaults, role
