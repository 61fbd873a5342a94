# SPDX-License-Identifier: GPL-2.0-only
"""A next relay goes and comes back: flows take the backup, or pass, and later return.

m1 is between rc and rs; c's flows go over m1 and rs, or over rs alone.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tests.kernel.between import path, relays_between
from tests.kernel.mesh import MODES, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import V4, Family
from tests.kernel.traffic import (
    Payload,
    Server,
    connect,
    echo,
    fetch,
    is_reset,
    receive,
    send,
    serving,
)
from tests.kernel.wait import until

M1 = Namespace("m1")
TIMEOUT_S = 1
# Silence, an attempt that fails as slowly, keepalive's whole seconds, and pauses in between.
BOUND_S = 2 * TIMEOUT_S + 2


@contextmanager
def middle(mesh: Mesh, family: Family, *, backup: bool = True) -> Iterator[str]:
    """A route over m1 and rs, with rs alone as backup. Yields m1's name among rc's peers."""
    mesh.rc.write("settings", f"peer_timeout_ms {TIMEOUT_S * 1000}")
    with relays_between(mesh, family, 1) as addresses:
        spare = f" backup {family.at(family.rs, RELAY_PORT)}" if backup else ""
        mesh.route(family, path(family, addresses) + spare)
        yield family.at(addresses[0], RELAY_PORT)
        mesh.wait_idle()


def cut(mesh: Mesh) -> None:
    """Drop all packets from rc to m1, silently."""
    mesh.rc.run(["tc", "qdisc", "replace", "dev", "to-m1", "root", "netem", "loss", "100%"])


def mend(mesh: Mesh) -> None:
    """Let the packets pass again."""
    mesh.rc.run(["tc", "qdisc", "del", "dev", "to-m1", "root"])


def reset() -> None:
    """End, at m1, all connections from rc."""
    M1.run(["ss", "-K", "sport", "=", f":{RELAY_PORT}"])


def by_m1() -> int:
    """How many flows went over m1."""
    return M1.stat("splits_opened_total")


def counting(mesh: Mesh, name: str) -> Callable[[], int]:
    """A function that returns how much a counter of rc has grown from here on."""
    before = mesh.rc.stat(name)
    return lambda: mesh.rc.stat(name) - before


def test_flows_take_the_backup_and_return(mesh: Mesh, family: Family) -> None:
    failovers = counting(mesh, "failovers_total")
    with middle(mesh, family) as peer, serving(mesh.s, family, echo) as at:
        fetch(mesh.c, family, at)
        assert (by_m1(), failovers()) == (1, 0)
        cut(mesh)
        begun = time.monotonic()
        mesh.wait_peer(peer, "down")
        assert time.monotonic() - begun < BOUND_S
        until(lambda: mesh.peer(peer)["ready"] == "0", "the pool is kept")
        assert fetch(mesh.c, family, at) == family.rs_inside
        assert (by_m1(), failovers()) == (1, 1)
        mend(mesh)
        mesh.wait_peer(peer, "up")
        assert fetch(mesh.c, family, at) == family.rs_inside
        assert (by_m1(), failovers()) == (2, 1)


@pytest.mark.parametrize("engine", ["event", "threads"])
def test_flow_sent_to_a_peer_that_is_gone_ends_soon(mesh: Mesh, engine: str) -> None:
    """It is reset when the peer is known to be down; its client comes again, and is served."""
    mesh.rc.write("settings", f"engine {engine}")
    with (
        middle(mesh, V4) as peer,
        serving(mesh.s, V4, echo) as at,
        connect(mesh.c, V4, at.address, at.port) as old,
    ):
        send(old, Payload(1000))
        receive(old, Payload(1000))
        until(lambda: mesh.peer(peer)["ready"] != "0", "the pool is not filled")
        cut(mesh)
        begun = time.monotonic()
        with connect(mesh.c, V4, at.address, at.port) as new:
            send(new, Payload(1000))
            send(old, Payload(1000))
            assert is_reset(new)
        # TCP itself would retry for a quarter of an hour, or until m1's keepalive ends it.
        assert time.monotonic() - begun < BOUND_S + 2
        assert fetch(mesh.c, V4, at) == V4.rs_inside
        mend(mesh)
        # Flows that were served before stay on their path.
        receive(old, Payload(1000))


def test_without_backup_and_pool_flows_pass(mesh: Mesh) -> None:
    """The watched connection needs no pool; when it ends, flows pass and none is refused."""
    failovers, passed = counting(mesh, "failovers_total"), counting(mesh, "down_passed_total")
    mesh.rc.write("settings", "conn_pool off")
    with middle(mesh, V4, backup=False) as peer, serving(mesh.s, V4, echo) as at:
        assert fetch(mesh.c, V4, at) == V4.rs_inside
        mesh.wait_idle()
        M1.run(["ip", "link", "set", "to-rc", "down"])
        mesh.wait_peer(peer, "down")
        assert fetch(mesh.c, V4, at) == V4.client
        assert (failovers(), passed()) == (0, 1)


def test_peer_that_refuses_keeps_its_splits(mesh: Mesh, family: Family) -> None:
    """A refused leg triggers a new check, since the watched connection may outlive the listener."""
    downs = counting(mesh, "peer_downs_total")
    mesh.rc.write("settings", "conn_pool off")
    with middle(mesh, family) as peer, serving(mesh.s, family, echo) as at:
        with connect(mesh.c, family, at.address, at.port) as old:
            send(old, Payload(1000))
            receive(old, Payload(1000))
            M1.write("listeners", f"del relay {RELAY_PORT}")
            until(lambda: is_served(mesh, family, at), "flows go on to m1")
            assert mesh.peer(peer)["state"] == "down"
            send(old, Payload(100_000))
            receive(old, Payload(100_000))
        assert (by_m1(), downs()) == (1, 1)


def test_peer_that_listens_no_more(mesh: Mesh, family: Family) -> None:
    """Connections to it that wait in rc's pool are not used either."""
    peer = family.at(family.rs, RELAY_PORT)
    with serving(mesh.s, family, echo) as at:
        with connect(mesh.c, family, at.address, at.port) as old:
            send(old, Payload(1000))
            receive(old, Payload(1000))
            mesh.rs.write("listeners", f"del relay {RELAY_PORT}")
            mesh.wait_peer(peer, "down")
            assert fetch(mesh.c, family, at) == family.client
            send(old, Payload(100_000))
            receive(old, Payload(100_000))
        mesh.rs.write("listeners", f"add relay {RELAY_PORT}")
        mesh.wait_peer(peer, "up")
        assert fetch(mesh.c, family, at) == family.rs_inside


def is_served(mesh: Mesh, family: Family, at: Server) -> bool:
    """True when a flow is not reset."""
    try:
        return fetch(mesh.c, family, at) == family.rs_inside
    except ConnectionError:
        return False


def test_link_that_flaps(mesh: Mesh) -> None:
    """A peer that does not stay up is not used, and one failure takes it down again."""
    failovers, downs = counting(mesh, "failovers_total"), counting(mesh, "peer_downs_total")
    with middle(mesh, V4) as peer, serving(mesh.s, V4, echo) as at:
        fetch(mesh.c, V4, at)
        mesh.wait_idle()
        mesh.rc.write("settings", "peer_hold_ms 3600000")
        for number in (1, 2):
            M1.write("listeners", f"del relay {RELAY_PORT}")
            reset()
            mesh.wait_peer(peer, "down")
            assert downs() == number
            M1.write("listeners", f"add relay {RELAY_PORT}")
            mesh.wait_peer(peer, "recovering")
            until(lambda: mesh.peer(peer)["ready"] != "0", "the pool is not filled")
            # And yet it is not used.
            fetch(mesh.c, V4, at)
            assert (by_m1(), failovers()) == (1, number)
        mesh.rc.write("settings", "peer_hold_ms 0")
        mesh.wait_peer(peer, "up")
        fetch(mesh.c, V4, at)
        assert (by_m1(), failovers()) == (2, 2)


def test_lost_connections_are_no_lost_peer(mesh: Mesh) -> None:
    """As when a firewall in between has forgotten them: the peer is still reachable."""
    downs = counting(mesh, "peer_downs_total")
    with middle(mesh, V4) as peer, serving(mesh.s, V4, echo) as at:
        fetch(mesh.c, V4, at)
        for number in range(1, 4):
            mesh.wait_idle()
            reset()
            until(lambda: int(mesh.peer(peer)["failures"]) > 0, "nothing was noticed")
            assert fetch(mesh.c, V4, at) == V4.rs_inside
            assert by_m1() == number + 1
        assert downs() == 0


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_peer_that_was_never_reached(mesh: Mesh) -> None:
    """It is used as soon as it answers, since a rollout reaches the other end later."""
    peer = V4.at(V4.rs, RELAY_PORT + 1)
    mesh.rc.write("settings", "peer_hold_ms 3600000")
    mesh.rc.write("peers", f"add {peer} low 1 high 2 key 1")
    mesh.wait_peer(peer, "down")
    mesh.route(V4, f"via {peer}")
    with serving(mesh.s, V4, echo) as at:
        assert fetch(mesh.c, V4, at) == V4.client
        mesh.rs.write("listeners", f"add relay {RELAY_PORT + 1}")
        mesh.wait_peer(peer, "up")
        assert fetch(mesh.c, V4, at) == V4.rs_inside


def test_silent_peers_are_removed_at_once(mesh: Mesh) -> None:
    """The removal waits neither for a connect nor for a proof that is due."""
    mesh.rc.write("settings", "peer_timeout_ms 60000")
    with relays_between(mesh, V4, 1) as [address], M1.socket(V4.number) as mute:
        mute.bind((address, 0))
        mute.listen()
        owing, lost = V4.at(address, mute.getsockname()[1]), V4.at(address, 9)
        mesh.rc.write("peers", f"add {owing} low 0 high 0 key 1")
        connection, _ = mute.accept()
        with connection:
            assert connection.recv(1), "no handshake was begun"
            cut(mesh)
            mesh.rc.write("peers", f"add {lost} low 0 high 0 key 1")
            begun = time.monotonic()
            mesh.rc.write("peers", f"del {owing}", f"del {lost}")
            assert time.monotonic() - begun < 5
