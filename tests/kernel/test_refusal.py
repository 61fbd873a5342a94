# SPDX-License-Identifier: GPL-2.0-only
"""If the far side cannot or may not be reached, the client is reset."""

import time

import pytest

from tests.kernel.mesh import CLIENT_PORT, KEY, MODES, OTHER_KEY, RELAY_PORT, Mesh, steering
from tests.kernel.namespace import Namespace
from tests.kernel.topology import V4, Family
from tests.kernel.traffic import Payload, connect, echo, is_refused, receive, send, serving
from tests.kernel.wait import until

pytestmark = pytest.mark.parametrize("mode", MODES, indirect=True)


def closed(host: Namespace, family: Family, address: str) -> int:
    """A port on which nobody listens."""
    with host.socket(family.number) as sock:
        sock.bind((address, 0))
        port = sock.getsockname()[1]
    assert isinstance(port, int)
    return port


def works(mesh: Mesh, family: Family) -> bool:
    """True if fresh connections reach the server through both relays, once rs is up."""
    with serving(mesh.s, family, echo) as at:

        def is_split() -> bool:
            with connect(mesh.c, family, at.address, at.port) as sock:
                send(sock, Payload(100))
                receive(sock, Payload(100))
            return at.peers[-1] == family.rs_inside

        return until(is_split, "flows pass unsplit")


def test_refused_by_the_target(mesh: Mesh, family: Family) -> None:
    failed = mesh.rs.stat("connect_failures_total")
    assert is_refused(mesh.c, family, family.server, closed(mesh.s, family, family.server))
    assert mesh.rs.stat("connect_failures_total") == failed + 1
    assert works(mesh, family)


def test_host_that_is_not_there(mesh: Mesh, family: Family) -> None:
    assert is_refused(mesh.c, family, family.address(3, 77), 80, bound=30)


def test_target_that_does_not_answer(mesh: Mesh, family: Family) -> None:
    mesh.rs.write("settings", "connect_timeout_ms 1000")
    drop = ["INPUT", "-p", "tcp", "--dport", "8081", "-j", "DROP"]
    mesh.s.run([family.iptables, "-A", *drop])
    try:
        begun = time.monotonic()
        assert is_refused(mesh.c, family, family.server, 8081)
        took = time.monotonic() - begun
    finally:
        mesh.s.run([family.iptables, "-D", *drop])
    # Less would not be the timeout, and more would exceed it.
    assert 0.9 < took < 5


def without_pool(mesh: Mesh, family: Family) -> None:
    """Without a pool, each leg is connected, and proves the key, when a flow needs it."""
    peer = family.at(family.rs, RELAY_PORT)
    mesh.rc.write("peers", f"set {peer} low 0 high 0")
    until(lambda: f"{peer} ready 0 connecting 0 " in mesh.rc.read("peers"), "legs are kept")


def test_peer_that_does_not_answer(mesh: Mesh, family: Family) -> None:
    without_pool(mesh, family)
    mesh.rc.write("settings", "connect_timeout_ms 1000")
    drop = ["INPUT", "-p", "tcp", "--dport", str(RELAY_PORT), "-j", "DROP"]
    mesh.rs.run([family.iptables, "-A", *drop])
    try:
        begun = time.monotonic()
        assert is_refused(mesh.c, family, family.server, 80)
        assert 0.9 < time.monotonic() - begun < 5
    finally:
        mesh.rs.run([family.iptables, "-D", *drop])


def test_peer_without_a_listener(mesh: Mesh, family: Family) -> None:
    mesh.rs.write("listeners", f"del relay {RELAY_PORT}")
    assert is_refused(mesh.c, family, family.server, 80)
    mesh.rs.write("listeners", f"add relay {RELAY_PORT}")
    assert works(mesh, family)


@pytest.mark.parametrize(
    "rules",
    [
        [],
        ["deny {prefix}", "allow {prefix}"],
        ["allow {prefix} port 1-79", "allow {prefix} port 81-65535"],
        ["allow {server}/{longest} port 443"],
        ["allow {rc}/{longest}"],
    ],
    ids=["default is deny", "first match wins", "other ports", "other port", "other address"],
)
def test_exit_denies(mesh: Mesh, family: Family, rules: list[str]) -> None:
    words = {
        "prefix": family.prefix(3),
        "server": family.server,
        "rc": family.rc,
        "longest": 32 if family is V4 else 128,
    }
    mesh.rs.write("exits", *(f"del {line}" for line in mesh.rs.lines("exits")))
    mesh.rs.write("exits", *(rule.format(**words) for rule in rules))
    denied = mesh.rs.stat("exit_denied_total")
    with serving(mesh.s, family, echo, port=80) as at:
        assert is_refused(mesh.c, family, at.address, at.port)
        assert not at.peers
    assert mesh.rs.stat("exit_denied_total") == denied + 1


def test_exit_rules_count_their_hits(mesh: Mesh, family: Family) -> None:
    line = f"# allow {family.prefix(3)} hits "
    assert works(mesh, family)
    hits = [row for row in mesh.rs.read("exits").splitlines() if row.startswith(line)]
    assert hits == [f"{line}1"]


def test_exits_hold_for_a_direct_route(mesh: Mesh, family: Family) -> None:
    mesh.route(family, "direct")
    with serving(mesh.s, family, echo, port=80) as at:
        assert is_refused(mesh.c, family, at.address, at.port)
        assert not at.peers
        mesh.rc.write("exits", f"allow {family.prefix(3)} port 80")
        with connect(mesh.c, family, at.address, at.port) as sock:
            send(sock, Payload(100))
            receive(sock, Payload(100))
            # The server sees the relay at the client: it connected itself.
            assert at.peers == [family.rc]


def test_route_with_a_target_of_its_own(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at:
        relay, target = family.at(family.rs, RELAY_PORT), family.at(at.address, at.port)
        mesh.route(family, f"via {relay} target {target}")
        # Whatever the client connects to in the third network, it gets the target.
        with connect(mesh.c, family, family.address(3, 200), 12345) as sock:
            send(sock, Payload(100))
            receive(sock, Payload(100))
        assert at.peers == [family.rs_inside]


def test_relay_never_exits_to_itself(mesh: Mesh, family: Family) -> None:
    """Not even if a rule allows it, since the relay's own services trust it."""
    mesh.rs.write("exits", f"allow {family.prefix(2)}")
    with serving(mesh.rs, family, echo, address=family.rs) as at:
        relay, target = family.at(family.rs, RELAY_PORT), family.at(at.address, at.port)
        mesh.route(family, f"via {relay} target {target}")
        denied = mesh.rs.stat("exit_denied_total")
        assert is_refused(mesh.c, family, family.server, 80)
        assert not at.peers
    assert mesh.rs.stat("exit_denied_total") == denied + 1


def test_wrong_key(mesh: Mesh, family: Family) -> None:
    without_pool(mesh, family)
    failures = mesh.rc.stat("handshake_failures_total")
    mesh.rs.write("keys", "del 1", f"add 1 {OTHER_KEY}")
    assert is_refused(mesh.c, family, family.server, 80)
    # A leg may be reset before rc looks for the proof; then it counts as a failed connect. That
    # triggers a new watched connection, whose handshake failure is counted in any case.
    until(lambda: mesh.rc.stat("handshake_failures_total") > failures, "no handshake fails")
    mesh.rs.write("keys", "del 1", f"add 1 {KEY}")
    assert works(mesh, family)


def test_key_that_the_peer_does_not_know(mesh: Mesh, family: Family) -> None:
    failures = mesh.rs.stat("handshake_failures_total")
    mesh.rc.write("keys", f"add 7 {KEY}")
    mesh.rc.write("peers", f"set {family.at(family.rs, RELAY_PORT)} key 7")
    assert is_refused(mesh.c, family, family.server, 80)
    assert mesh.rs.stat("handshake_failures_total") > failures


def test_key_that_is_not_there(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("keys", "del 1")
    assert is_refused(mesh.c, family, family.server, 80)
    mesh.rc.write("keys", f"add 1 {KEY}")
    assert works(mesh, family)


def test_keys_change_without_a_gap(mesh: Mesh, family: Family) -> None:
    """Both sides get the new key; then the connecting side starts to use it."""
    for relay in (mesh.rs, mesh.rc):
        relay.write("keys", f"add 2 {OTHER_KEY}")
        assert works(mesh, family)
    mesh.rc.write("peers", f"set {family.at(family.rs, RELAY_PORT)} key 2")
    assert works(mesh, family)
    for relay in mesh.relays:
        relay.write("keys", "del 1")
        assert works(mesh, family)


def test_direct_connection_to_the_client_port(mesh: Mesh, family: Family) -> None:
    """A connection that was not redirected has no target to connect to."""
    counted = mesh.rc.stat("not_redirected_total")
    assert is_refused(mesh.c, family, family.address(1, 1), CLIENT_PORT)
    assert mesh.rc.stat("not_redirected_total") == counted + 1


def test_redirected_without_a_mark(mesh: Mesh, family: Family) -> None:
    """A rule that redirects flows which KTCP did not take must not make it an open proxy."""
    with (
        mesh.steered(family, steering(family, marked=False, gated=False)),
        serving(mesh.s, family, echo, port=80) as at,
    ):
        assert is_refused(mesh.c, family, at.address, at.port)
        assert not at.peers
