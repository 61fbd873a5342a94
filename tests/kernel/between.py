# SPDX-License-Identifier: GPL-2.0-only
"""Additional relays between rc and rs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.kernel.mesh import KEY, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import Family, delete


@contextmanager
def relays_between(mesh: Mesh, family: Family, count: int) -> Iterator[list[str]]:
    """Make `count` relays that hang on rc; yields their addresses in the order of the path.

    They reach each other and rs through rc, which does not matter here.
    """
    hosts = [Namespace(f"m{number}") for number in range(1, count + 1)]
    delete(*hosts)
    addresses = [family.address(20 + number, 2) for number in range(1, count + 1)]
    following = [*addresses[1:], family.rs]
    try:
        for number, host in enumerate(hosts, start=1):
            attach(mesh.rc, family, host, 20 + number)
            route_back(mesh, family, 20 + number)
        for host, next_relay in zip(hosts, following, strict=True):
            host.write("keys", f"add 1 {KEY}")
            peer = family.at(next_relay, RELAY_PORT)
            host.write("peers", f"add {peer} low 1 high 2 key 1")
            host.write("listeners", f"add relay {RELAY_PORT}")
        if addresses:
            first = family.at(addresses[0], RELAY_PORT)
            mesh.rc.write("peers", f"add {first} low 1 high 2 key 1")
        yield addresses
    finally:
        for number in range(1, count + 1):
            route_back(mesh, family, 20 + number, verb="del")
        delete(*hosts)


def attach(to: Namespace, family: Family, host: Namespace, link: int) -> None:
    """Make `host`, with a link to another one and a default route there."""
    near, far = family.address(link, 1), family.address(link, 2)
    nodad = ["nodad"] if ":" in near else []
    here, there = f"to-{host.name}", f"to-{to.name}"
    ends = ["type", "veth", "peer", "name", there, "netns", host.name]
    for words in (
        ["netns", "add", host.name],
        ["-n", host.name, "link", "set", "lo", "up"],
        ["link", "add", here, "netns", to.name, *ends],
        ["-n", to.name, "addr", "add", f"{near}/{family.bits}", "dev", here, *nodad],
        ["-n", to.name, "link", "set", here, "up"],
        ["-n", host.name, "addr", "add", f"{far}/{family.bits}", "dev", there, *nodad],
        ["-n", host.name, "link", "set", there, "up"],
        ["-n", host.name, "route", "add", "default", "via", near],
    ):
        subprocess.run(["ip", *words], check=True, timeout=60)


def route_back(mesh: Mesh, family: Family, link: int, *, verb: str = "add") -> None:
    """Give rs a route to these relays through rc."""
    mesh.rs.run(["ip", "route", verb, family.prefix(link), "via", family.rc], check=verb == "add")


def path(family: Family, addresses: list[str]) -> str:
    """`via` of a route over these relays and rs."""
    return "via " + ",".join(family.at(one, RELAY_PORT) for one in (*addresses, family.rs))
