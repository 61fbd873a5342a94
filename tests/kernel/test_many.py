# SPDX-License-Identifier: GPL-2.0-only
"""Many splits at once, and the threads that serve them."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.kernel.mesh import Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family
from tests.kernel.traffic import Payload, Server, connect, echo, fetch, receive, send, serving
from tests.kernel.wait import SCALE, until

CROWD = 200
# Threads, where their number is bounded.
MOST = 40
# Bytes that each client sends.
MESSAGE = max(int((64 << 10) * SCALE), 4 << 10)


@contextmanager
def thread_pool(host: Namespace, low: int, high: int) -> Iterator[None]:
    """Set watermarks within the block; they hold for the whole module."""
    before = host.lines("thread_pool")
    host.write("thread_pool", f"low {low}", f"high {high}")
    try:
        yield
    finally:
        host.write("thread_pool", *before)


def threads(host: Namespace) -> dict[str, int]:
    """The counts of `thread_pool`."""
    return {name: int(value) for name, value in host.comments("thread_pool").items()}


def wait_rest(host: Namespace, low: int, high: int) -> None:
    """Wait until no thread is busy and `ready` are ready, at the same time.

    A thread that has done its work counts as busy until it is ready or has ended.
    """

    def rests() -> bool:
        now = threads(host)
        return now["busy"] == 0 and low <= now["ready"] <= high

    until(rests, f"threads are busy, or not {low} to {high} are ready")


def talk(mesh: Mesh, family: Family, server: Server, number: int) -> None:
    """One client of many, with bytes of its own, which all fit into buffers on the way."""
    message = Payload(MESSAGE, seed=number)
    with connect(mesh.c, family, server.address, server.port, bound=120) as sock:
        send(sock, message)
        receive(sock, message)


@pytest.mark.parametrize("pooled", ["on", "off"])
def test_crowd_at_once(mesh: Mesh, family: Family, pooled: str) -> None:
    for relay in mesh.relays:
        relay.write("settings", f"thread_pool {pooled}")
    opened = mesh.rs.stat("splits_opened_total")
    with serving(mesh.s, family, echo) as at, ThreadPoolExecutor(CROWD) as clients:
        work = [clients.submit(talk, mesh, family, at, number) for number in range(CROWD)]
        for one in work:
            one.result()
        at.join()
    assert len(at.peers) == CROWD
    assert mesh.rs.stat("splits_opened_total") == opened + CROWD
    mesh.wait_idle()
    for relay in mesh.relays:
        assert relay.stat("splits_opened_total") == relay.stat("splits_closed_total")
        assert relay.stat("splits_active") == 0


@contextmanager
def open_splits(mesh: Mesh, family: Family, count: int) -> Iterator[None]:
    """Open `count` splits, each of which has passed a byte in both directions."""
    with serving(mesh.s, family, echo) as at, ExitStack() as stack:
        for _ in range(count):
            sock = stack.enter_context(connect(mesh.c, family, at.address, at.port))
            send(sock, Payload(1))
            receive(sock, Payload(1))
        yield


def test_pool_keeps_between_its_marks(mesh: Mesh, family: Family) -> None:
    # With this engine splits keep their threads.
    mesh.rc.write("settings", "engine threads")
    with thread_pool(mesh.rc, low=4, high=6):
        until(lambda: 4 <= threads(mesh.rc)["ready"] <= 6, "not between the marks")
        with open_splits(mesh, family, 20):
            assert threads(mesh.rc)["busy"] >= 20
            until(lambda: 4 <= threads(mesh.rc)["ready"] <= 6, "not refilled")
        mesh.wait_idle()
        wait_rest(mesh.rc, 4, 6)


def test_marks_change_at_run_time(mesh: Mesh) -> None:
    with thread_pool(mesh.rc, low=50, high=60):
        until(lambda: 50 <= threads(mesh.rc)["ready"] <= 60, "does not grow")
        mesh.rc.write("thread_pool", "low 1", "high 2")
        until(lambda: 1 <= threads(mesh.rc)["ready"] <= 2, "does not shrink")
        mesh.rc.write("thread_pool", "high 40", "low 30")
        until(lambda: 30 <= threads(mesh.rc)["ready"] <= 40, "does not grow again")


def test_marks_are_module_wide(mesh: Mesh) -> None:
    with thread_pool(mesh.rc, low=3, high=5):
        assert mesh.rs.lines("thread_pool") == ["low 3", "high 5"]


@contextmanager
def at_most(count: int) -> Iterator[None]:
    """Within this block there are at most `count` threads, in all namespaces together."""
    parameter = Path("/sys/module/ktcp/parameters/threads_max")
    parameter.write_text(str(count))
    try:
        yield
    finally:
        parameter.write_text("0")


@pytest.mark.parametrize("pooled", ["on", "off"])
def test_threads_are_bounded(mesh: Mesh, family: Family, pooled: str) -> None:
    """Also the sum of several namespaces; flows that would need more pass unsplit."""
    for relay in mesh.relays:
        # With this engine splits keep their threads: here each flow needs four.
        relay.write("settings", "engine threads", f"thread_pool {pooled}")
    passed = mesh.rc.stat("limit_passed_total")
    with (
        thread_pool(mesh.rc, low=1, high=2),
        serving(mesh.s, family, echo) as at,
        at_most(MOST),
        ExitStack() as stack,
    ):
        until(lambda: threads(mesh.rc)["ready"] <= 2, "the pool does not shrink")
        for _ in range(MOST // 2):
            sock = stack.enter_context(connect(mesh.c, family, at.address, at.port))
            send(sock, Payload(1))
            receive(sock, Payload(1))
            counts = threads(mesh.rc)
            assert counts["ready"] + counts["busy"] <= counts["most"] == MOST
        assert at.peers[0] == family.rs_inside
        assert at.peers[-1] == family.client
        assert mesh.rc.stat("limit_passed_total") > passed
        stack.close()
        mesh.wait_idle()
        until(lambda: fetch(mesh.c, family, at) == family.rs_inside, "nobody is split afterwards")


def test_threads_are_made_off_the_way(mesh: Mesh) -> None:
    """One manager makes them, on the last core, so that the other cores are free for traffic."""
    del mesh
    found = [path for path in Path("/proc").glob("[0-9]*/comm") if name(path) == "ktcp_manager"]
    [manager] = found
    status = manager.with_name("status").read_text(encoding="ascii")
    last = max(os.sched_getaffinity(0))
    assert f"Cpus_allowed_list:\t{last}\n" in status


def name(comm: Path) -> str:
    """A thread's name; empty if it has ended meanwhile."""
    try:
        return comm.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def test_pool_that_is_off_makes_threads(mesh: Mesh, family: Family) -> None:
    with thread_pool(mesh.rc, low=2, high=2):
        until(lambda: threads(mesh.rc)["ready"] == 2, "not filled")
        for relay in mesh.relays:
            relay.write("settings", "thread_pool off")
        before = threads(mesh.rc)["created"]
        with open_splits(mesh, family, 5):
            assert threads(mesh.rc)["created"] >= before + 10
        mesh.wait_idle()
        wait_rest(mesh.rc, 2, 2)


def test_pool_gives_threads_again(mesh: Mesh, family: Family) -> None:
    """In the steady state no thread is made for a connection."""
    with thread_pool(mesh.rc, low=16, high=64):
        with open_splits(mesh, family, 4):
            pass
        mesh.wait_idle()
        wait_rest(mesh.rc, 16, 64)
        before = threads(mesh.rc)["created"]
        for _ in range(10):
            with open_splits(mesh, family, 1):
                pass
            mesh.wait_idle()
        assert threads(mesh.rc)["created"] == before
