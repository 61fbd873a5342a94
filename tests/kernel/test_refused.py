# SPDX-License-Identifier: GPL-2.0-only
"""Flows to a target that refused are routed for a while, so the client sees the target itself."""

import socket

import pytest

from tests.kernel.mesh import BYTE_MODES, RELAY_PORT, Mesh
from tests.kernel.test_refusal import closed
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    echo,
    fetch,
    is_refused,
    is_reset,
    receive,
    reset,
    send,
    serving,
)
from tests.kernel.wait import until

LONG = 600


def hold(mesh: Mesh, seconds: int) -> None:
    """Set how long a target that refused is remembered."""
    mesh.rc.write("settings", f"refused_hold_s {seconds}")


def counts(mesh: Mesh) -> tuple[int, int]:
    """Counts of refusing targets, and of flows that passed because of them."""
    return mesh.rc.stat("targets_refused_total"), mesh.rc.stat("refused_passed_total")


@pytest.mark.parametrize("mode", BYTE_MODES, indirect=True)
def test_next_attempt_is_refused_by_the_target(mesh: Mesh, family: Family) -> None:
    hold(mesh, LONG)
    port = closed(mesh.s, family, family.server)
    refused, passed = counts(mesh)
    assert is_refused(mesh.c, family, family.server, port)
    assert counts(mesh) == (refused + 1, passed)
    # The target's own RST, in answer to the SYN.
    with pytest.raises(ConnectionRefusedError):
        connect(mesh.c, family, family.server, port)
    assert counts(mesh) == (refused + 1, passed + 1)
    # And when the target listens, it is reached at once, without the relays.
    with serving(mesh.s, family, echo, port=port) as at:
        assert fetch(mesh.c, family, at) == family.client
    # Another port is another target.
    with serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.rs_inside


def test_target_is_forgotten_in_time(mesh: Mesh, family: Family) -> None:
    hold(mesh, 2)
    port = closed(mesh.s, family, family.server)
    assert is_refused(mesh.c, family, family.server, port)
    with serving(mesh.s, family, echo, port=port) as at:
        assert fetch(mesh.c, family, at) == family.client
        until(lambda: fetch(mesh.c, family, at) == family.rs_inside, "flows pass for ever")


def test_nothing_is_remembered_where_that_is_off(mesh: Mesh, family: Family) -> None:
    hold(mesh, 0)
    port = closed(mesh.s, family, family.server)
    before = counts(mesh)
    assert is_refused(mesh.c, family, family.server, port)
    with serving(mesh.s, family, echo, port=port) as at:
        assert fetch(mesh.c, family, at) == family.rs_inside
    assert counts(mesh) == before


def test_target_that_does_not_answer(mesh: Mesh, family: Family) -> None:
    """On the next attempt the client waits for the target, not for a relay."""
    hold(mesh, LONG)
    mesh.rs.write("settings", "connect_timeout_ms 1000")
    drop = ["INPUT", "-p", "tcp", "--dport", "8081", "-j", "DROP"]
    mesh.s.run([family.iptables, "-A", *drop])
    try:
        refused, passed = counts(mesh)
        assert is_refused(mesh.c, family, family.server, 8081)
        with pytest.raises(TimeoutError):
            connect(mesh.c, family, family.server, 8081, bound=1)
        assert counts(mesh) == (refused + 1, passed + 1)
    finally:
        mesh.s.run([family.iptables, "-D", *drop])


def test_target_of_a_direct_route(mesh: Mesh, family: Family) -> None:
    hold(mesh, LONG)
    mesh.route(family, "direct")
    mesh.rc.write("exits", f"allow {family.prefix(3)}")
    port = closed(mesh.s, family, family.server)
    refused, passed = counts(mesh)
    assert is_refused(mesh.c, family, family.server, port)
    with pytest.raises(ConnectionRefusedError):
        connect(mesh.c, family, family.server, port)
    assert counts(mesh) == (refused + 1, passed + 1)


def test_target_that_answered_is_none(mesh: Mesh, family: Family) -> None:
    """A target that has answered may end its connection by RST without being remembered."""
    hold(mesh, LONG)
    before = counts(mesh)

    def answer_and_reset(sock: socket.socket) -> None:
        assert sock.recv(1) == b"?"
        sock.sendall(b"!")
        # The client has it.
        assert sock.recv(1) == b"."
        reset(sock)

    with serving(mesh.s, family, answer_and_reset) as at:
        for _ in range(2):
            with connect(mesh.c, family, at.address, at.port) as sock:
                sock.sendall(b"?")
                assert sock.recv(1) == b"!"
                sock.sendall(b".")
                assert is_reset(sock)
            assert at.peers[-1] == family.rs_inside
        at.join()
    assert counts(mesh) == before


def test_client_that_resets_is_not_refused(mesh: Mesh, family: Family) -> None:
    hold(mesh, LONG)
    before = counts(mesh)
    with serving(mesh.s, family, echo) as at:
        for _ in range(4):
            reset(connect(mesh.c, family, at.address, at.port))
        mesh.wait_idle()
        assert fetch(mesh.c, family, at) == family.rs_inside
    assert counts(mesh) == before


def test_target_of_a_service_is_not_remembered(mesh: Mesh, family: Family) -> None:
    """Routing to the address that the client asked for would not reach the target."""
    hold(mesh, LONG)
    port = closed(mesh.s, family, family.server)
    relay, target = family.at(family.rs, RELAY_PORT), family.at(family.server, port)
    mesh.route(family, f"via {relay} target {target}")
    before = counts(mesh)
    assert is_refused(mesh.c, family, family.address(3, 200), 12345)
    with serving(mesh.s, family, echo, port=port) as at:
        with connect(mesh.c, family, family.address(3, 200), 12345) as sock:
            send(sock, Payload(100))
            receive(sock, Payload(100))
        assert at.peers == [family.rs_inside]
    assert counts(mesh) == before
