# SPDX-License-Identifier: GPL-2.0-only
"""Modules, namespaces, peers, routes and listeners come and go under load."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.kernel import module
from tests.kernel.mesh import CLIENT_PORT, RELAY_PORT, Mesh, mark
from tests.kernel.namespace import KTCP
from tests.kernel.topology import V4, Family, Topology, delete, topology, wait_gone
from tests.kernel.traffic import (
    CHUNK,
    Payload,
    Server,
    connect,
    echo,
    fetch,
    receive,
    send,
    serving,
)
from tests.kernel.wait import ROUNDS, SCALE, times, until

CROWD = max(25, int(100 * SCALE))


def pump(sock: socket.socket) -> None:
    """Move bytes in both directions until the connection ends, whatever ends it."""
    piece = Payload(CHUNK).piece(0, 8 << 10)
    with sock:
        try:
            while True:
                sock.sendall(piece)
                if not sock.recv(CHUNK):
                    return
        except (ConnectionError, TimeoutError):
            return


@contextmanager
def load(mesh: Mesh, family: Family, count: int = CROWD) -> Iterator[list[threading.Thread]]:
    """Splits that move bytes; their clients' threads end with the splits."""
    with serving(mesh.s, family, echo) as at:
        socks = [connect(mesh.c, family, at.address, at.port) for _ in range(count)]
        threads = [threading.Thread(target=pump, args=(sock,), daemon=True) for sock in socks]
        for thread in threads:
            thread.start()
        until(lambda: moving(mesh, count), "not all splits are moving", bound=60)
        try:
            yield threads
        finally:
            for sock in socks:
                try:
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue  # it has ended already
            join(threads)


def moving(mesh: Mesh, count: int) -> bool:
    """True when `count` splits have passed bytes."""
    return sum(" up 0 " not in line for line in mesh.rs.splits()) >= count


def join(threads: list[threading.Thread], bound: float = 60) -> None:
    """Wait for all of them."""
    for thread in threads:
        thread.join(bound)
    assert not any(thread.is_alive() for thread in threads), "connections hang"


@contextmanager
def dialling(mesh: Mesh, family: Family, at: Server, clients: int = 8) -> Iterator[None]:
    """Clients that make short connections one after the other, which may be reset."""
    stop = threading.Event()

    def dial() -> None:
        while not stop.is_set():
            try:
                fetch(mesh.c, family, at)
            except (ConnectionError, TimeoutError):
                continue

    with ThreadPoolExecutor(clients) as pool:
        work = [pool.submit(dial) for _ in range(clients)]
        try:
            yield
        finally:
            stop.set()
        for one in work:
            one.result(timeout=60)


def wait_split(mesh: Mesh, count: int) -> None:
    """Wait until rs has had `count` more splits."""
    before = mesh.rs.stat("splits_opened_total")
    until(lambda: mesh.rs.stat("splits_opened_total") >= before + count, "no load", bound=60)


def test_unload_under_load(mesh: Mesh, family: Family) -> None:
    with load(mesh, family) as threads:
        module.unload()
        join(threads)
    # The rules are still there and redirect nothing.
    with serving(mesh.s, family, echo) as at:
        assert fetch(mesh.c, family, at) == family.client


def test_unload_while_connections_begin(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, dialling(mesh, family, at, 16):
        wait_split(mesh, 100)
        module.unload()


def test_unload_while_targets_do_not_answer(mesh: Mesh, family: Family) -> None:
    """Neither a waiting connect nor a waiting handshake delays the unload."""
    drop = ["INPUT", "-p", "tcp", "--dport", "8081", "-j", "DROP"]
    mesh.s.run([family.iptables, "-A", *drop])
    stranger = connect(mesh.rc, family, family.rs, RELAY_PORT)
    waiting = [connect(mesh.c, family, family.server, 8081) for _ in range(10)]
    try:
        until(lambda: len(mesh.rs.splits()) >= 10, "not all are waiting")
        module.unload(bound=5)
    finally:
        mesh.s.run([family.iptables, "-D", *drop])
        for sock in (stranger, *waiting):
            sock.close()


def test_load_and_unload(mesh: Mesh) -> None:
    """Again and again while connections begin, which are routed, reset, or split."""
    with serving(mesh.s, V4, echo) as at:
        with dialling(mesh, V4, at, 4):
            for _ in range(times(8)):
                module.unload()
                module.load()
                mesh.configure()
                wait_split(mesh, 8)
        assert fetch(mesh.c, V4, at) == V4.rs_inside


def test_module_in_use_is_not_held(mesh: Mesh, family: Family) -> None:
    """Neither an open procfs file nor a busy split makes rmmod fail."""
    with (
        load(mesh, family, count=3),
        mesh.rc.entered(),
        (KTCP / "stats").open(encoding="ascii") as file,
    ):
        file.read(10)
        module.unload()
        assert not KTCP.exists()


def test_relays_die_under_load(initial_settings: str, family: Family) -> None:
    """The namespaces go with their last split, and nothing of them is left."""
    module.load()
    with topology("x") as hosts, make_mesh_only(hosts) as mesh:
        del initial_settings
        with load(mesh, family, count=8):
            delete(hosts.rc, hosts.rs)
        wait_gone(hosts.c, "to-rc")
        wait_gone(hosts.s, "to-rs")


@contextmanager
def make_mesh_only(hosts: Topology) -> Iterator[Mesh]:
    """A mesh whose relays may be gone afterwards."""
    made = Mesh(hosts)
    made.configure()
    made.steer()
    yield made


def test_namespaces_come_and_go_under_load(initial_settings: str) -> None:
    del initial_settings
    module.load()
    for _ in range(times(3)):
        with topology("x") as hosts, make_mesh_only(hosts) as mesh, load(mesh, V4, count=4):
            delete(hosts.rc, hosts.rs)


def test_unload_beside_a_dying_namespace(initial_settings: str) -> None:
    del initial_settings
    module.load()
    with topology("x") as hosts:
        Mesh(hosts).configure()
        with ThreadPoolExecutor(1) as other:
            dying = other.submit(delete, *hosts.hosts)
            module.unload()
            dying.result(timeout=60)


@pytest.mark.parametrize("what", ["listeners", "peers", "routes", "exits", "keys"])
def test_configuration_changes_under_load(mesh: Mesh, family: Family, what: str) -> None:
    """Flows are split, routed or reset meanwhile; open splits do not notice."""
    with serving(mesh.s, family, echo) as at:
        with connect(mesh.c, family, at.address, at.port) as witness:
            send(witness, Payload(100))
            receive(witness, Payload(100))
            with dialling(mesh, family, at):
                for _ in range(times(25)):
                    change(mesh, family, what)
            send(witness, Payload(100))
            receive(witness, Payload(100))
        # When rs is up again.
        until(lambda: fetch(mesh.c, family, at) == family.rs_inside, "flows pass unsplit")


def change(mesh: Mesh, family: Family, what: str) -> None:
    """Remove something, and add it again."""
    match what:
        case "listeners":
            for host, line in (
                (mesh.rc, f"client {CLIENT_PORT}"),
                (mesh.rs, f"relay {RELAY_PORT}"),
            ):
                host.write("listeners", f"del {line}")
                host.write("listeners", f"add {line}")
        case "peers":
            peer = family.at(family.rs, RELAY_PORT)
            mesh.rc.write("peers", f"del {peer}")
            mesh.rc.write("peers", f"add {peer} low 1 high 4 key 1")
        case "routes":
            mesh.rc.write("routes", f"del mark {mark(family):#x}")
            mesh.route(family)
        case "exits":
            lines = mesh.rs.lines("exits")
            mesh.rs.write("exits", *(f"del {line}" for line in lines))
            mesh.rs.write("exits", *lines)
        case _:
            for host in mesh.relays:
                host.write("keys", "del 1")
                host.write("keys", f"add 1 {'11' * 32}")


def test_two_writers_and_a_reader(mesh: Mesh) -> None:
    """Each write is whole: neither is lost, and no reader sees half of one."""
    stop = threading.Event()
    odd: list[list[str]] = []

    def read() -> None:
        while not stop.is_set():
            marks = [line.split()[2] for line in mesh.rs.lines("routes")]
            if len(marks) % 10:
                odd.append(marks)

    def write(base: int) -> None:
        for _ in range(times(30)):
            mesh.rs.write("routes", *(f"add mark {base + n} direct" for n in range(10)))
            mesh.rs.write("routes", *(f"del mark {base + n}" for n in range(10)))

    with ThreadPoolExecutor(3) as workers:
        reader = workers.submit(read)
        writers = [workers.submit(write, base) for base in (1000, 2000)]
        try:
            for writer in writers:
                writer.result(timeout=60 * ROUNDS)
        finally:
            stop.set()
        reader.result(timeout=60)
    assert not odd
    assert mesh.rs.lines("routes") == []
