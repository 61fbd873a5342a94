# SPDX-License-Identifier: GPL-2.0-only
"""Ports to connect from: used again at once, and where there is none, flows pass unsplit."""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    Server,
    connect,
    echo,
    fetch,
    is_refused,
    receive,
    receive_end,
    reset,
    send,
    serving,
)
from tests.kernel.wait import times, until

PORTS = 10
# Enough for what is open at the same time.
FEW = 32
RANGE = "net.ipv4.ip_local_port_range"


@contextmanager
def few_ports(host: Namespace, count: int = PORTS) -> Iterator[None]:
    """All that a host connects from, for a while."""
    with host.sysctl(RANGE, f"40000 {40000 + count - 1}"):
        yield


def use_up(mesh: Mesh, family: Family, stack: ExitStack, address: str, port: int) -> None:
    """Keep flows open until there is no port for another, which is refused."""
    for _ in range(PORTS):
        try:
            sock = connect(mesh.c, family, address, port)
            stack.callback(reset, sock)
            send(sock, Payload(1))
            receive(sock, Payload(1))
        except (ConnectionResetError, BrokenPipeError):
            return
    assert is_refused(mesh.c, family, address, port)


def test_flows_pass_where_no_port_is_left_for_a_leg(mesh: Mesh, family: Family) -> None:
    peer = family.at(family.rs, RELAY_PORT)
    mesh.rc.write("peers", f"set {peer} low 0 high 0")
    until(lambda: f"{peer} ready 0 connecting 0 " in mesh.rc.read("peers"), "legs are kept")
    missing, passed = mesh.rc.stat("ports_missing_total"), mesh.rc.stat("down_passed_total")
    with serving(mesh.s, family, echo) as at, few_ports(mesh.rc):
        with ExitStack() as stack:
            use_up(mesh, family, stack, at.address, at.port)
            assert mesh.rc.stat("ports_missing_total") == missing + 1
            assert fetch(mesh.c, family, at) == family.client
            assert mesh.rc.stat("down_passed_total") == passed + 1
            assert mesh.peer(peer)["state"] == "up"
        mesh.wait_idle()
        until(lambda: fetch(mesh.c, family, at) == family.rs_inside, "flows pass for ever")


def test_flows_pass_where_no_port_is_left_at_the_exit(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("settings", "refused_hold_s 600")
    missing, passed = mesh.rs.stat("ports_missing_total"), mesh.rc.stat("refused_passed_total")
    with serving(mesh.s, family, echo) as at, few_ports(mesh.rs), ExitStack() as stack:
        use_up(mesh, family, stack, at.address, at.port)
        assert mesh.rs.stat("ports_missing_total") == missing + 1
        assert fetch(mesh.c, family, at) == family.client
        assert mesh.rc.stat("refused_passed_total") == passed + 1


def answer(sock: socket.socket) -> None:
    """Send back a little, and end first."""
    receive(sock, Payload(1000))
    send(sock, Payload(1000))


def fetch_all(namespace: Namespace, family: Family, at: Server) -> str:
    """One connection that its server ends; the address that the server saw."""
    with connect(namespace, family, at.address, at.port) as sock:
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
        receive_end(sock)
    return at.peers[-1]


@pytest.mark.parametrize("pooled", [True, False], ids=["pool", "no pool"])
@pytest.mark.parametrize(
    ("handler", "use"), [(echo, fetch), (answer, fetch_all)], ids=["client ends", "server ends"]
)
def test_ports_do_not_run_out(
    mesh: Mesh,
    family: Family,
    handler: Callable[[socket.socket], None],
    use: Callable[[Namespace, Family, Server], str],
    pooled: bool,
) -> None:
    """More connections than ports, in a tenth of a minute: no port waits for its end."""
    mesh.rc.write("settings", f"conn_pool {'on' if pooled else 'off'}")
    before = [relay.stat("ports_missing_total") for relay in mesh.relays]
    with (
        few_ports(mesh.rc, FEW),
        few_ports(mesh.rs, FEW),
        serving(mesh.s, family, handler) as at,
        serving(mesh.c, family, echo, address=family.client) as other,
    ):
        seen = [use(mesh.c, family, at) for _ in range(times(6 * FEW))]
        assert seen == [family.rs_inside] * len(seen)
        assert len(seen) > FEW
        assert [relay.stat("ports_missing_total") for relay in mesh.relays] == before
        # Others of the relay, which connect to other places, have ports of their own.
        assert fetch(mesh.rc, family, other) == family.address(1, 1)
