# SPDX-License-Identifier: GPL-2.0-only
"""What rc's pool of connections to rs says of itself, and which connections there are."""

from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.topology import Family
from tests.kernel.wait import until


def peer(family: Family) -> str:
    """The name of rs on rc."""
    return family.at(family.rs, RELAY_PORT)


def pool(mesh: Mesh, family: Family) -> dict[str, int]:
    """The figures of rc's pool: ready, connecting, hits, misses, failures, rtt_us."""
    said = mesh.peer(peer(family))
    return {name: int(value) for name, value in said.items() if name != "state"}


def wait_ready(mesh: Mesh, family: Family, count: int) -> None:
    """Wait until `ready` connections wait and none is being made."""
    last: dict[str, int] = {}

    def settled() -> bool:
        last.update(pool(mesh, family))
        return (last["ready"], last["connecting"]) == (count, 0)

    try:
        until(settled, f"not {count} ready")
    except TimeoutError as error:
        raise TimeoutError(f"{error}; {last}") from None


def legs(mesh: Mesh, family: Family) -> set[int]:
    """The ports of rc's connections to rs."""
    to_relay = ["dport", "=", f":{RELAY_PORT}"]
    rows = mesh.rc.run(["ss", f"-{family.name[1]}", "-tnH", *to_relay]).stdout.splitlines()
    return {int(row.split()[3].rpartition(":")[2]) for row in rows}


def fill(mesh: Mesh, family: Family, count: int) -> set[int]:
    """Have so many connections wait; the ports of these, without the watched one."""
    mesh.rc.write("peers", f"set {peer(family)} low 0 high 0")
    wait_ready(mesh, family, 0)
    until(lambda: len(legs(mesh, family)) == 1, "no connection is watched")
    watched = legs(mesh, family)
    mesh.rc.write("peers", f"set {peer(family)} low {count} high {count}")
    wait_ready(mesh, family, count)
    return legs(mesh, family) - watched
