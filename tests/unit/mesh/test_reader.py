# SPDX-License-Identifier: GPL-2.0-only
"""Every kind of error in a mesh is reported with its file, its key and a fix, all at once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktcp_ops.errors import ExitCode, InvalidMeshError
from ktcp_ops.mesh.checks import acl
from ktcp_ops.mesh.checks.services import open_services
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.description import Description
from tests.unit.mesh.conftest import KEY, Describe, Spoil

MESH_FILE = "group_vars/all/mesh.yml:1"
VIA_FILE = "group_vars/all/mesh.yml:23"
PATHS_FILE = "group_vars/all/mesh.yml:20"
KEYS_FILE = "group_vars/all/keys.yml:1"
INVENTORY = "inventories/test/mesh.ktcp.yml"


def problems(description: Description) -> tuple[str, ...]:
    with pytest.raises(InvalidMeshError) as caught:
        read(description)
    assert caught.value.exit_code is ExitCode.INVALID_MESH
    return caught.value.problems


def setting(*path: str | int, to: object) -> Spoil:
    """Make a spoiler that sets the value at a path."""

    def spoil(mesh: dict[str, Any]) -> None:
        place: Any = mesh
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = to

    return spoil


def without(*path: str | int) -> Spoil:
    """Make a spoiler that removes the value at a path."""

    def spoil(mesh: dict[str, Any]) -> None:
        place: Any = mesh
        for part in path[:-1]:
            place = place[part]
        del place[path[-1]]

    return spoil


def another_path(**fields: object) -> Spoil:
    """Make a spoiler that adds a second path."""
    path = {"name": "more", "ingress": "rc", "via": ["rs"], "destinations": ["10.77.3.0/25"]}
    return lambda mesh: mesh["paths"].append({**path, "ports": [443], **fields})


def both(*spoilers: Spoil) -> Spoil:
    """Make a spoiler of several, one after the other."""

    def spoil(mesh: dict[str, Any]) -> None:
        for each in spoilers:
            each(mesh)

    return spoil


def another_service(
    *, path: dict[str, Any] | None = None, name: str = "svc", **fields: object
) -> Spoil:
    """Make a spoiler that adds a path for a service."""
    service = {"port": 8080, "target": "10.77.3.2:80", **fields}
    whole = {"name": name, "ingress": "rc", "via": ["rs"], "service": service, **(path or {})}
    return lambda mesh: mesh["paths"].append(whole)


def automatic(**fields: object) -> Spoil:
    """Make a spoiler that gives the path `via: auto` to rs."""
    path = {"via": "auto", "exits": ["rs"], **fields}
    return lambda mesh: mesh["paths"][0].update(path)


CASES: list[tuple[str, Spoil, str, str, str]] = [
    # what, spoiler, file, key, part of the fix
    (
        "early",
        setting("settings", to={"early_syn": True, "thread_pool": "off"}),
        MESH_FILE,
        "settings.early_syn",
        "switch thread_pool on",
    ),
    ("port", setting("ports", "relay", to=70000), MESH_FILE, "ports.relay", "1 to 65535"),
    ("port true", setting("ports", "client", to=True), MESH_FILE, "ports.client", "1 to 65535"),
    (
        "number as key",
        setting("ports", to={5557: 1}),
        MESH_FILE,
        "ports[5557]",
        "`ktcp-ops mesh schema`",
    ),
    ("same port", setting("ports", "relay", to=5557), MESH_FILE, "ports", "change one"),
    ("no mapping", setting("ports", to=[1]), MESH_FILE, "ports", "name: value"),
    ("pairs word", setting("pairs", to="all"), MESH_FILE, "pairs", "full_mesh"),
    ("pair of 3", setting("pairs", to=[["rc", "rs", "x"]]), MESH_FILE, "pairs[0]", "[a, b]"),
    ("pair self", setting("pairs", to=[["rc", "rs"], ["rc", "rc"]]), MESH_FILE, "pairs[1]", "remo"),
    (
        "pair twice",
        setting("pairs", to=[["rc", "rs"], ["rs", "rc"]]),
        MESH_FILE,
        "pairs[1]",
        "remo",
    ),
    ("pair who", setting("pairs", to=[["rc", "rs"], ["rc", "rx"]]), MESH_FILE, "pairs[1][1]", "rc"),
    ("marks high", setting("thread_pool", "low", to=300), MESH_FILE, "thread_pool", "lower low"),
    ("marks low", setting("thread_pool", "low", to=0), MESH_FILE, "thread_pool.low", "from 1 to"),
    ("marks", setting("pool", to={"low": 9, "high": 8}), MESH_FILE, "pool", "raise high"),
    ("mark range", setting("pool", to={"low": 1, "high": 5000}), MESH_FILE, "pool.high", "4096"),
    ("mark missing", setting("pool", to={"low": 1}), MESH_FILE, "pool.high", "add it"),
    (
        "setting",
        setting("settings", "early_sin", to=1),
        MESH_FILE,
        "settings.early_sin",
        "early_syn",
    ),
    ("engine", setting("settings", "engine", to="x"), MESH_FILE, "settings.engine", "'threads' or"),
    ("switch", setting("settings", "turbo", to="yes"), MESH_FILE, "settings.turbo", "on or off"),
    (
        "bytes",
        setting("settings", "buffer_bytes", to=1),
        MESH_FILE,
        "settings.buffer_bytes",
        "4096",
    ),
    ("top", setting("path", to=[]), MESH_FILE, "path", "write paths"),
    ("injected", setting("relays", to={}), MESH_FILE, "relays", "relays_group"),
    ("group", setting("relays_group", to="two words"), MESH_FILE, "relays_group", "one word"),
    ("key id", setting("key", to=0), MESH_FILE, "key", "1 to 65535"),
    ("paths", setting("paths", to="web"), PATHS_FILE, "paths", "dash"),
    ("path", setting("paths", 0, to="web"), PATHS_FILE, "paths[0]", "name: value"),
    ("path key", setting("paths", 0, "vai", to=[]), PATHS_FILE, "paths[0].vai", "write via"),
    ("unnamed", without("paths", 0, "name"), PATHS_FILE, "paths[0].name", "add it"),
    (
        "via word",
        setting("paths", 0, "via", to="rs"),
        "group_vars/all/mesh.yml:23",
        "paths[0].via",
        "dash",
    ),
    ("ingress", setting("paths", 0, "ingress", to="ra"), PATHS_FILE, "paths[0].ingress", "rc"),
    (
        "via",
        setting("paths", 0, "via", to=["rx"]),
        "group_vars/all/mesh.yml:23",
        "paths[0].via[0]",
        "group relays",
    ),
    (
        "loop",
        setting("paths", 0, "via", to=["rs", "rc"]),
        "group_vars/all/mesh.yml:23",
        "paths[0].via[1]",
        "remove",
    ),
    (
        "9 hops",
        setting("paths", 0, "via", to=["rs"] * 9),
        "group_vars/all/mesh.yml:23",
        "paths[0].via",
        "shorten",
    ),
    (
        "unpaired",
        setting("pairs", to=[]),
        "group_vars/all/mesh.yml:23",
        "paths[0].via[0]",
        "add [rc, rs]",
    ),
    (
        "nowhere",
        setting("paths", 0, "destinations", to=[]),
        PATHS_FILE,
        "paths[0].destinations",
        "list",
    ),
    (
        "host bits",
        setting("paths", 0, "destinations", 0, to="10.77.3.1/24"),
        PATHS_FILE,
        "paths[0].destinations[0]",
        "10.77.3.0/24",
    ),
    (
        "no prefix",
        setting("paths", 0, "destinations", 0, to="ten"),
        PATHS_FILE,
        "paths[0].destinations[0]",
        "203.0.113.0/24",
    ),
    (
        "loopback",
        setting("paths", 0, "destinations", 0, to="127.0.0.1"),
        PATHS_FILE,
        "paths[0].destinations[0]",
        "remove",
    ),
    ("ports", setting("paths", 0, "ports", to=["http"]), PATHS_FILE, "paths[0].ports", "443"),
    (
        "port range",
        setting("paths", 0, "ports", to=["9-3"]),
        PATHS_FILE,
        "paths[0].ports",
        "low-high",
    ),
    ("no ports", setting("paths", 0, "ports", to=[]), PATHS_FILE, "paths[0].ports", "leave it out"),
    (
        "probe host",
        setting("paths", 0, "probe", "from", to="nobody"),
        PATHS_FILE,
        "paths[0].probe.from",
        "passes rc",
    ),
    (
        "probe url",
        setting("paths", 0, "probe", "url", to="ftp://x"),
        PATHS_FILE,
        "paths[0].probe.url",
        "http://",
    ),
    (
        "probe name",
        setting("paths", 0, "probe", "url", to="http://host/"),
        PATHS_FILE,
        "paths[0].probe.url",
        "literal",
    ),
    (
        "probe else",
        setting("paths", 0, "probe", "url", to="http://10.9.9.9/"),
        PATHS_FILE,
        "paths[0].probe.url",
        "fetch",
    ),
    (
        "probe port",
        setting("paths", 0, "probe", "url", to="http://10.77.3.2:81/"),
        PATHS_FILE,
        "paths[0].probe.url",
        "fetch",
    ),
    ("name twice", another_path(name="web"), PATHS_FILE, "paths[1].name", "rename"),
    (
        "overlap",
        another_path(destinations=["10.77.3.0/24"], ports=[80]),
        PATHS_FILE,
        "paths[1].destinations[0]",
        "different ports",
    ),
    (
        "overlap all",
        another_path(destinations=["10.77.3.0/24"], ports="1-65535"),
        PATHS_FILE,
        "paths[1].destinations[0]",
        "also a destination of path 'web' of the same ingress; keep it in one",
    ),
    (
        "overlap self",
        setting("paths", 0, "destinations", to=["10.77.3.0/24", "10.77.3.0/24"]),
        PATHS_FILE,
        "paths[0].destinations[1]",
        "this path",
    ),
    ("mark", setting("paths", 0, "mark", to=0x80000000), PATHS_FILE, "paths[0].mark", "2147483647"),
    ("exit who", setting("exits", "rx", to=[]), MESH_FILE, "exits.rx", "rs"),
    (
        "exit rule",
        setting("exits", "rs", 0, to={"ports": 80}),
        MESH_FILE,
        "exits.rs[0]",
        "allow or deny",
    ),
    (
        "exit word",
        setting("exits", "rs", 0, to={"alow": "10.0.0.0/8"}),
        MESH_FILE,
        "exits.rs[0].alow",
        "allow",
    ),
    (
        "exit port",
        setting("exits", "rs", 0, "ports", to=0),
        MESH_FILE,
        "exits.rs[0].ports",
        "within 1-65535",
    ),
    (
        "exit missing",
        without("exits", "rs"),
        MESH_FILE,
        "exits.rs",
        "add [{allow: 10.77.3.0/24}, {allow:",
    ),
    (
        "exit denies",
        setting("exits", "rs", 0, to={"deny": "10.77.3.128/25"}),
        MESH_FILE,
        "exits.rs[0]",
        "put an allow",
    ),
    (
        "exit part",
        setting("exits", "rs", 0, to={"allow": "10.77.3.0/25"}),
        MESH_FILE,
        "exits.rs",
        "{allow: 10.77.3.0/24}",
    ),
    (
        "exit ports",
        setting("exits", "rs", 0, "ports", to="443"),
        MESH_FILE,
        "exits.rs",
        "{allow: 10.77.3.0/24}",
    ),
    (
        "service and more",
        another_path(service={"port": 8080, "target": "10.77.3.2:80"}),
        PATHS_FILE,
        "paths[1].ports",
        "remove one",
    ),
    ("target", another_service(target="server:80"), PATHS_FILE, "paths[1].service.target", ":443"),
    ("no port", another_service(target="10.77.3.2"), PATHS_FILE, "paths[1].service.target", ":443"),
    (
        "target port",
        another_service(target="10.77.3.2:0"),
        PATHS_FILE,
        "paths[1].service.target",
        "within 1-65535",
    ),
    (
        "target here",
        another_service(target="127.0.0.1:80"),
        PATHS_FILE,
        "paths[1].service.target",
        "own address",
    ),
    (
        "target is exit",
        another_service(target="10.77.2.2:80"),
        PATHS_FILE,
        "paths[1].service.target",
        "another host",
    ),
    (
        "target denied",
        another_service(target="10.77.4.2:80"),
        MESH_FILE,
        "exits.rs",
        "add {allow: 10.77.4.2/32}",
    ),
    ("service port", another_service(port=0), PATHS_FILE, "paths[1].service.port", "1 to 65535"),
    ("service key", another_service(prot=1), PATHS_FILE, "paths[1].service.prot", "write port"),
    ("port of ssh", another_service(port=22), PATHS_FILE, "paths[1].service.port", "choose"),
    ("port of client", another_service(port=5557), PATHS_FILE, "paths[1].service.port", "client"),
    ("port of relay", another_service(port=5565), PATHS_FILE, "paths[1].service.port", "relay"),
    (
        "port twice",
        both(another_service(name="one"), another_service(name="two")),
        PATHS_FILE,
        "paths[2].service.port",
        "path 'one'",
    ),
    (
        "probe of service",
        another_service(path={"probe": {"from": "client", "url": "http://10.77.1.1:80/"}}),
        PATHS_FILE,
        "paths[1].probe.url",
        "port 8080",
    ),
    ("proxy", setting("paths", 0, "proxy", to="maybe"), PATHS_FILE, "paths[0].proxy", "on or off"),
    (
        "transparent",
        setting("paths", 0, "transparent", to=True),
        INVENTORY,
        "hostvars.rs.ktcp_inside_interface",
        "like eth1",
    ),
    (
        "mark of answers",
        setting("paths", 0, "mark", to="0x6b74"),
        PATHS_FILE,
        "paths[0].mark",
        "choose another",
    ),
    (
        "sources",
        setting("paths", 0, "sources", to=["everyone"]),
        PATHS_FILE,
        "paths[0].sources[0]",
        "203.0.113.0/24",
    ),
    (
        "sources of a family",
        setting("paths", 0, "sources", to=["192.0.2.0/24"]),
        PATHS_FILE,
        "paths[0].destinations[1]",
        "is IPv6, and no prefix of sources is",
    ),
    ("client on ssh", setting("ports", "client", to=22), MESH_FILE, "ports.client", "ssh listens"),
    ("relay on ssh", setting("ports", "relay", to=22), MESH_FILE, "ports.relay", "choose another"),
    (
        "mapped",
        setting("paths", 0, "destinations", 0, to="::ffff:10.0.0.0/104"),
        PATHS_FILE,
        "paths[0].destinations[0]",
        "IPv4 written as IPv6, and relays never connect there",
    ),
    (
        "compatible",
        setting("paths", 0, "destinations", 0, to="::10.0.0.1"),
        PATHS_FILE,
        "paths[0].destinations[0]",
        "remove it",
    ),
    (
        "broadcast",
        setting("paths", 0, "destinations", 0, to="255.255.255.255"),
        PATHS_FILE,
        "paths[0].destinations[0]",
        "is broadcast",
    ),
    (
        "no network",
        setting("paths", 0, "destinations", 0, to="0.1.0.0/16"),
        PATHS_FILE,
        "paths[0].destinations[0]",
        "is reserved",
    ),
    (
        "target mapped",
        another_service(target="[::ffff:10.77.3.2]:80"),
        PATHS_FILE,
        "paths[1].service.target",
        "own address",
    ),
    (
        "exit of loopback",
        lambda mesh: mesh["exits"]["rs"].append({"allow": "127.0.0.0/8"}),
        MESH_FILE,
        "exits.rs[2]",
        "loopback, and relays never connect there; remove the rule",
    ),
    (
        "exit mapped",
        lambda mesh: mesh["exits"]["rs"].append({"allow": "::ffff:10.0.0.0/104"}),
        MESH_FILE,
        "exits.rs[2]",
        "IPv4 written as IPv6",
    ),
    (
        "exit twice",
        lambda mesh: mesh["exits"]["rs"].append({"allow": "10.77.3.0/24", "ports": "1-65535"}),
        MESH_FILE,
        "exits.rs[2]",
        "allow 10.77.3.0/24 port 1-65535 is in ktcp_mesh.exits.rs[0] already",
    ),
    (
        "exit of relays",
        setting("exits", "rs", 0, to={"allow": "10.77.0.0/16"}),
        MESH_FILE,
        "exits.rs[0]",
        "so 10.77.2.1 of rc, where relays are managed; put {deny: 10.77.2.1} before it",
    ),
    (
        "path to a relay",
        lambda mesh: mesh["paths"][0]["destinations"].append("10.77.2.2"),
        PATHS_FILE,
        "paths[0].destinations[2]",
        "10.77.2.2 is rs itself, and connections to a relay are never split; give the servers",
    ),
    (
        "exit of relays' ports",
        both(
            setting("exits", "rs", 0, to={"deny": "10.77.2.1", "ports": 22}),
            lambda mesh: mesh["exits"]["rs"].append({"allow": "10.77.0.0/16"}),
        ),
        MESH_FILE,
        "exits.rs[2]",
        "put {deny: 10.77.2.1} before it",
    ),
    ("key", setting("key", to=2), KEYS_FILE, "ktcp_keys.2", "openssl rand"),
    ("via null", setting("paths", 0, "via", to=None), VIA_FILE, "paths[0].via", "write auto"),
    (
        "auto alone",
        setting("paths", 0, "via", to="auto"),
        PATHS_FILE,
        "paths[0]",
        "list the relays",
    ),
    ("exits", setting("paths", 0, "exits", to=["rs"]), PATHS_FILE, "paths[0]", "via: auto"),
    ("auto mark", automatic(mark=5), PATHS_FILE, "paths[0]", "remove mark"),
    ("auto exits", automatic(exits="rs"), PATHS_FILE, "paths[0].exits", "dash"),
    ("auto who", automatic(exits=["rs", "rx"]), PATHS_FILE, "paths[0].exits[1]", "or rs"),
    (
        "auto denied",
        automatic(exits=["rs", "rc"]),
        MESH_FILE,
        "exits.rc",
        "add [{allow: 10.77.3.0/24}, {allow:",
    ),
    (
        "auto nowhere",
        both(automatic(), setting("pairs", to=[])),
        VIA_FILE,
        "paths[0].via",
        "add [rc, rs]",
    ),
    (
        "auto answers",
        automatic(transparent=True),
        INVENTORY,
        "hostvars.rs.ktcp_inside_interface",
        "like eth1",
    ),
    ("hops", setting("auto", to={"max_hops": 9}), MESH_FILE, "auto.max_hops", "1 to 8"),
    ("hop", setting("auto", to={"max_hop": 2}), MESH_FILE, "auto.max_hop", "write max_hops"),
    (
        "gain",
        setting("auto", to={"min_gain_percent": 100}),
        MESH_FILE,
        "auto.min_gain_percent",
        "9",
    ),
    (
        "client rtt",
        setting("paths", 0, "client_rtt_ms", to=0),
        PATHS_FILE,
        "paths[0].client_rtt_ms",
        "milliseconds",
    ),
    (
        "target rtt",
        setting("paths", 0, "target_rtt_ms", to={"rs": "far"}),
        PATHS_FILE,
        "paths[0].target_rtt_ms.rs",
        "milliseconds",
    ),
    (
        "circle",
        another_service(target="10.77.2.1:8080"),
        PATHS_FILE,
        "paths[1].service.target",
        "not a service of a relay",
    ),
]


@pytest.mark.parametrize(
    ("spoil", "file", "key", "fix"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_an_error_names_file_key_and_fix(
    describe: Describe, spoil: Spoil, file: str, key: str, fix: str
) -> None:
    path = key if key.startswith(("ktcp_keys", "hostvars")) else f"ktcp_mesh.{key}"
    found = [text for text in problems(describe(spoil)) if text.startswith(f"{file}: {path}: ")]
    assert len(found) == 1, problems(describe(spoil))
    assert fix in found[0]
    assert found[0].endswith(".")


HOSTS: list[tuple[str, dict[str, dict[str, Any]], str, str]] = [
    (
        "missing",
        {"rc": {}, "rs": {"ktcp_address": "10.77.2.2"}},
        "hosts.yml:4: hostvars.rc.ktcp_address",
        "set it to",
    ),
    (
        "wrong",
        {"rc": {"ktcp_address": "rc.example"}, "rs": {}},
        "hosts.yml:4: hostvars.rc.ktcp_address",
        "203.0.113.5",
    ),
    (
        "loopback",
        {"rc": {"ktcp_address": "127.0.0.1"}},
        "hosts.yml:4: hostvars.rc.ktcp_address",
        "routed",
    ),
    (
        "family",
        {"rc": {"ktcp_address": "fd77::1"}},
        "hosts.yml:4: hostvars.rc.ktcp_address",
        "ktcp_address6",
    ),
    (
        "shared",
        {"rc": {"ktcp_address": "10.0.0.1"}, "rs": {"ktcp_address": "10.0.0.1"}},
        f"{INVENTORY}: hostvars.rs.ktcp_address",
        "its own",
    ),
    (
        "memory",
        {
            "rc": {"ktcp_address": "10.0.0.1"},
            "rs": {"ktcp_address": "10.0.0.2", "ktcp_memory_mib": 15},
        },
        f"{INVENTORY}: hostvars.rs.ktcp_memory_mib",
        "(peers: 1) take 8 MiB",
    ),
    (
        "no memory",
        {"rc": {"ktcp_address": "10.0.0.1", "ktcp_memory_mib": "much"}},
        f"{INVENTORY}: hostvars.rc.ktcp_memory_mib",
        "whole number",
    ),
    (
        "interface",
        {"rc": {"ktcp_address": "10.0.0.1", "ktcp_inside_interface": "to the server"}},
        f"{INVENTORY}: hostvars.rc.ktcp_inside_interface",
        "like eth1",
    ),
    (
        "interception",
        {"rc": {"ktcp_address": "10.0.0.1", "ktcp_interception": "tproxy"}},
        f"{INVENTORY}: hostvars.rc.ktcp_interception",
        "redirect",
    ),
    (
        "strangers",
        {"rc": {"ktcp_address": "10.0.0.1"}, "rs": {"ktcp_address6": "fd77::1"}},
        f"{INVENTORY}: hostvars.rs.ktcp_address",
        "IPv4",
    ),
]


@pytest.mark.parametrize(
    ("relays", "start", "fix"), [c[1:] for c in HOSTS], ids=[c[0] for c in HOSTS]
)
def test_relays_addresses(
    describe: Describe, relays: dict[str, dict[str, Any]], start: str, fix: str
) -> None:
    found = [text for text in problems(describe(relays=relays)) if text.startswith(start + ": ")]
    assert len(found) == 1
    assert fix in found[0]


def test_listed_pairs_need_a_common_family(describe: Describe) -> None:
    relays = {"rc": {"ktcp_address6": "fd77::2"}, "rs": {"ktcp_address": "10.0.0.1"}}
    found = problems(describe(setting("pairs", to=[["rc", "rs"]]), relays=relays))
    assert len(found) == 1
    assert found[0].startswith(f"{INVENTORY}: hostvars.rs.ktcp_address6: is missing, and rc has")


def test_ansibles_port_is_no_listeners(describe: Describe) -> None:
    relays = {
        "rc": {"ktcp_address": "10.77.2.1"},
        "rs": {"ktcp_address": "10.77.2.2", "ansible_port": 5565},
    }
    (found,) = problems(describe(relays=relays))
    assert found == (
        f"{MESH_FILE}: ktcp_mesh.ports.relay: 5565 is where Ansible reaches rs; choose another."
    )


def test_what_is_denied_to_relays_is_denied_to_no_path(describe: Describe) -> None:
    """Flows to a relay's own address are never steered, so an exit may deny it."""

    def spoil(mesh: dict[str, Any]) -> None:
        mesh["paths"][0]["destinations"] = ["0.0.0.0/0"]
        mesh["exits"]["rs"] = [{"deny": "10.77.2.1"}, {"allow": "0.0.0.0/0"}]

    assert read(describe(spoil)).paths
    (found,) = problems(describe(both(spoil, setting("exits", "rs", 0, to={"deny": "10.77.2.8"}))))[
        :1
    ]
    assert "denies 0.0.0.0/0 of path 'web'" in found


def everything(mesh: dict[str, Any]) -> None:
    """All prefixes go by rs, except an inner one, which rc serves itself."""
    mesh["paths"][0] |= {"destinations": ["0.0.0.0/0", "fd77:0:0:3::/64"]}
    another_path(destinations=["10.0.0.0/8"], via=[], ports=[80])(mesh)
    mesh["exits"] = {
        "rs": [
            {"deny": "10.0.0.0/8"},
            {"allow": "0.0.0.0/0", "ports": 80},
            {"allow": "fd77:0:0:3::/64"},
        ],
        "rc": [{"deny": "10.77.2.2"}, {"allow": "10.0.0.0/8", "ports": 80}],
    }


def test_the_longest_prefix_wins_and_the_other_exit_may_deny_it(describe: Describe) -> None:
    assert len(read(describe(everything)).paths) == 2
    # Other ports still go by the shorter prefix, so its exit has to allow them.
    both_ports = both(
        everything,
        setting("paths", 0, "ports", to=[80, 443]),
        setting("exits", "rs", 1, "ports", to=[80, 443]),
    )
    (found,) = problems(describe(both_ports))
    assert "denies 0.0.0.0/0 of path 'web'" in found


def ten_thousand(mesh: dict[str, Any], count: int = 10_000) -> None:
    """Many prefixes by one path, each with its own exit rule, and all the rest by another."""
    prefixes = [f"100.{64 + (n >> 8)}.{n & 255}.0/24" for n in range(count)]
    mesh["paths"][0] |= {"destinations": prefixes, "probe": None}
    mesh["exits"]["rs"] = [{"allow": prefix, "ports": 80} for prefix in prefixes]
    another_path(destinations=["0.0.0.0/0"], via=[])(mesh)
    mesh["exits"]["rc"] = [{"deny": "10.77.2.2"}, {"allow": "0.0.0.0/0"}]


def test_what_a_prefix_costs_does_not_grow_with_their_number(
    describe: Describe, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    cut = acl.Rectangle.cut

    def counted(
        area: acl.Rectangle, other: acl.Rectangle
    ) -> tuple[acl.Rectangle | None, list[acl.Rectangle]]:
        nonlocal calls
        calls += 1
        return cut(area, other)

    monkeypatch.setattr(acl.Rectangle, "cut", counted)
    read(describe(lambda mesh: ten_thousand(mesh, 1000)))
    assert 1000 <= calls < 1100


def test_a_relay_that_is_allowed_by_its_own_address_is_meant(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        mesh["exits"]["rs"] += [{"allow": "10.77.2.1"}, {"allow": "10.77.2.0/24"}]

    assert read(describe(spoil)).exits


def test_a_service_that_is_open_to_everyone_is_named(describe: Describe) -> None:
    said = list(open_services(read(describe(another_service()))))
    assert said == [
        (
            "path svc: port 8080 of rc is open to everyone and leads to 10.77.3.2:80; "
            "set sources of the path to limit who may use it"
        )
    ]
    known = another_service(path={"sources": ["192.0.2.0/24"]})
    assert list(open_services(read(describe(known)))) == []
    everyone = another_service(path={"sources": ["0.0.0.0/0"]})
    assert len(list(open_services(read(describe(everyone))))) == 1


def test_an_empty_group_of_relays(describe: Describe) -> None:
    found = problems(describe(relays={}))
    assert any("no host in group relays" in text for text in found)
    # Errors that only follow from this one are not reported.
    assert not any("is not a relay" in text for text in found)


KEYS: list[tuple[object, str]] = [
    ({"1": KEY[:-1]}, "has 63 characters"),
    ({"1": KEY[:-1] + "g"}, "not hex"),
    ({"1": 12345678}, "in quotes"),
    ({"1": "0" * 64}, "repeats a single byte"),
    ({"1": "Ab" * 32}, "anybody can guess"),
    ({"1": KEY, "2": KEY.upper()}, "is the same key as number 1"),
    ({"one": KEY}, "whole number"),
    ([], "name: value"),
    ({}, "is missing"),
]


@pytest.mark.parametrize(("keys", "part"), KEYS)
def test_keys(describe: Describe, keys: object, part: str) -> None:
    found = problems(describe(keys=keys))
    assert len(found) == 1
    assert found[0].startswith(f"{KEYS_FILE}: ktcp_keys")
    assert part in found[0]


def test_no_message_repeats_a_key(describe: Describe) -> None:
    secret = KEY[:-1] + "g"
    with pytest.raises(InvalidMeshError) as caught:
        read(describe(keys={"1": secret, "2": secret + "00"}))
    assert secret[:16] not in caught.value.message
    assert KEY[:16] not in repr(read(describe()))
    assert KEY[:16] not in repr(describe())


def test_explicit_marks_must_not_collide(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        mesh["paths"][0]["mark"] = 0x200
        another_path(via=[], mark="0x200")(mesh)
        another_path(name="third", destinations=["10.77.3.0/26"], ports=[22], mark=0x300)(mesh)
        mesh["exits"]["rc"] = [{"allow": "10.77.3.0/24"}]

    found = problems(describe(spoil))
    assert [text.split(": ", 2)[1] for text in found] == [
        "ktcp_mesh.paths[1].mark",
        "ktcp_mesh.paths[2].mark",
    ]


def test_all_errors_at_once(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        for _, one, _, key, _ in CASES:
            if key in ("ports.relay", "settings.engine", "paths[0].probe.from", "exits.rx"):
                one(mesh)
        mesh["paths"][0]["destinations"][0] = "10.77.3.1/24"

    found = problems(describe(spoil, keys={"1": "short"}))
    keys = {text.split(": ", 2)[1] for text in found}
    assert {
        "ktcp_mesh.ports.relay",
        "ktcp_mesh.settings.engine",
        "ktcp_mesh.paths[0].probe.from",
        "ktcp_mesh.paths[0].destinations[0]",
        "ktcp_mesh.exits.rx",
        "ktcp_keys.1",
    } <= keys


def test_an_unreadable_part_causes_no_follow_up(describe: Describe) -> None:
    for spoil in (
        setting("exits", "rs", 0, to={"allow": "nonsense"}),
        setting("paths", 0, "destinations", 1, to="nonsense"),
        setting("paths", 0, "ports", to="nonsense"),
        setting("key", to="nonsense"),
        setting("pairs", to=[["rc"]]),
    ):
        assert len(problems(describe(spoil))) == 1, problems(describe(spoil))


@pytest.mark.parametrize("mesh", [None, [], "mesh"])
def test_no_mesh_at_all(mesh: object) -> None:
    description = Description(mesh=mesh, keys=None, relays={}, hosts=(), source="inv")
    found = problems(description)
    assert found[0].startswith("inv: ktcp_mesh: is not ")


def test_values_may_come_as_texts_from_templates(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        mesh["ports"] = {"client": "5557", "relay": "5565"}
        mesh["settings"] = {"early_syn": "on", "turbo": False, "buffer_bytes": "0x4000"}
        mesh["paths"][0]["ports"] = "80"

    mesh = read(describe(spoil))
    assert mesh.ports.client == 5557
    assert mesh.settings.early_syn is True
    assert mesh.settings.buffer_bytes == 16384


def test_where_falls_back_to_the_nearest_parent(describe: Describe) -> None:
    description = describe()
    assert description.where("ktcp_mesh.paths[0].via[3]") == "group_vars/all/mesh.yml:23"
    assert description.where("ktcp_mesh.paths[7].name") == "group_vars/all/mesh.yml:20"
    assert description.where("elsewhere") == "inventories/test/mesh.ktcp.yml"


def test_an_auto_path_has_a_way_before_anything_is_measured(describe: Describe) -> None:
    (path,) = read(describe(automatic())).paths
    assert (path.via, path.exits) == (("rs",), ("rs",))


def test_an_auto_path_takes_the_way_that_was_measured(describe: Describe, tmp_path: Path) -> None:
    file = tmp_path / "latency.txt"
    file.write_text("ktcp-latency 1\nrtt rc rs 90000\nrtt rc rx 10000\nrtt rs rx 10000\n")
    relays = {
        name: {"ktcp_address": f"10.77.2.{number}"}
        for number, name in enumerate(("rc", "rs", "rx"), start=1)
    }
    description = replace(describe(automatic(), relays=relays), latency=str(file))
    assert read(description).paths[0].via == ("rx", "rs")


def test_a_latency_file_that_is_wrong_is_one_problem_of_all(
    describe: Describe, tmp_path: Path
) -> None:
    file = tmp_path / "latency.txt"
    file.write_text("ktcp-latency 1\nrtt rc\n")
    found = problems(replace(describe(setting("key", to=2)), latency=str(file)))
    assert [text.partition(" ")[0] for text in found] == [f"{file}:2:", f"{KEYS_FILE}:"]


def test_services_may_follow_each_other(describe: Describe) -> None:
    chain = both(
        another_service(name="there", target="10.77.2.2:8081"),
        another_service(name="on", path={"ingress": "rs", "via": []}, port=8081),
    )

    def spoil(mesh: dict[str, Any]) -> None:
        chain(mesh)
        mesh["paths"][1]["via"] = []
        mesh["exits"]["rc"] = [{"allow": "10.77.2.2"}]

    assert len(read(describe(spoil)).paths) == 3
