# SPDX-License-Identifier: GPL-2.0-only
"""Paths of more than two relays: rc, some in between, rs."""

import pytest

from tests.kernel.between import path, relays_between
from tests.kernel.mesh import Mesh
from tests.kernel.topology import Family
from tests.kernel.traffic import Payload, connect, echo, exchange, is_refused, serving


@pytest.mark.parametrize("count", [1, 7])
def test_path_of_many_relays(mesh: Mesh, family: Family, count: int) -> None:
    """Up to 8 relays follow rc; the last one is rs."""
    with relays_between(mesh, family, count) as addresses, serving(mesh.s, family, echo) as at:
        mesh.route(family, path(family, addresses))
        for number in range(2):
            with connect(mesh.c, family, at.address, at.port, bound=60) as sock:
                stream = Payload(300_000, seed=number)
                exchange(sock, out=stream, into=stream)
        assert at.peers == [family.rs_inside] * 2
        mesh.wait_idle()


def test_relay_between_that_is_gone(mesh: Mesh, family: Family) -> None:
    """The client gets a reset."""
    with relays_between(mesh, family, 1) as addresses:
        mesh.route(family, path(family, [addresses[0], family.address(20, 9)]))
        assert is_refused(mesh.c, family, family.server, 80, bound=60)
