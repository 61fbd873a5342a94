# SPDX-License-Identifier: GPL-2.0-only
"""Names, hardware addresses, routes and delays of the guests, as text.

Pure. Each end delays the packets that it receives: they are redirected to an
ifb device with netem. On the sending side, netem would hold the sender's socket
memory, and TCP small queues (TSQ) would slow the sender down.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ktcp_testbed.lab.topology import Link, Topology

MANAGEMENT = "mgmt"
# The address that QEMU's user network gives to its one guest.
MANAGEMENT_ADDRESS = "10.0.2.15/24"

# Packets, enough for 215 ms at many times the speed of an emulated guest.
QUEUE_LIMIT = 100_000


@dataclass(frozen=True, kw_only=True)
class Interface:
    """A link interface of a guest."""

    name: str
    mac: str
    link: Link
    guest: str

    @property
    def ifb(self) -> str:
        """The device that delays what arrives here."""
        return f"ifb-{self.link.neighbour(self.guest)}"


def management_mac(topology: Topology, guest: str) -> str:
    """The hardware address of a guest's management interface."""
    return mac(0, [each.name for each in topology.guests].index(guest))


def mac(network: int, station: int) -> str:
    """A locally administered address: the network's number and the station's on it."""
    return f"52:54:00:{network >> 8:02x}:{network & 0xFF:02x}:{station:02x}"


def interfaces(topology: Topology, guest: str) -> list[Interface]:
    """The link interfaces of ``guest``, each named for its neighbour."""
    return [
        Interface(
            name=f"to-{link.neighbour(guest)}",
            mac=mac(topology.links.index(link) + 1, link.ends.index(guest) + 1),
            link=link,
            guest=guest,
        )
        for link in topology.links_of(guest)
    ]


def routes(topology: Topology, guest: str) -> list[tuple[Link, Link, str]]:
    """Each link that ``guest`` is not on, with its own link and the neighbour towards it.

    The path with the fewest links; of several, the first in the topology's order.
    """
    first_hop: dict[str, tuple[Link, str]] = {}
    queue = deque([guest])
    while queue:
        here = queue.popleft()
        for link in topology.links_of(here):
            there = link.neighbour(here)
            if there != guest and there not in first_hop:
                first_hop[there] = first_hop.get(here, (link, there))
                queue.append(there)
    found = []
    for link in topology.links:
        towards = next((end for end in first_hop if end in link.ends), None)
        if guest not in link.ends and towards is not None:
            own, neighbour = first_hop[towards]
            found.append((link, own, neighbour))
    return found


def half_delay_us(link: Link, overhead_us: float = 0) -> int:
    """The delay of one direction: half of the round trip, without the link's own time."""
    return max(0, round((link.rtt_ms * 1000 - overhead_us) / 2))


def netem(interface: Interface, delay_us: int, *, verb: str = "add") -> str:
    """The tc arguments that set the delay of what arrives at ``interface``."""
    return f"qdisc {verb} dev {interface.ifb} root netem delay {delay_us}us limit {QUEUE_LIMIT}"


def hosts(topology: Topology) -> str:
    """The guests' /etc/hosts: each name with each of its addresses."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    for guest in topology.guests:
        links = topology.links_of(guest.name)
        lines += [f"{link.address4(guest.name).ip} {guest.name}" for link in links]
        lines += [f"{link.address6(guest.name).ip} {guest.name}" for link in links]
        if not links:
            lines.append(f"127.0.1.1 {guest.name}")
    return "\n".join(lines) + "\n"


# Interfaces get their names here, since udev would have to know them before the
# seed disk is read. Drivers may still be loading, so wait for each interface.
RENAME = """\
renames=
rename() {
    tries=0
    while [ $tries -lt 300 ]; do
        for file in /sys/class/net/*/address; do
            read -r address <"$file"
            if [ "$address" = "$1" ]; then
                device=${file%/address}
                renames="${renames}link set dev ${device##*/} name $2
"
                return
            fi
        done
        sleep 0.1
        tries=$((tries + 1))
    done
    echo "no network interface has the address $1" >&2
    return 1
}
"""

# Loaded together: otherwise the kernel would start a program for each.
MODULES = "modprobe --all ifb sch_ingress sch_netem cls_matchall act_mirred\n"


def configure_script(topology: Topology, guest: str, delays_us: Mapping[str, int]) -> str:
    """The shell script that configures ``guest`` at every boot.

    Args:
        topology: the lab.
        guest: the name of the guest.
        delays_us: the delay of one direction for each link, by the link's name.
    """
    own = interfaces(topology, guest)
    parts = [
        "# Written by ./dev lab.\n",
        f"echo {guest} >/proc/sys/kernel/hostname\n",
        # A systemd unit would start one more program.
        "[ ! -d /sys/kernel/debug ] || mount -t debugfs debugfs /sys/kernel/debug\n",
        RENAME,
        f"rename {management_mac(topology, guest)} {MANAGEMENT}\n",
        *(f"rename {each.mac} {each.name}\n" for each in own),
        sysctls(topology.guest(guest).forwarding),
        MODULES if own else "",
        batch("ip", ["$renames", *ip_lines(topology, guest, own)]),
        batch("tc", tc_lines(own, delays_us)),
    ]
    return "".join(parts)


def sysctls(forwarding: bool) -> str:
    """Switch routing between the links on or off."""
    value = int(forwarding)
    return (
        f"echo {value} >/proc/sys/net/ipv4/ip_forward\n"
        f"echo {value} >/proc/sys/net/ipv6/conf/all/forwarding\n"
    )


def ip_lines(topology: Topology, guest: str, own: Sequence[Interface]) -> list[str]:
    """What ``ip -batch`` is to do: devices up, addresses, routes."""
    lines = [
        "link set lo up",
        f"link set {MANAGEMENT} up",
        f"address add {MANAGEMENT_ADDRESS} dev {MANAGEMENT}",
    ]
    for each in own:
        lines += [
            f"link add {each.ifb} type ifb",
            f"link set {each.ifb} up",
            f"link set {each.name} up",
            f"address add {each.link.address4(guest)} dev {each.name}",
            f"address add {each.link.address6(guest)} dev {each.name} nodad",
        ]
    for link, via, neighbour in routes(topology, guest):
        lines += [
            f"route add {link.subnet4} via {via.address4(neighbour).ip}",
            f"route add {link.subnet6} via {via.address6(neighbour).ip}",
        ]
    return lines


def tc_lines(own: Sequence[Interface], delays_us: Mapping[str, int]) -> list[str]:
    """What ``tc -batch`` is to do: send what arrives through a delay."""
    lines = []
    for each in own:
        lines += [
            netem(each, delays_us[each.link.name]),
            f"qdisc add dev {each.name} ingress",
            (
                f"filter add dev {each.name} parent ffff: protocol all matchall "
                f"action mirred egress redirect dev {each.ifb}"
            ),
        ]
    return lines


def batch(tool: str, lines: Sequence[str]) -> str:
    """A here-document of commands for ``tool``: one process instead of many."""
    if not lines:
        return ""
    return f"{tool} -batch - <<END\n" + "\n".join(lines) + "\nEND\n"
