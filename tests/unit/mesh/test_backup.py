# SPDX-License-Identifier: GPL-2.0-only
"""Backups of a path: errors, plans, and reports while a backup is in use."""

from collections.abc import Sequence
from typing import Any

import pytest

from ktcp_ops.errors import InvalidMeshError
from ktcp_ops.mesh.diagnosis import verify
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import status
from ktcp_ops.mesh.relay import procfs
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.mesh.relay.procfs import Route
from tests.unit.mesh.conftest import Describe

RELAYS = {name: {"ktcp_address": f"10.77.2.{n}"} for n, name in enumerate("abcde", start=1)}
ALLOWED = [{"allow": "10.77.3.0/24"}]


def mesh_of(
    describe: Describe,
    backup: object,
    *,
    via: Sequence[str] = ("b",),
    exits: Sequence[str] = ("b", "c", "d"),
    pairs: object = "full_mesh",
    **more: object,
) -> Mesh:
    """Read a mesh of one path from a, with these backups."""

    def spoil(mesh: dict[str, Any]) -> None:
        path = {"name": "web", "ingress": "a", "via": list(via), "destinations": ["10.77.3.0/24"]}
        mesh["paths"] = [{**path, "backup": backup, **more}]
        mesh["exits"] = dict.fromkeys(exits, ALLOWED)
        mesh["pairs"] = pairs

    return read(describe(spoil, relays=RELAYS))


def test_the_route_has_them_in_their_order(describe: Describe) -> None:
    nodes = plan(mesh_of(describe, [["c"], ["e", "d"]]))
    assert nodes["a"]["conf"]["routes"] == [
        (
            "add mark 0x101 via 10.77.2.2:5565 backup 10.77.2.3:5565 "
            "backup 10.77.2.5:5565,10.77.2.4:5565"
        )
    ]


def test_another_backup_is_another_way(describe: Describe) -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        path = {"ingress": "a", "via": ["b"]}
        mesh["paths"] = [
            {**path, "name": "one", "destinations": ["10.77.3.0/25"]},
            {**path, "name": "two", "destinations": ["10.77.3.128/25"], "backup": [["c"]]},
        ]
        mesh["exits"] = {"b": ALLOWED, "c": ALLOWED}

    node = plan(read(describe(spoil, relays=RELAYS)))["a"]
    assert len(node["conf"]["routes"]) == 2
    assert len({chain["chain"] for chain in node["steering"]}) == 2


def test_every_exit_keeps_the_answers(describe: Describe) -> None:
    relays = {name: {**relay, "ktcp_inside_interface": "eth1"} for name, relay in RELAYS.items()}

    def spoil(mesh: dict[str, Any]) -> None:
        mesh["paths"][0] |= {"ingress": "a", "via": ["b"], "backup": [["c", "d"]]}
        mesh["paths"][0]["destinations"] = ["10.77.3.0/24"]
        mesh["paths"][0]["transparent"] = True
        mesh["exits"] = {"b": ALLOWED, "d": ALLOWED}

    nodes = plan(read(describe(spoil, relays=relays)))
    assert {name: node["inside4"] for name, node in nodes.items()} == {
        "a": "",
        "b": "eth1",
        "c": "",
        "d": "eth1",
        "e": "",
    }


WRONG: list[tuple[str, object, dict[str, Any], str, str]] = [
    # what, backups, of the mesh, key below the path, part of the fix
    ("word", "c", {}, "paths[0].backup", "dash"),
    ("words", ["c"], {}, "paths[0].backup[0]", "dash"),
    ("unknown", [["x"]], {}, "paths[0].backup[0][0]", "group relays"),
    ("empty", [["c"], []], {}, "paths[0].backup[1]", "list its relays"),
    (
        "none to stand in for",
        [["c"]],
        {"via": (), "exits": ("a", "c")},
        "paths[0].backup",
        "in via",
    ),
    ("the same first", [["b", "c"]], {}, "paths[0].backup[0][0]", "another relay"),
    ("one first twice", [["c"], ["c", "d"]], {}, "paths[0].backup[1][0]", "another relay"),
    ("loop", [["c", "a"]], {"exits": "abc"}, "paths[0].backup[0][1]", "remove it here"),
    ("9 hops", [["c", *"ccccdddd"]], {}, "paths[0].backup[0]", "shorten"),
    ("too many", [["c"], ["d"], ["e"], ["c"]], {"exits": "bcde"}, "paths[0].backup", "shorten"),
    (
        "unpaired",
        [["c"]],
        {"pairs": [["a", "b"]]},
        "paths[0].backup[0][0]",
        "add [a, c] to ktcp_mesh.pairs",
    ),
    ("no exit", [["e"]], {}, "exits.e", "add [{allow: 10.77.3.0/24}]"),
    (
        "exit denies",
        [["c"]],
        {"destinations": ["10.77.3.0/24", "10.77.4.0/24"]},
        "exits.c",
        "{allow: 10.77.4.0/24}",
    ),
    (
        "target is an exit",
        [["c"]],
        {"destinations": [], "service": {"port": 8080, "target": "10.77.2.3:80"}},
        "paths[0].service.target",
        "address of c itself",
    ),
]


@pytest.mark.parametrize(
    ("backup", "more", "key", "fix"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
)
def test_what_cannot_stand_in(
    describe: Describe, backup: object, more: dict[str, Any], key: str, fix: str
) -> None:
    with pytest.raises(InvalidMeshError) as caught:
        mesh_of(describe, backup, **more)
    found = [text for text in caught.value.problems if f": ktcp_mesh.{key}: " in text]
    assert len(found) == 1, caught.value.problems
    assert fix in found[0]


def test_a_transparent_backup_wants_the_interface_of_its_exit(describe: Describe) -> None:
    with pytest.raises(InvalidMeshError) as caught:
        mesh_of(describe, [["c"]], transparent=True)
    keys = [text.split(": ")[1] for text in caught.value.problems]
    assert keys == [f"hostvars.{name}.ktcp_inside_interface" for name in "bc"]


TEXTS = {
    "version": "module 0.1.0\n",
    "peers": (
        "add 10.77.2.2:5565 low 16 high 64 key 1\n"
        "# 10.77.2.2:5565 ready 0 failures 7 state down\n"
        "add 10.77.2.3:5565 low 16 high 64 key 1\n"
        "# 10.77.2.3:5565 ready 16 failures 0 state up\n"
        "add 10.77.2.4:5565 low 16 high 64 key 1\n"
        "# 10.77.2.4:5565 ready 16 failures 0\n"
    ),
    "routes": "add mark 0x101 via 10.77.2.2:5565 backup 10.77.2.3:5565 target 192.0.2.1:80 proxy\n",
}


def test_reading_states_and_backups() -> None:
    """Peers of a module that reports no states count as up."""
    state = procfs.parse(TEXTS)
    assert [peer.state for peer in state.peers] == ["down", "up", "up"]
    assert [peer.ready for peer in state.peers] == [0, 16, 16]
    route = Route(
        0x101,
        ("10.77.2.2:5565",),
        "192.0.2.1:80",
        proxy=True,
        backup=(("10.77.2.3:5565",),),
    )
    assert state.routes == (route,)
    assert f"{route.line}\n" == TEXTS["routes"]


def test_the_status_tells_of_peers_that_are_not_up() -> None:
    relay = status.RelayStatus(relay="a", state=procfs.parse(TEXTS))
    assert status.row(relay)[-1] == "10.77.2.2:5565 is down"
    assert status.verdict(relay) == "degraded"
    column = status.PEER_COLUMNS.index("STATE")
    assert [row[column] for row in status.peer_rows(relay)] == ["down", "up", "up"]


@pytest.mark.parametrize(
    ("backup", "peer", "hop", "reason"),
    [
        ("10.77.2.3:5565", "up", "", ""),
        ("10.77.2.4:5565", "up", "a", "has other backups"),
        ("10.77.2.3:5565", "recovering", "b", "a sees it as recovering"),
    ],
)
def test_verify_knows_backups_and_states(
    describe: Describe, backup: str, peer: str, hop: str, reason: str
) -> None:
    mesh = mesh_of(describe, [["c"]])
    relays = {}
    for name, node in plan(mesh).items():
        texts = {file: "\n".join(lines) for file, lines in node["conf"].items()}
        relays[name] = status.RelayStatus(relay=name, state=procfs.parse(texts))
    texts = {file: "\n".join(lines) for file, lines in plan(mesh)["a"]["conf"].items()}
    texts["routes"] = f"add mark 0x101 via 10.77.2.2:5565 backup {backup}"
    texts["peers"] += f"\n# 10.77.2.2:5565 ready 0 state {peer}"
    relays["a"] = status.RelayStatus(relay="a", state=procfs.parse(texts))
    verdict = verify.judge(mesh, mesh.paths[0], verify.Evidence({}, relays), {})
    assert (verdict.ok, verdict.hop) == (not hop, hop)
    assert reason in verdict.reason
