# SPDX-License-Identifier: GPL-2.0-only
"""Turbo-Start: large windows between relays, from the first byte, and nowhere else."""

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.mesh import CLIENT_PORT, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import Payload, connect, echo, exchange, receive, send, serving
from tests.kernel.wait import until

CWND = 777


def windows(host: Namespace, condition: str) -> list[dict[str, int]]:
    """The figures of ss(8) for each matching connection of `host`: cwnd, rcv_ssthresh, ...

    Args:
        host: The host that has the connections.
        condition: A filter in the syntax of ss.
    """
    rows = host.run(["ss", "-Htnio", "state", "established", *condition.split()]).stdout
    values = re.compile(r"\b(cwnd|rcv_ssthresh|ssthresh|bytes_sent):(\d+)")
    connections = rows.replace("\n\t", " ").splitlines()
    return [{name: int(value) for name, value in values.findall(row)} for row in connections]


@contextmanager
def open_split(mesh: Mesh, family: Family) -> Iterator[socket.socket]:
    """A split that has passed a byte in both directions."""
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(1))
        receive(sock, Payload(1))
        yield sock


def set_turbo(mesh: Mesh, family: Family, word: str) -> None:
    """Set `turbo` on both relays, and let the pool connect anew."""
    peer = family.at(family.rs, RELAY_PORT)
    for relay in mesh.relays:
        relay.write("settings", f"turbo {word}", f"turbo_cwnd {CWND}")
    mesh.rc.write("peers", f"set {peer} low 0 high 0")
    until(lambda: f"{peer} ready 0 connecting 0" in mesh.rc.read("peers"), "not emptied")
    mesh.rc.write("peers", f"set {peer} low 1 high 4")
    until(lambda: f"{peer} ready 4 connecting 0" in mesh.rc.read("peers"), "not filled")


def test_relay_legs_start_large(mesh: Mesh, family: Family) -> None:
    set_turbo(mesh, family, "on")
    with open_split(mesh, family):
        for relay, end in ((mesh.rc, "dport"), (mesh.rs, "sport")):
            legs = windows(relay, f"{end} = :{RELAY_PORT}")
            # Connections in the other family's pool may be older than the setting.
            assert [leg["cwnd"] for leg in legs].count(CWND) >= 4
            assert max(leg["rcv_ssthresh"] for leg in legs) > 1 << 20


def test_receiving_window_follows_the_reader(mesh: Mesh, family: Family) -> None:
    """It opens whole for who reads, and it had to be large from the SYN on to be able to."""
    set_turbo(mesh, family, "on")
    with open_split(mesh, family) as sock:
        exchange(sock, out=Payload(4 << 20), into=Payload(4 << 20))
        for relay, end in ((mesh.rc, "dport"), (mesh.rs, "sport")):
            legs = windows(relay, f"{end} = :{RELAY_PORT}")
            assert max(leg["rcv_ssthresh"] for leg in legs) > 8 << 20


def test_outer_legs_keep_their_windows(mesh: Mesh, family: Family) -> None:
    """The Internet is no private backbone: there, connections start with ten segments."""
    set_turbo(mesh, family, "on")
    with open_split(mesh, family):
        # Found by the relay's port: if two flows share the client's port, REDIRECT gives one of
        # them another port.
        [client_leg] = windows(mesh.rc, f"sport = :{CLIENT_PORT}")
        [server_leg] = windows(mesh.rs, f"src = {bracketed(family.rs_inside)}")
        for leg in (client_leg, server_leg):
            assert 10 <= leg["cwnd"] <= 20
            assert leg["rcv_ssthresh"] < 1 << 20


def bracketed(address: str) -> str:
    """An address in the syntax of ss."""
    return f"[{address}]" if ":" in address else address


def test_off(mesh: Mesh, family: Family) -> None:
    set_turbo(mesh, family, "off")
    with open_split(mesh, family):
        address = bracketed(family.rs)
        for leg in windows(mesh.rc, f"dst = {address} and dport = :{RELAY_PORT}"):
            assert 10 <= leg["cwnd"] <= 20
            assert leg["rcv_ssthresh"] < 1 << 20


def test_window_survives_a_pause(mesh: Mesh, family: Family) -> None:
    """Slow start after idle (RFC 2861) would shrink it after one retransmission time-out."""
    set_turbo(mesh, family, "on")
    with open_split(mesh, family) as sock:

        def carrying() -> dict[str, int]:
            legs = windows(mesh.rc, f"dport = :{RELAY_PORT}")
            return max(legs, key=lambda leg: leg.get("bytes_sent", 0))

        for _ in range(3):
            send(sock, Payload(100_000))
            receive(sock, Payload(100_000))
            mesh.c.run(["sleep", "1"])
        assert carrying()["cwnd"] >= CWND
