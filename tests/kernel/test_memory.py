# SPDX-License-Identifier: GPL-2.0-only
"""Without memory flows may end and writes may be refused, but nothing else goes wrong or leaks."""

import errno
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.kernel.faults import failed, failing, failing_once
from tests.kernel.mesh import CLIENT_PORT, KEY, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace, RefusedError
from tests.kernel.topology import V4, V6, Family, Topology
from tests.kernel.traffic import Payload, Server, connect, echo, receive, send, serving
from tests.kernel.wait import until

PEER = V4.at(V4.rs, RELAY_PORT)

# For each file a write, and one that undoes it.
WRITES = {
    "keys": ("add 7 " + KEY, "del 7"),
    "peers": (f"add {PEER} low 0 high 0 key 1", f"del {PEER}"),
    "routes": ("add mark 0x777 direct", "del mark 0x777"),
    "exits": ("allow 192.0.2.0/24", "del allow 192.0.2.0/24"),
    "listeners": (f"add client {CLIENT_PORT}", f"del client {CLIENT_PORT}"),
    "settings": ("buffer_bytes 8192", "buffer_bytes 16384"),
}


# More allocations than any write makes.
MOST_ALLOCATIONS = 50


def attempt(mesh: Mesh, family: Family, address: str, port: int) -> bool:
    """True if an echo came back complete; the connection may also be reset."""
    try:
        with connect(mesh.c, family, address, port, bound=4) as sock:
            send(sock, Payload(20_000))
            receive(sock, Payload(20_000))
    except (ConnectionError, TimeoutError):
        # Even an RST needs memory.
        return False
    return True


def is_split(mesh: Mesh, family: Family, at: Server) -> bool:
    """True if a connection is served through both relays."""
    return attempt(mesh, family, at.address, at.port) and at.peers[-1] == family.rs_inside


@pytest.mark.parametrize("percent", [5, 50])
def test_traffic(mesh: Mesh, family: Family, percent: int) -> None:
    """Every flow that is served is served correctly, and with memory back all are served."""
    with serving(mesh.s, family, echo) as at, ThreadPoolExecutor(8) as clients:
        with failing(percent):
            tried = [clients.submit(attempt, mesh, family, at.address, at.port) for _ in range(24)]
            for one in tried:
                one.result()
            assert failed(), "nothing failed"
        mesh.wait_idle()
        until(lambda: attempt(mesh, family, at.address, at.port), "nobody is served afterwards")
        # The peer may have been down, because it lacked memory itself.
        until(lambda: is_split(mesh, family, at), "nobody is split afterwards")


def test_listener_goes_on(mesh: Mesh, family: Family) -> None:
    """A connection that could not be accepted is accepted later, without another one coming."""
    with serving(mesh.s, family, echo) as at:
        # An accepted connection's socket is allocated many frames away from the module.
        with failing(100, depth=16):
            sock = connect(mesh.c, family, at.address, at.port)
            until(failed, "nothing failed")
        with sock:
            send(sock, Payload(100))
            receive(sock, Payload(100))


def state(host: Namespace, file: str) -> list[str]:
    """A file's configuration, without its counters."""
    return [] if file == "keys" else host.lines(file)


@pytest.mark.parametrize("file", WRITES)
def test_configuration(relay: Topology, file: str) -> None:
    """Whichever allocation fails, a write is applied as a whole or refused as a whole."""
    host = relay.rc
    host.write("keys", "add 1 " + KEY)
    errors = set()
    for line, back in (WRITES[file], WRITES[file][::-1]):
        before = state(host, file)
        for number in range(1, MOST_ALLOCATIONS):
            try:
                with failing_once(number) as came:
                    host.write(file, line)
            except (RefusedError, OSError) as error:
                errors.add(error.errno)
                assert state(host, file) == before
                continue
            if not came[0]:
                break
            # kvmalloc() succeeded in another way.
            host.write(file, back)
            assert state(host, file) == before
    assert errors == {errno.ENOMEM}


def test_what_failed_can_be_tried_again(relay: Topology) -> None:
    """Nothing is left of the failed write that would prevent it."""
    with failing(100), pytest.raises((RefusedError, OSError), match="allocate memory"):
        relay.rc.write("peers", f"add {V6.at(V6.rs, RELAY_PORT)} low 0 high 0 key 1")
    relay.rc.write("keys", "add 1 " + KEY)
    relay.rc.write("peers", f"add {V6.at(V6.rs, RELAY_PORT)} low 0 high 0 key 1")
