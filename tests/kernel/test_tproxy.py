# SPDX-License-Identifier: GPL-2.0-only
"""Flows that reach KTCP by TPROXY are split, and fail open, like those by REDIRECT."""

from collections.abc import Iterator

import pytest

from tests.kernel.mesh import CLIENT_PORT, MODES, Mesh, mark
from tests.kernel.topology import Family
from tests.kernel.tproxy import tproxied
from tests.kernel.traffic import Payload, connect, echo, is_refused, receive, send, serving


@pytest.fixture(autouse=True)
def _tproxied(mesh: Mesh, family: Family) -> Iterator[None]:
    with tproxied(mesh, family):
        yield


def fetch(mesh: Mesh, family: Family, address: str, port: int) -> None:
    """An echo of some packets."""
    with connect(mesh.c, family, address, port) as sock:
        send(sock, Payload(100_000))
        receive(sock, Payload(100_000))


@pytest.mark.parametrize("mode", MODES, indirect=True)
def test_split(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at:
        for _ in range(3):
            fetch(mesh, family, at.address, at.port)
        assert at.peers == [family.rs_inside] * 3


def test_routed_while_draining(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at:
        mesh.rc.write("drain", "on")
        fetch(mesh, family, at.address, at.port)
        assert at.peers == [family.client]


def test_routed_without_a_listener(mesh: Mesh, family: Family) -> None:
    """The TPROXY rule is loaded, but nobody sets the bit that it matches."""
    with serving(mesh.s, family, echo) as at:
        mesh.rc.write("listeners", f"del client {CLIENT_PORT}")
        fetch(mesh, family, at.address, at.port)
        assert at.peers == [family.client]


def test_stranger_at_the_listener(mesh: Mesh, family: Family) -> None:
    """The listener's own address is never a target, not even with the mark of a route."""
    own = f"-t mangle -A KTCP -p tcp -d {family.rc} --dport {CLIENT_PORT}"
    mesh.rc.run([family.iptables, *own.split(), "-j", "MARK", "--set-mark", f"{mark(family):#x}"])
    counted = mesh.rc.stat("not_redirected_total")
    assert is_refused(mesh.c, family, family.rc, CLIENT_PORT)
    # The relay itself denies it, and asks no other relay.
    assert mesh.rc.stat("not_redirected_total") == counted + 1
