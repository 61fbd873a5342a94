# SPDX-License-Identifier: GPL-2.0-only
"""Without a port to connect from, flows pass unsplit, and the peer is not blamed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    echo,
    fetch,
    is_refused,
    receive,
    reset,
    send,
    serving,
)
from tests.kernel.wait import until

PORTS = 10
RANGE = "net.ipv4.ip_local_port_range"


@contextmanager
def few_ports(host: Namespace) -> Iterator[None]:
    """All that a host connects from, for a while."""
    before = host.run(["sysctl", "-n", RANGE]).stdout.strip()
    host.run(["sysctl", "-qw", f"{RANGE}=40000 {40000 + PORTS - 1}"])
    try:
        yield
    finally:
        host.run(["sysctl", "-qw", f"{RANGE}={before}"])


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
