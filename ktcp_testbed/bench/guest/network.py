# SPDX-License-Identifier: GPL-2.0-only
r"""The chain of namespaces, client -- relay -- ... -- relay -- server, and its delays.

::

    c ---- rc ==== (m1 ==== m2 ==== ...) rs ---- s
    \_____________________ direct ____________/

Each leg is a veth pair. netem on both ends adds half of the round-trip time each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ktcp_testbed.bench.guest.job import Family, Job
from ktcp_testbed.bench.guest.namespace import Namespace, run

# The packets that netem holds; with its default of 1,000 it would drop those of a fast sender.
QUEUE_PACKETS = 100_000
DIRECT = 99

# TCP saves no metrics: otherwise a download begins with the slow-start threshold of an earlier one,
# and is slower or faster by a round trip because of it. Cookies of TCP Fast Open are kept.
# Ports are those of ktcp_tunables, for more connections than the default range has room for.
HOST_SYSCTLS = {
    "net.ipv4.tcp_no_metrics_save": "1",
    "net.ipv4.ip_local_port_range": "10240 65535",
}

# What ktcp_tunables gives a relay; every way gets the same.
RELAY_SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.tcp_fastopen": "3",
    "net.ipv4.tcp_rmem": "4096 131072 33554432",
    "net.ipv4.tcp_wmem": "4096 16384 33554432",
}


@dataclass(frozen=True)
class Link:
    """A leg, or the direct path: two ends, the nearer to the client first."""

    number: int
    near: Namespace
    far: Namespace
    rtt_ms: float
    loss_percent: float = 0.0

    def devices(self) -> tuple[str, str]:
        """The interfaces' names, which say where they lead."""
        suffix = "-x" if self.number == DIRECT else ""
        return f"to-{self.far.name}{suffix}", f"to-{self.near.name}{suffix}"

    def ends(self) -> Iterator[tuple[Namespace, str]]:
        """Both ends: the namespace and its interface."""
        near, far = self.devices()
        yield self.near, near
        yield self.far, far


class Network:
    """All namespaces, links and addresses of a job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        middle = [f"m{number}" for number in range(1, len(job.legs_ms) - 2)]
        names = ["c", "rc", *middle, "rs", "s"] if len(job.legs_ms) > 2 else ["c", "rc", "s"]
        self.hosts = [Namespace(name) for name in names]
        self.client, *relays, self.server = self.hosts
        self.relays = tuple(relays)
        self.links = [
            Link(
                number=number,
                near=near,
                far=far,
                rtt_ms=rtt,
                loss_percent=job.loss_percent if number == 1 else 0.0,
            )
            for number, ((near, far), rtt) in enumerate(
                zip(pairwise(self.hosts), job.legs_ms, strict=True), 1
            )
        ]
        self.direct = Link(
            DIRECT, self.client, self.server, job.direct_ms, loss_percent=job.loss_percent
        )

    def address(self, link: Link, host: Namespace) -> str:
        """The address of a host on one of its links."""
        place = 1 if host is link.near else 2
        return address(self.job.family, link.number, place)

    def entry(self, number: int) -> str:
        """The address at which relay ``number`` (from 0) is reached from the client's side."""
        return self.address(self.links[number], self.relays[number])

    @property
    def server_address(self) -> str:
        """The server's address behind the relays."""
        return self.address(self.links[-1], self.server)

    @property
    def direct_address(self) -> str:
        """The server's address on the path that passes by the relays."""
        return self.address(self.direct, self.server)

    def build(self) -> None:
        """Make namespaces, links, addresses and routes."""
        for host in self.hosts:
            run(["ip", "netns", "add", host.name])
            run(["ip", "-n", host.name, "link", "set", "lo", "up"])
        for link in [*self.links, self.direct]:
            self.join(link)
        for position, host in enumerate(self.hosts):
            self.route(position, host)
        for host in self.hosts:
            host.sysctl(HOST_SYSCTLS)
        for relay in self.relays:
            relay.sysctl(RELAY_SYSCTLS)

    def join(self, link: Link) -> None:
        """Make a link and give both ends an address."""
        near, far = link.devices()
        ends = ["netns", link.near.name, "type", "veth", "peer", "name", far, "netns"]
        run(["ip", "link", "add", near, *ends, link.far.name])
        nodad = ["nodad"] if self.job.family == "ipv6" else []
        for host, device in link.ends():
            prefix = f"{self.address(link, host)}/{prefix_length(self.job.family)}"
            run(["ip", "-n", host.name, "addr", "add", prefix, "dev", device, *nodad])
            run(["ip", "-n", host.name, "link", "set", device, "up"])

    def route(self, position: int, host: Namespace) -> None:
        """Give a host routes to the links that it is not on."""
        for link in self.links:
            if host in (link.near, link.far):
                continue
            ahead = self.hosts.index(link.near) >= position
            via = self.links[position] if ahead else self.links[position - 1]
            gateway = self.address(via, via.far if ahead else via.near)
            net = network(self.job.family, link.number)
            run(["ip", "-n", host.name, "route", "add", net, "via", gateway])

    def delay(self) -> None:
        """Give every link its round-trip time, loss and bandwidth."""
        for link in [*self.links, self.direct]:
            words = ["delay", f"{link.rtt_ms * 500:.0f}us", "limit", str(QUEUE_PACKETS)]
            if link.loss_percent:
                words += ["loss", f"{link.loss_percent:g}%"]
            if self.job.bandwidth_mbit:
                words += ["rate", f"{self.job.bandwidth_mbit:g}mbit"]
            for host, device in link.ends():
                tc = ["tc", "-n", host.name, "qdisc", "replace", "dev", device, "root"]
                run([*tc, "netem", *words])

    def undelay(self) -> None:
        """Remove delay, loss and limits, to measure work instead of distance."""
        for link in [*self.links, self.direct]:
            for host, device in link.ends():
                run(["tc", "-n", host.name, "qdisc", "del", "dev", device, "root"])

    def forget(self) -> None:
        """Remove what hosts have learnt about each other: neighbours, and metrics of TCP."""
        for host in self.hosts:
            run(["ip", "-n", host.name, "neigh", "flush", "all"])
            run(["ip", "-n", host.name, "tcp_metrics", "flush", "all"])


def address(family: Family, link: int, place: int) -> str:
    """The address of the nearer (1) or farther (2) end of a link."""
    return f"10.77.{link}.{place}" if family == "ipv4" else f"fd77:0:0:{link}::{place}"


def network(family: Family, link: int) -> str:
    """The prefix of a link."""
    return f"10.77.{link}.0/24" if family == "ipv4" else f"fd77:0:0:{link}::/64"


def prefix_length(family: Family) -> int:
    """The length of that prefix."""
    return 24 if family == "ipv4" else 64


def endpoint(host: str, port: int) -> str:
    """Address and port as programs and URLs want them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parted(place: str) -> tuple[str, int]:
    """Split what ``endpoint`` made into address and port."""
    host, _, port = place.rpartition(":")
    return host.strip("[]"), int(port)
