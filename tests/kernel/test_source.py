# SPDX-License-Identifier: GPL-2.0-only
"""A relay with several addresses: its legs come from the one that its peers admit."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.test_ports import FEW, few_ports
from tests.kernel.topology import Family
from tests.kernel.traffic import echo, fetch, serving
from tests.kernel.wait import until


def outer(family: Family) -> str:
    """The address of rc that no route to rs prefers: the one on the client's link."""
    return family.address(1, 1)


def setting(family: Family) -> str:
    """The name of the setting for a family."""
    return "source6" if ":" in family.client else "source4"


@contextmanager
def only_from(mesh: Mesh, family: Family, address: str) -> Iterator[None]:
    """Within this block rs admits legs from one address."""
    others = ["!", "-s", address, "-p", "tcp", "--dport", f"{RELAY_PORT}"]
    rule = ["INPUT", *others, "-j", "REJECT", "--reject-with", "tcp-reset"]
    mesh.rs.run([family.iptables, "-A", *rule])
    try:
        yield
    finally:
        mesh.rs.run([family.iptables, "-D", *rule])


def meet_again(mesh: Mesh, family: Family) -> str:
    """Forget rs and all connections to it, and name it anew."""
    peer = family.at(family.rs, RELAY_PORT)
    mesh.rc.write("peers", f"del {peer}")
    mesh.rc.write("peers", f"add {peer} low 1 high 4 key 1")
    return peer


def test_legs_come_from_the_address_that_is_set(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("settings", f"{setting(family)} {outer(family)}")
    with only_from(mesh, family, outer(family)), serving(mesh.s, family, echo) as at:
        peer = meet_again(mesh, family)
        mesh.wait_peer(peer, "up")
        until(lambda: mesh.peer(peer)["ready"] == "4", "the pool is not filled")
        assert fetch(mesh.c, family, at) == family.rs_inside
        mesh.rc.write("settings", "conn_pool off")
        until(lambda: mesh.peer(peer)["ready"] == "0", "legs are kept")
        assert fetch(mesh.c, family, at) == family.rs_inside
        assert mesh.peer(peer)["failures"] == "0"


def test_without_the_setting_the_route_decides(mesh: Mesh, family: Family) -> None:
    with only_from(mesh, family, outer(family)):
        peer = meet_again(mesh, family)
        mesh.wait_peer(peer, "down")


def test_an_address_that_the_relay_has_not_is_left_aside(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("settings", f"{setting(family)} {family.address(2, 99)}")
    with serving(mesh.s, family, echo) as at:
        peer = meet_again(mesh, family)
        until(lambda: mesh.peer(peer)["ready"] == "4", "the pool is not filled")
        assert fetch(mesh.c, family, at) == family.rs_inside


def test_ports_that_are_used_again_keep_the_address(mesh: Mesh, family: Family) -> None:
    """Legs that are made where all ports are in TIME_WAIT come from it too."""
    mesh.rc.write("settings", f"{setting(family)} {outer(family)}", "conn_pool off")
    with (
        only_from(mesh, family, outer(family)),
        few_ports(mesh.rc, FEW),
        serving(mesh.s, family, echo) as at,
    ):
        peer = meet_again(mesh, family)
        mesh.wait_peer(peer, "up")
        seen = [fetch(mesh.c, family, at) for _ in range(3 * FEW)]
        assert seen == [family.rs_inside] * (3 * FEW)
        assert mesh.peer(peer)["failures"] == "0"
