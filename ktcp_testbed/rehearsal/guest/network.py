# SPDX-License-Identifier: GPL-2.0-only
"""Makes the hosts of a scene: namespaces, links with their delays, addresses, routes."""

from collections.abc import Sequence
from typing import Any

from ktcp_testbed.rehearsal.guest.namespace import must

# The packets that netem holds; with its default of 1,000 it would drop those of a fast sender.
QUEUE_PACKETS = 100_000

# Of interfaces to come: duplicate address detection would take seconds.
PLAIN = ("net.ipv6.conf.default.accept_dad=0",)

# What ktcp_tunables gives a relay.
FORWARDING = (
    "net.ipv4.ip_forward=1",
    "net.ipv6.conf.all.forwarding=1",
    "net.ipv4.tcp_fastopen=3",
    "net.ipv4.tcp_rmem=4096 131072 33554432",
    "net.ipv4.tcp_wmem=4096 16384 33554432",
)


def build(scene: dict[str, Any]) -> None:
    """Make everything; one run of a program does many things, since each run takes a moment.

    Raises:
        CommandError: One of them failed.
    """
    must(["modprobe", "--all", "veth", "sch_netem"])
    batch("ip", [f"netns add {host['name']}" for host in scene["hosts"]])
    for host in scene["hosts"]:
        sysctl(host["name"], PLAIN)
    batch("ip", [made(link) for link in scene["links"]])
    for host in scene["hosts"]:
        furnish(host, scene)


def made(link: dict[str, Any]) -> str:
    """Write what makes a link."""
    one, other = link["ends"]
    return (
        f"link add {one['device']} netns {one['host']} type veth "
        f"peer name {other['device']} netns {other['host']}"
    )


def furnish(host: dict[str, Any], scene: dict[str, Any]) -> None:
    """Give a host its addresses, routes and delays."""
    name = host["name"]
    ends = [
        (end, link["rtt_us"])
        for link in scene["links"]
        for end in link["ends"]
        if end["host"] == name
    ]
    routes = [route for route in scene["routes"] if route["host"] == name]
    lines = [
        "link set lo up",
        *(f"addr add {own} dev lo" for own in host["addresses"]),
    ]
    for end, _ in ends:
        lines += [f"addr add {own} dev {end['device']}" for own in end["addresses"]]
        lines.append(f"link set {end['device']} up")
    lines += [
        f"route add {route['prefix']} via {route['via']} dev {route['device']}" for route in routes
    ]
    batch("ip", lines, name)
    if host["forwards"]:
        sysctl(name, FORWARDING)
    delays = [
        f"qdisc add dev {end['device']} root netem delay {rtt // 2}us limit {QUEUE_PACKETS}"
        for end, rtt in ends
    ]
    batch("tc", delays, name)


def sysctl(host: str, values: Sequence[str]) -> None:
    """Set kernel parameters of a host."""
    must(["ip", "netns", "exec", host, "sysctl", "-qw", *values])


def batch(tool: str, lines: Sequence[str], host: str = "") -> None:
    """Run many commands of a tool in one go, in a host or in none."""
    inside = ["-n", host] if host else []
    must([tool, *inside, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))
