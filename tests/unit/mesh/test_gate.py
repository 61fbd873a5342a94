# SPDX-License-Identifier: GPL-2.0-only
"""Which relays the health gate checks, and which of their peers."""

from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.status import RelayStatus
from ktcp_ops.mesh.relay.plan import endpoint
from ktcp_ops.mesh.relay.procfs import Peer, State
from ktcp_ops.mesh.relay.tunnel import tunnel_address
from ktcp_ops.mesh.rollout.gate import Question, links, question

RELAYS = ("a", "b", "c")
NONE: frozenset[str] = frozenset()


def at(name: str) -> str:
    return f"192.0.2.{RELAYS.index(name) + 1}:5565"


MESH = Mesh.model_validate(
    {
        "relays": {name: {"name": name, "ktcp_address": at(name).split(":")[0]} for name in RELAYS},
        "paths": [{"name": "p", "ingress": "a", "via": ["b", "c"]}],
    }
)
WHOLE = {name: frozenset(at(other) for other in RELAYS if other != name) for name in RELAYS}


def status(name: str, *peers: Peer) -> RelayStatus:
    return RelayStatus(relay=name, state=State(peers=peers))


def test_links_are_to_peers_with_a_ready_connection() -> None:
    found = links(
        [
            status("a", Peer(at("b"), 1, 2, 1, ready=2), Peer(at("c"), 1, 2, 1, ready=0)),
            RelayStatus(relay="b", state=None, reason="the module is not loaded"),
        ]
    )
    assert found == {"a": frozenset({at("b")}), "b": NONE}


def test_a_whole_mesh_excuses_nobody() -> None:
    assert question(MESH, ["a"], ["a"], WHOLE) == Question(hosts=("a",))


def test_in_a_first_rollout_only_what_is_done_has_to_answer() -> None:
    fresh = dict.fromkeys(RELAYS, NONE)
    assert question(MESH, ["a"], ["a"], fresh) == Question(hosts=("a",), absent=(at("b"), at("c")))
    assert question(MESH, ["b"], ["a", "b"], fresh) == Question(hosts=("a", "b"), absent=(at("c"),))


def test_an_encrypted_mesh_is_asked_about_the_ends_of_its_tunnels() -> None:
    encrypted = MESH.model_copy(update={"encryption": "wireguard"})
    ends = {name: endpoint(tunnel_address(encrypted, name), 5565) for name in RELAYS}
    assert ends["b"] != at("b")
    asked = question(encrypted, ["a"], ["a"], dict.fromkeys(RELAYS, NONE))
    assert asked == Question(hosts=("a",), absent=tuple(sorted((ends["b"], ends["c"]))))


def test_partners_that_are_done_are_asked_too_and_others_not() -> None:
    assert question(MESH, ["c"], ["a", "c"], WHOLE).hosts == ("c",)
    assert question(MESH, ["c"], ["b", "c"], WHOLE).hosts == ("b", "c")


def test_a_link_that_was_broken_before_is_excused_until_its_end_is_done() -> None:
    before = {**WHOLE, "a": frozenset({at("b")})}
    assert question(MESH, ["a"], ["a"], before).excused == {"a": (at("c"),)}
    assert question(MESH, ["c"], ["a", "c"], before).excused == {}
