# SPDX-License-Identifier: GPL-2.0-only
"""Idle streams stay: firewalls on the way see traffic, and no time-out ends them."""

import contextlib
import re
import socket
import threading

import pytest

from tests.kernel.mesh import CLIENT_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    echo,
    is_told,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.wait import until

pytestmark = pytest.mark.parametrize("mode", ["full", "threads"], indirect=True)

UNITS_S = {"ms": 0.001, "sec": 1, "min": 60}


def keepalive_s(host: Namespace, port: int) -> float | None:
    """Seconds until a relay's next keepalive on a leg with `port`; None if there is none."""
    rows = host.run(["ss", "-tnoH", "state", "established"]).stdout.splitlines()
    legs = [row for row in rows if f":{port} " in row]
    assert legs, rows
    timer = re.search(r"timer:\(keepalive,([^,]+),", legs[0])
    if not timer:
        return None
    parts = re.findall(r"([\d.]+)(ms|sec|min)", timer.group(1))
    return sum(float(number) * UNITS_S[unit] for number, unit in parts)


def wait_keepalive(host: Namespace, port: int) -> float:
    """The same for a leg with keepalive, once its sent bytes are acknowledged."""
    return until(lambda: keepalive_s(host, port), "no keepalive") or 0


def outer_ports(mesh: Mesh, server: int) -> list[tuple[Namespace, int]]:
    """The relays, each with the port by which its outer leg is found.

    The client's own port is of no use: if two flows share it, REDIRECT gives one another port.
    """
    return [(mesh.rc, CLIENT_PORT), (mesh.rs, server)]


@pytest.mark.parametrize(("line", "most"), [(None, 50), ("keepalive_s 200", 200)])
def test_outer_legs_are_kept_alive(
    mesh: Mesh, family: Family, line: str | None, most: float
) -> None:
    for relay in mesh.relays:
        relay.write("settings", *([line] if line else []), "idle_timeout_s 0")
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        receive(sock, Payload(10))
        for relay, port in outer_ports(mesh, at.port):
            assert most / 2 < wait_keepalive(relay, port) <= most


def test_half_closed_split_outlives_its_entry_in_conntrack(mesh: Mesh, family: Family) -> None:
    """REDIRECT needs conntrack's entry, which lasts only 60 s once an end has closed."""

    def server(sock: socket.socket) -> None:
        receive(sock, Payload(10))
        receive_end(sock)
        assert not is_told(sock, bound=90)
        send(sock, Payload(10))

    with (
        serving(mesh.s, family, server) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.settimeout(120)
        send(sock, Payload(10))
        sock.shutdown(socket.SHUT_WR)
        receive(sock, Payload(10))
        at.join()


def test_keepalive_can_be_off(mesh: Mesh, family: Family) -> None:
    for relay in mesh.relays:
        relay.write("settings", "keepalive_s 0")
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        receive(sock, Payload(10))
        for relay, port in outer_ports(mesh, at.port):
            assert keepalive_s(relay, port) is None


def test_an_end_that_is_away_for_minutes_is_kept(mesh: Mesh, family: Family) -> None:
    """As without a relay: a laptop that wakes up finds its idle connections again."""
    for relay in mesh.relays:
        relay.write("settings", "keepalive_s 1")
    away = [family.iptables, "-I", "INPUT", "-i", "to-rc", "-j", "DROP"]
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        receive(sock, Payload(10))
        mesh.c.run(away)
        try:
            assert not is_told(sock, bound=20)
            assert mesh.splits() == 2
        finally:
            mesh.c.run(["-D" if word == "-I" else word for word in away])
        send(sock, Payload(10))
        receive(sock, Payload(10))


def test_idle_without_bound_by_default(mesh: Mesh) -> None:
    assert mesh.rc.setting("idle_timeout_s") == "0"


def test_bytes_that_nobody_takes_are_no_activity(mesh: Mesh, family: Family) -> None:
    """A client is gone; bytes that still come for it fill buffers, but keep nothing alive."""
    stop, ended = threading.Event(), threading.Event()

    def trickle(sock: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while not stop.wait(0.2):
                sock.sendall(b".")
            return
        ended.set()

    mesh.rc.write("settings", "idle_timeout_s 3")
    gone = [family.iptables, "-I", "INPUT", "-i", "to-rc", "-j", "DROP"]
    with (
        serving(mesh.s, family, trickle) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        assert sock.recv(1) == b"."
        mesh.c.run(gone)
        try:
            assert ended.wait(20), "the split is taken for active"
        finally:
            stop.set()
            mesh.c.run(["-D" if word == "-I" else word for word in gone])
