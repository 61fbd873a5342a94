# SPDX-License-Identifier: GPL-2.0-only
"""Relay legs that carry one stream after the other."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

import pytest

from tests.kernel import module, traffic
from tests.kernel.between import path, relays_between
from tests.kernel.mesh import BYTE_MODES, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.pools import fill, legs, peer, pool, wait_ready
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    Server,
    connect,
    echo,
    exchange,
    is_reset,
    receive,
    receive_end,
    reset,
    send,
    serving,
)
from tests.kernel.wait import times, until

REUSING = [mode for mode in BYTE_MODES if mode != "plain"]
# Around the bounds of a record, and of a stream that goes on without.
SHORT = (0, 1, 8, 1000, 16_383, 16_384, 16_385, 65_535)
LONG = (65_537, 200_000)


def reused(mesh: Mesh) -> int:
    """Streams over legs that had carried one before."""
    return mesh.rc.stat("legs_reused_total")


def only_leg(mesh: Mesh, family: Family) -> int:
    """Have one leg wait, which nobody replaces while it may come back; its port."""
    [port] = fill(mesh, family, 1)
    mesh.rc.write("peers", f"set {peer(family)} low 0 high 1")
    return port


def wait_back(mesh: Mesh, family: Family) -> None:
    """Wait until the leg waits again."""
    until(lambda: pool(mesh, family)["ready"] == 1, "the leg is not back")


def is_gone(mesh: Mesh, family: Family, port: int) -> bool:
    """True when the leg has ended."""
    return port not in legs(mesh, family)


def fetch(mesh: Mesh, family: Family, at: Server, size: int, seed: int = 0) -> None:
    """Send a stream to an echo server, and get it back."""
    stream = Payload(size, seed=seed)
    with connect(mesh.c, family, at.address, at.port) as sock:
        exchange(sock, out=stream, into=stream)
        sock.shutdown(socket.SHUT_WR)
        receive_end(sock)


@pytest.mark.parametrize("mode", REUSING, indirect=True)
def test_short_streams_share_a_leg(mesh: Mesh, family: Family) -> None:
    """Byte for byte, whatever their length; no connection is made for them."""
    port, before = only_leg(mesh, family), reused(mesh)
    misses = pool(mesh, family)["misses"]
    with serving(mesh.s, family, echo) as at:
        for seed, size in enumerate(SHORT):
            fetch(mesh, family, at, size, seed)
            wait_back(mesh, family)
        at.join()
    assert reused(mesh) - before == len(SHORT) - 1
    assert pool(mesh, family)["misses"] == misses
    assert not is_gone(mesh, family, port)


@pytest.mark.parametrize("mode", REUSING, indirect=True)
@pytest.mark.parametrize("size", [*SHORT, *LONG])
def test_streams_of_many_clients(mesh: Mesh, family: Family, size: int) -> None:
    """At the same time, each with bytes of its own."""
    rejected = [relay.stat("records_rejected_total") for relay in mesh.relays]
    with serving(mesh.s, family, echo) as at, ThreadPoolExecutor(6) as clients:
        work = [clients.submit(fetch, mesh, family, at, size, seed) for seed in range(times(24))]
        for one in work:
            one.result()
        at.join()
    mesh.wait_idle()
    assert [relay.stat("records_rejected_total") for relay in mesh.relays] == rejected


def test_a_leg_is_given_up_after_many_streams(mesh: Mesh, family: Family) -> None:
    """Of kmod/relay/peer_pool.c: after 1000."""
    port, before = only_leg(mesh, family), reused(mesh)
    with serving(mesh.s, family, echo) as at:
        for _ in range(999):
            traffic.fetch(mesh.c, family, at)
            wait_back(mesh, family)
        assert not is_gone(mesh, family, port)
        traffic.fetch(mesh.c, family, at)
        until(partial(is_gone, mesh, family, port), "the leg is still there")
    assert reused(mesh) - before == 999


@pytest.mark.parametrize("mode", REUSING, indirect=True)
@pytest.mark.parametrize("up", [True, False], ids=["upload", "download"])
def test_long_stream_ends_its_leg(mesh: Mesh, family: Family, up: bool) -> None:
    """However short the other direction is."""
    port, long, short = only_leg(mesh, family), Payload(1 << 20, seed=1), Payload(10)

    def server(sock: socket.socket) -> None:
        receive(sock, long if up else short)
        send(sock, short if up else long)

    with serving(mesh.s, family, server) as at:
        with connect(mesh.c, family, at.address, at.port) as sock:
            send(sock, long if up else short)
            receive(sock, short if up else long)
            receive_end(sock)
        at.join()
        until(partial(is_gone, mesh, family, port), "the leg is still there")
        wait_ready(mesh, family, 1)


@pytest.mark.parametrize("mode", REUSING, indirect=True)
@pytest.mark.parametrize("first", ["client", "server"])
def test_half_closes(mesh: Mesh, family: Family, first: str) -> None:
    """One direction ends long before the other; the leg is used again all the same."""
    port, question, answer = only_leg(mesh, family), Payload(5_000, seed=1), Payload(7_000, seed=2)

    def begin(sock: socket.socket, out: Payload) -> None:
        send(sock, out)
        sock.shutdown(socket.SHUT_WR)

    def end(sock: socket.socket, into: Payload) -> None:
        receive(sock, into)
        receive_end(sock)

    def server(sock: socket.socket) -> None:
        if first == "server":
            begin(sock, answer)
            end(sock, question)
        else:
            end(sock, question)
            begin(sock, answer)

    before = reused(mesh)
    with serving(mesh.s, family, server) as at:
        for _ in range(3):
            with connect(mesh.c, family, at.address, at.port) as sock:
                if first == "server":
                    end(sock, answer)
                    begin(sock, question)
                else:
                    begin(sock, question)
                    end(sock, answer)
            at.join()
            wait_back(mesh, family)
    assert reused(mesh) - before == 2
    assert not is_gone(mesh, family, port)


@pytest.mark.parametrize("mode", REUSING, indirect=True)
@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("when", ["before a byte", "after bytes", "after FIN"])
def test_reset_ends_its_own_stream(mesh: Mesh, family: Family, who: str, when: str) -> None:
    """And its leg, but no other one; who is not reset hears of it."""
    port = only_leg(mesh, family)
    heard = threading.Event()

    def play(sock: socket.socket, *, resets: bool) -> None:
        if when != "before a byte":
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        if when == "after FIN":
            if not resets:
                sock.shutdown(socket.SHUT_WR)
            else:
                receive_end(sock)
        if resets:
            reset(sock)
            return
        assert is_reset(sock)
        heard.set()

    def server(sock: socket.socket) -> None:
        assert sock.recv(1) == b"?"
        sock.sendall(b"!")
        play(sock, resets=who == "server")

    with serving(mesh.s, family, server) as at, serving(mesh.s, family, echo) as other:
        with connect(mesh.c, family, at.address, at.port) as sock:
            sock.sendall(b"?")
            assert sock.recv(1) == b"!"
            with connect(mesh.c, family, other.address, other.port) as beside:
                send(beside, Payload(1000))
                receive(beside, Payload(1000))
                play(sock, resets=who == "client")
                assert heard.wait(20), "nobody heard of the reset"
                send(beside, Payload(1000))
                receive(beside, Payload(1000))
        at.join()
    until(partial(is_gone, mesh, family, port), "the leg is still there")
    mesh.wait_idle()


def test_refused_target_ends_its_leg(mesh: Mesh, family: Family) -> None:
    """As ever, and the next stream has another one."""
    port = only_leg(mesh, family)
    assert traffic.is_refused(mesh.c, family, family.server, 7)
    until(partial(is_gone, mesh, family, port), "the leg is still there")
    wait_ready(mesh, family, 1)
    with serving(mesh.s, family, echo) as at:
        fetch(mesh, family, at, 1000)


@pytest.mark.parametrize("mode", REUSING, indirect=True)
def test_slow_end_blocks_nobody(mesh: Mesh, family: Family) -> None:
    """A leg comes back only when the exit has delivered all, and no other stream waits for it."""
    only_leg(mesh, family)
    upload, go_on = Payload(60_000), threading.Event()

    def server(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        go_on.wait(60)
        receive(sock, upload)
        receive_end(sock)

    with serving(mesh.s, family, server) as at, serving(mesh.s, family, echo) as other:
        at.shrink(2048)
        with connect(mesh.c, family, at.address, at.port) as sock:
            receive_end(sock)
            send(sock, upload)
        # The ingress is through with the stream, the exit is not.
        until(lambda: not mesh.rc.splits(), "the ingress is not through")
        for _ in range(3):
            fetch(mesh, family, other, 1000)
        assert mesh.rs.splits()
        go_on.set()
        at.join()
    mesh.wait_idle()


def test_off_uses_each_leg_once(mesh: Mesh, family: Family) -> None:
    """The paper's: also legs that were made for several streams."""
    port, before = only_leg(mesh, family), reused(mesh)
    mesh.rc.write("settings", "reuse off")
    with serving(mesh.s, family, echo) as at:
        for _ in range(3):
            fetch(mesh, family, at, 1000)
            wait_ready(mesh, family, 1)
            assert is_gone(mesh, family, port)
            port = only_leg(mesh, family)
        mesh.rc.write("settings", "reuse on")
        until(partial(has_reused, mesh, family, at, before), "legs are used once")


def has_reused(mesh: Mesh, family: Family, at: Server, before: int) -> bool:
    """Fetch once more; true when a leg was used again."""
    fetch(mesh, family, at, 1000)
    wait_back(mesh, family)
    return reused(mesh) > before


def test_off_at_the_exit_only(mesh: Mesh, family: Family) -> None:
    """An end that keeps no legs says so, and streams go on as they would."""
    before = reused(mesh)
    mesh.rs.write("settings", "reuse off")
    with serving(mesh.s, family, echo) as at:
        for size in (*SHORT, *LONG):
            fetch(mesh, family, at, size)
            mesh.wait_idle()
    assert reused(mesh) == before


def test_listener_removed_while_legs_carry(mesh: Mesh, family: Family) -> None:
    """The stream goes on, and its leg is not used again after it."""
    port = only_leg(mesh, family)
    with serving(mesh.s, family, echo) as at:
        with connect(mesh.c, family, at.address, at.port) as sock:
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
            mesh.rs.write("listeners", f"del relay {RELAY_PORT}")
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        until(partial(is_gone, mesh, family, port), "the leg is still there")
        mesh.rs.write("listeners", f"add relay {RELAY_PORT}")


def test_key_removed_while_legs_carry(mesh: Mesh, family: Family) -> None:
    """Who proved a key that is gone uses a leg for the stream that it has, but for no other."""
    port = only_leg(mesh, family)
    with serving(mesh.s, family, echo) as at:
        with connect(mesh.c, family, at.address, at.port) as sock:
            mesh.rs.write("keys", "del 1")
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        until(partial(is_gone, mesh, family, port), "the leg is still there")


def test_peer_removed_while_its_leg_rests(mesh: Mesh, family: Family) -> None:
    """What the leg carried arrives, and the connection ends."""
    port, upload, go_on = only_leg(mesh, family), Payload(60_000), threading.Event()

    def server(sock: socket.socket) -> None:
        sock.shutdown(socket.SHUT_WR)
        go_on.wait(60)
        receive(sock, upload)
        receive_end(sock)

    with serving(mesh.s, family, server) as at:
        at.shrink(2048)
        with connect(mesh.c, family, at.address, at.port) as sock:
            receive_end(sock)
            send(sock, upload)
        until(lambda: not mesh.rc.splits(), "the ingress is not through")
        mesh.rc.write("peers", f"del {peer(family)}")
        go_on.set()
        at.join()
    until(partial(is_gone, mesh, family, port), "the leg is still there")


def test_drain_with_legs_used_again(mesh: Mesh, family: Family) -> None:
    """No split is left, whatever waits for the next stream."""
    only_leg(mesh, family)
    with serving(mesh.s, family, echo) as at:
        fetch(mesh, family, at, 1000)
        wait_back(mesh, family)
        for relay in mesh.relays:
            relay.write("drain", "on")
            until(partial(is_drained, relay), "splits are left")


def is_drained(relay: Namespace) -> bool:
    """True when the relay has no split."""
    return relay.comments("drain")["splits"] == "0"


def has_grown(mesh: Mesh, count: int) -> bool:
    """True when more streams than that went over legs used before."""
    return reused(mesh) > count


@contextmanager
def busy(mesh: Mesh, family: Family, at: Server) -> Iterator[None]:
    """Short streams, one after the other, which may fail."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            try:
                traffic.fetch(mesh.c, family, at)
            except (OSError, AssertionError):
                stop.wait(0.05)

    with ThreadPoolExecutor(4) as clients:
        for _ in range(4):
            clients.submit(run)
        try:
            yield
        finally:
            stop.set()


def test_unload_with_legs_used_again(mesh: Mesh, family: Family) -> None:
    """In each state that a leg can be in between two streams."""
    with serving(mesh.s, family, echo) as at, busy(mesh, family, at):
        for _ in range(times(4)):
            before = reused(mesh)
            until(partial(has_grown, mesh, before + 20), "no leg is used again")
            module.unload()
            module.load()
            mesh.configure()


@pytest.mark.parametrize("count", [1, 3])
def test_legs_between_relays_are_used_again(mesh: Mesh, family: Family, count: int) -> None:
    """All legs of a path of several relays."""
    with relays_between(mesh, family, count) as addresses, serving(mesh.s, family, echo) as at:
        mesh.route(family, path(family, addresses))
        before = reused(mesh)
        for seed, size in enumerate((*SHORT, *LONG, *SHORT)):
            fetch(mesh, family, at, size, seed)
        at.join()
        assert reused(mesh) > before
        mesh.wait_idle()
