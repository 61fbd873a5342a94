# SPDX-License-Identifier: GPL-2.0-only
"""Steering without conntrack: table raw marks the flows, and the module itself takes them."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.mesh import CLIENT_PORT, NO_STEERING, Mesh, mark
from tests.kernel.topology import Family


def marks(family: Family) -> str:
    """The only rules that this needs."""
    return (
        "*raw\n:KTCP - [0:0]\n-A PREROUTING -i to-c -j KTCP\n"
        f"-A KTCP -d {family.prefix(3)} -p tcp -j MARK --set-mark {mark(family):#x}\nCOMMIT\n"
    )


@contextmanager
def untracked(mesh: Mesh, family: Family) -> Iterator[None]:
    """Let rc take the flows of a family ahead of conntrack."""
    mesh.rc.write("listeners", f"del client {CLIENT_PORT}")
    mesh.rc.write("listeners", f"add client {CLIENT_PORT} untracked")
    with mesh.steered(family, NO_STEERING):
        mesh.rc.run([f"{family.iptables}-restore"], stdin=marks(family))
        try:
            yield
        finally:
            mesh.rc.run([f"{family.iptables}-restore"], stdin="*raw\nCOMMIT\n")
