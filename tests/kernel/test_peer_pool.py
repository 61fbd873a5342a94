# SPDX-License-Identifier: GPL-2.0-only
"""Pooled connections to a peer: as many as the marks say, alive, refilled by themselves."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial

from tests.kernel import traffic
from tests.kernel.mesh import CLIENT_PORT, KEY, RELAY_PORT, Mesh
from tests.kernel.pools import fill, legs, peer, pool, wait_ready
from tests.kernel.topology import Family
from tests.kernel.traffic import Payload, Server, connect, echo, receive, send, serving
from tests.kernel.wait import until


def fetch(mesh: Mesh, family: Family, at: Server) -> None:
    """A short connection, through both relays."""
    assert traffic.fetch(mesh.c, family, at) == family.rs_inside


def test_pool_is_filled_and_used(mesh: Mesh, family: Family) -> None:
    """A leg from the pool is a hit, and is replaced although the low mark is far away."""
    mesh.rc.write("peers", f"set {peer(family)} low 1 high 5")
    wait_ready(mesh, family, 5)
    before = pool(mesh, family)
    with serving(mesh.s, family, echo) as at:
        for _ in range(3):
            fetch(mesh, family, at)
            wait_ready(mesh, family, 5)
    now = pool(mesh, family)
    assert (now["hits"], now["misses"]) == (before["hits"] + 3, before["misses"])
    until(partial(has_carried, mesh, family, before, 3000), "bytes are missing")


def has_carried(mesh: Mesh, family: Family, before: dict[str, int], size: int) -> bool:
    """True when these numbers of bytes went over legs to rs, up and down."""
    now = pool(mesh, family)
    return all(now[name] - before[name] == size for name in ("bytes_up", "bytes_down"))


def test_burst_beyond_the_pool(mesh: Mesh, family: Family) -> None:
    """A flow that finds the pool empty gets a fresh leg; none is refused."""
    mesh.rc.write("peers", f"set {peer(family)} low 8 high 16")
    wait_ready(mesh, family, 16)
    with serving(mesh.s, family, echo) as at, ThreadPoolExecutor(60) as clients:
        for one in [clients.submit(fetch, mesh, family, at) for _ in range(60)]:
            one.result()
        assert at.peers == [family.rs_inside] * 60
    until(lambda: pool(mesh, family)["ready"] >= 8, "not refilled")


def test_marks_change_at_run_time(mesh: Mesh, family: Family) -> None:
    for low, high in ((10, 20), (1, 2), (0, 0), (4, 4)):
        mesh.rc.write("peers", f"set {peer(family)} low {low} high {high}")
        wanted = range(low, high + 1)
        until(partial(is_ready, mesh, family, wanted), f"not {low} to {high} ready")


def is_ready(mesh: Mesh, family: Family, wanted: range) -> bool:
    """True when `count` connections wait."""
    return pool(mesh, family)["ready"] in wanted


def test_peer_that_dies_and_returns(mesh: Mesh, family: Family) -> None:
    """Without any help dead connections leave, and the pool fills when the peer is back."""
    wait_ready(mesh, family, 4)
    mesh.rs.write("keys", "del 1")
    mesh.rs.write("listeners", f"del relay {RELAY_PORT}")
    before = pool(mesh, family)["failures"]
    # What waited there ends with the first that uses it; here that is the pool's own end.
    reset_waiting(mesh, family)
    until(lambda: pool(mesh, family)["ready"] == 0, "dead connections are offered")
    until(lambda: pool(mesh, family)["failures"] >= before + 2, "nobody tries")
    mesh.rs.write("keys", f"add 1 {KEY}")
    mesh.rs.write("listeners", f"add relay {RELAY_PORT}")
    wait_ready(mesh, family, 4)
    mesh.wait_peer(peer(family), "up")
    with serving(mesh.s, family, echo) as at:
        hits = pool(mesh, family)["hits"]
        fetch(mesh, family, at)
        assert pool(mesh, family)["hits"] == hits + 1


def reset_waiting(mesh: Mesh, family: Family) -> None:
    """End, at rs, all connections that rc's pool keeps open."""
    mesh.rs.run(["ss", f"-{family.name[1]}", "-K", "sport", "=", f":{RELAY_PORT}"])


def test_peer_removed_while_its_legs_carry(mesh: Mesh, family: Family) -> None:
    """Peers change at run time without touching live splits."""
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
        mesh.rc.write("peers", f"del {peer(family)}")
        send(sock, Payload(1 << 20))
        receive(sock, Payload(1 << 20))
        mesh.rc.write("peers", f"add {peer(family)} low 1 high 4 key 1")
        send(sock, Payload(1 << 20))
        receive(sock, Payload(1 << 20))
        mesh.rc.write("listeners", f"del client {CLIENT_PORT}", f"add client {CLIENT_PORT}")
        send(sock, Payload(1 << 20))
        receive(sock, Payload(1 << 20))


def test_waiting_connections_cost_the_peer_no_thread(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("peers", f"set {peer(family)} low 50 high 60")
    until(lambda: pool(mesh, family)["ready"] >= 50, "not filled")

    def busy() -> int:
        return int(mesh.rs.comments("thread_pool")["busy"])

    until(lambda: busy() == 0, "threads wait for bytes")


def test_round_trip_time(mesh: Mesh, family: Family) -> None:
    """What connections took when they were made, and nothing before the first."""
    mesh.rc.write("peers", f"del {peer(family)}")
    mesh.rc.write("peers", f"add {peer(family)} low 0 high 0 key 1")
    assert pool(mesh, family)["rtt_us"] == 0
    slow = "tc qdisc replace dev to-rc root netem delay 300ms limit 1000"
    mesh.rs.run(slow.split())
    try:
        mesh.rc.write("peers", f"set {peer(family)} low 4 high 4")
        wait_ready(mesh, family, 4)
    finally:
        mesh.rs.run(["tc", "qdisc", "del", "dev", "to-rc", "root"])
    assert 300_000 <= pool(mesh, family)["rtt_us"] < 3_000_000
    before = pool(mesh, family)["rtt_us"]
    mesh.rc.write("peers", f"set {peer(family)} low 16 high 16")
    wait_ready(mesh, family, 16)
    assert pool(mesh, family)["rtt_us"] < before


def test_pool_off(mesh: Mesh, family: Family) -> None:
    wait_ready(mesh, family, 4)
    mesh.rc.write("settings", "conn_pool off")
    until(lambda: pool(mesh, family)["ready"] == 0, "connections are kept")
    with serving(mesh.s, family, echo) as at:
        fetch(mesh, family, at)
    assert pool(mesh, family)["hits"] == 0
    mesh.rc.write("settings", "conn_pool on")
    wait_ready(mesh, family, 4)


@contextmanager
def dropped(mesh: Mesh, family: Family, *rule: str) -> Iterator[None]:
    """Packets that rs loses for a while, by a rule of its packet filter."""
    mesh.rs.run([family.iptables, "-I", *rule, "-j", "DROP"])
    try:
        yield
    finally:
        mesh.rs.run([family.iptables, "-D", *rule, "-j", "DROP"])


def lose(mesh: Mesh, family: Family, ports: set[int]) -> None:
    """Have rs forget connections as in a reboot: rc is not told."""
    of_relay = ["OUTPUT", "-p", "tcp", "--sport", str(RELAY_PORT)]
    with dropped(mesh, family, *of_relay, "--tcp-flags", "RST", "RST"):
        for port in ports:
            to_leg = ["sport", "=", f":{RELAY_PORT}", "and", "dport", "=", f":{port}"]
            mesh.rs.run(["ss", f"-{family.name[1]}", "-K", *to_leg])


def test_dead_legs_cost_one_user(mesh: Mesh, family: Family) -> None:
    """The first one that proves dead says what the others are, and nothing of the target."""
    mesh.rc.write("settings", "refused_hold_s 600")
    waiting = fill(mesh, family, 8)
    assert len(waiting) == 8
    lose(mesh, family, waiting)
    with serving(mesh.s, family, echo) as at:
        assert traffic.is_refused(mesh.c, family, at.address, at.port)
        for _ in range(8):
            fetch(mesh, family, at)
    wait_ready(mesh, family, 8)
    assert mesh.peer(peer(family))["state"] == "up"


def test_target_that_refuses_costs_no_leg(mesh: Mesh, family: Family) -> None:
    """RST also comes of a target; connections that wait are as good as before."""
    waiting = fill(mesh, family, 8)
    for _ in range(4):
        assert traffic.is_refused(mesh.c, family, family.server, 7)
    wait_ready(mesh, family, 8)
    assert len(waiting & legs(mesh, family)) >= 4


def test_dead_legs_are_found_by_the_watched_one(mesh: Mesh, family: Family) -> None:
    """No user pays who comes after that."""
    fill(mesh, family, 8)
    before = pool(mesh, family)["failures"]
    lose(mesh, family, legs(mesh, family))
    until(lambda: pool(mesh, family)["failures"] > before, "nobody notices")
    with serving(mesh.s, family, echo) as at:
        for _ in range(8):
            fetch(mesh, family, at)


def test_legs_that_a_firewall_forgot(mesh: Mesh, family: Family) -> None:
    """It answers nothing; new connections are let through."""
    fill(mesh, family, 8)
    before = pool(mesh, family)["failures"]
    with ExitStack() as stack:
        for port in legs(mesh, family):
            stack.enter_context(dropped(mesh, family, "INPUT", "-p", "tcp", "--sport", str(port)))
        until(lambda: pool(mesh, family)["failures"] > before, "nobody notices")
        with serving(mesh.s, family, echo) as at:
            for _ in range(8):
                fetch(mesh, family, at)
