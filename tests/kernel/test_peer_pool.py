# SPDX-License-Identifier: GPL-2.0-only
"""Connections between relays that wait: between the marks, alive, refilled by themselves."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tests.kernel.mesh import CLIENT_PORT, KEY, RELAY_PORT, Mesh
from tests.kernel.topology import Family
from tests.kernel.traffic import Payload, Server, connect, echo, receive, send, serving
from tests.kernel.wait import until


def peer(family: Family) -> str:
    """The name of rs on rc."""
    return family.at(family.rs, RELAY_PORT)


def pool(mesh: Mesh, family: Family) -> dict[str, int]:
    """What rc says of its pool: ready, connecting, hits, misses, failures."""
    prefix = f"# {peer(family)} "
    [line] = [row for row in mesh.rc.read("peers").splitlines() if row.startswith(prefix)]
    words = line.removeprefix(prefix).split()
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def wait_ready(mesh: Mesh, family: Family, count: int) -> None:
    """Wait until so many connections wait and none is on its way."""
    last: dict[str, int] = {}

    def settled() -> bool:
        last.update(pool(mesh, family))
        return (last["ready"], last["connecting"]) == (count, 0)

    try:
        until(settled, f"not {count} ready")
    except TimeoutError as error:
        raise TimeoutError(f"{error}; {last}") from None


def fetch(mesh: Mesh, family: Family, at: Server) -> None:
    """A short connection, through both relays."""
    with connect(mesh.c, family, at.address, at.port) as sock:
        send(sock, Payload(1000))
        receive(sock, Payload(1000))
    assert at.peers[-1] == family.rs_inside


def test_pool_is_filled_and_used(mesh: Mesh, family: Family) -> None:
    """A leg from the pool is a hit; below the low mark the pool fills up to the high one."""
    mesh.rc.write("peers", f"set {peer(family)} low 3 high 5")
    wait_ready(mesh, family, 5)
    before = pool(mesh, family)
    with serving(mesh.s, family, echo) as at:
        for left in (4, 3):
            fetch(mesh, family, at)
            wait_ready(mesh, family, left)
        fetch(mesh, family, at)
        wait_ready(mesh, family, 5)
    now = pool(mesh, family)
    assert (now["hits"], now["misses"]) == (before["hits"] + 3, before["misses"])
    until(partial(has_carried, mesh, family, before, 3000), "bytes are missing")


def has_carried(mesh: Mesh, family: Family, before: dict[str, int], size: int) -> bool:
    """True when so many bytes went over legs to rs, each way."""
    now = pool(mesh, family)
    return all(now[name] - before[name] == size for name in ("bytes_up", "bytes_down"))


def test_burst_beyond_the_pool(mesh: Mesh, family: Family) -> None:
    """Who finds the pool empty gets a leg of its own; nobody is refused."""
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
    """True when so many connections wait."""
    return pool(mesh, family)["ready"] in wanted


def test_peer_that_dies_and_returns(mesh: Mesh, family: Family) -> None:
    """Nobody acts: dead connections leave, and the pool fills once the peer is back."""
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


def test_pool_off(mesh: Mesh, family: Family) -> None:
    wait_ready(mesh, family, 4)
    mesh.rc.write("settings", "conn_pool off")
    until(lambda: pool(mesh, family)["ready"] == 0, "connections are kept")
    with serving(mesh.s, family, echo) as at:
        fetch(mesh, family, at)
    assert pool(mesh, family)["hits"] == 0
    mesh.rc.write("settings", "conn_pool on")
    wait_ready(mesh, family, 4)
