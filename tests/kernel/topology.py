# SPDX-License-Identifier: GPL-2.0-only
"""Makes four namespaces in a row, and removes them again."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from tests.kernel.namespace import Namespace
from tests.kernel.wait import until


@dataclass(frozen=True, kw_only=True)
class Family:
    """IPv4 or IPv6, and the addresses of the topology in it."""

    name: str
    number: socket.AddressFamily
    network: str
    bits: int

    def __str__(self) -> str:
        return self.name

    def address(self, link: int, host: int) -> str:
        """Address of a host on link 1 (c-rc), 2 (rc-rs) or 3 (rs-s)."""
        return self.network.format(link=link, host=host)

    def prefix(self, link: int) -> str:
        """The prefix of a link."""
        return f"{self.network.format(link=link, host='' if self.bits == 64 else 0)}/{self.bits}"

    def at(self, address: str, port: int) -> str:
        """ADDRESS:PORT as /proc/net/ktcp writes it."""
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    @property
    def client(self) -> str:
        """The client's address."""
        return self.address(1, 2)

    @property
    def rc(self) -> str:
        """Address of rc that rs sees."""
        return self.address(2, 1)

    @property
    def rs(self) -> str:
        """Address of rs that rc sees."""
        return self.address(2, 2)

    @property
    def rs_inside(self) -> str:
        """Address of rs that the server sees."""
        return self.address(3, 1)

    @property
    def server(self) -> str:
        """The server's address."""
        return self.address(3, 2)

    @property
    def iptables(self) -> str:
        """The name of the packet filter's program."""
        return "ip6tables" if self.number == socket.AF_INET6 else "iptables"


V4 = Family(name="v4", number=socket.AF_INET, network="10.99.{link}.{host}", bits=24)
V6 = Family(name="v6", number=socket.AF_INET6, network="fd99:0:0:{link}::{host}", bits=64)
FAMILIES = (V4, V6)


@dataclass(frozen=True)
class Topology:
    """The four hosts."""

    c: Namespace
    rc: Namespace
    rs: Namespace
    s: Namespace

    @property
    def hosts(self) -> tuple[Namespace, ...]:
        """All of them, from the client on."""
        return (self.c, self.rc, self.rs, self.s)

    @property
    def relays(self) -> tuple[Namespace, ...]:
        """Those that forward."""
        return (self.rc, self.rs)


def _batch(lines: Sequence[str], *, within: Namespace | None = None) -> None:
    """Run several commands of ip(8) in one go."""
    inside = ["-n", within.name] if within else []
    subprocess.run(
        ["ip", *inside, "-batch", "-"],
        input="\n".join(lines),
        text=True,
        check=True,
        timeout=60,
    )


@dataclass(frozen=True, kw_only=True)
class End:
    """A host's interface to a neighbour, and its number on the link."""

    host: Namespace
    device: str
    link: int
    last: int

    def configure(self) -> None:
        """Addresses, and up."""
        lines = [
            f"addr add {family.address(self.link, self.last)}/{family.bits} dev {self.device}"
            # Without duplicate address detection, which takes a second.
            + (" nodad" if family is V6 else "")
            for family in FAMILIES
        ]
        _batch([*lines, f"link set {self.device} up"], within=self.host)


def _ends(made: Topology) -> list[tuple[End, End]]:
    """The three links."""
    return [
        (
            End(host=made.c, device="to-rc", link=1, last=2),
            End(host=made.rc, device="to-c", link=1, last=1),
        ),
        (
            End(host=made.rc, device="to-rs", link=2, last=1),
            End(host=made.rs, device="to-rc", link=2, last=2),
        ),
        (
            End(host=made.rs, device="to-s", link=3, last=1),
            End(host=made.s, device="to-rs", link=3, last=2),
        ),
    ]


def _link(made: Topology) -> None:
    links = _ends(made)
    _batch(
        [
            f"link add {a.device} netns {a.host.name} type veth "
            f"peer name {b.device} netns {b.host.name}"
            for a, b in links
        ]
    )
    for ends in links:
        for end in ends:
            end.configure()


def _route(made: Topology) -> None:
    for family in FAMILIES:
        for host, destination, gateway in (
            (made.c, "default", family.address(1, 1)),
            (made.rc, family.prefix(3), family.rs),
            (made.rs, family.prefix(1), family.rc),
            (made.s, "default", family.rs_inside),
        ):
            _batch([f"route add {destination} via {gateway}"], within=host)


FORWARD = ["sysctl", "-q", "-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]


@contextmanager
def topology(prefix: str = "") -> Iterator[Topology]:
    """The hosts of the drawing in conftest.py; `prefix` distinguishes several sets of them.

    Leftovers of a killed run are removed first.
    """
    made = Topology(*(Namespace(f"{prefix}{name}") for name in ("c", "rc", "rs", "s")))
    delete(*made.hosts)
    try:
        _batch([f"netns add {host.name}" for host in made.hosts])
        for host in made.hosts:
            _batch(["link set lo up"], within=host)
        for relay in made.relays:
            relay.run(FORWARD)
        _link(made)
        _route(made)
        yield made
    finally:
        delete(*made.hosts)


def delete(*hosts: Namespace) -> None:
    """Delete the names of namespaces that still have one."""
    there = {line.split()[0] for line in _names()}
    for host in hosts:
        if host.name in there:
            subprocess.run(["ip", "netns", "del", host.name], check=True, timeout=60)


def _names() -> list[str]:
    listing = subprocess.run(
        ["ip", "netns", "list"], check=True, capture_output=True, text=True, timeout=60
    )
    return listing.stdout.splitlines()


def wait_gone(seen_from: Namespace, interface: str) -> None:
    """Wait until the far end of a link has died with its namespace."""
    until(
        lambda: seen_from.run(["ip", "link", "show", interface], check=False).returncode,
        f"{interface} of {seen_from.name} is still there",
        bound=60,
    )
