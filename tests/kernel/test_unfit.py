# SPDX-License-Identifier: GPL-2.0-only
"""Flows that a split could not honour are routed, and other programs' marks stay."""

import random
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from tests.kernel import packet
from tests.kernel.mesh import TAKEN, Mesh, mark, steering
from tests.kernel.packet import Segment
from tests.kernel.topology import FAMILIES, V4, V6, Family
from tests.kernel.tproxy import tproxied
from tests.kernel.traffic import Payload, connect, echo, fetch, receive, send, serving
from tests.kernel.untracked import untracked
from tests.kernel.wait import until

IPPROTO_MPTCP = 262
TCP_MD5SIG = 14
PASSWORD = b"of two routers"
RECORD_ROUTE = bytes([7, 7, 4, 0, 0, 0, 0, 0])
# Other programs' marks, beside the route's in the lower half.
MASK = 0xFFFF
PACKET_MARK, CONNECTION_MARK, OTHERS = 0x70000, 0x120000, 0x7FFF0000


def unfit(mesh: Mesh) -> int:
    """How many unfit flows rc let pass."""
    return mesh.rc.stat("unfit_passed_total")


@contextmanager
def rule(mesh: Mesh, family: Family, table: str, text: str) -> Iterator[None]:
    """Within this block, have a rule at the head of a chain of rc's packet filter."""
    program = [family.iptables, "-t", table]
    chain, words = text.split(maxsplit=1)
    mesh.rc.run([*program, "-I", chain, *words.split()])
    try:
        yield
    finally:
        mesh.rc.run([*program, "-D", chain, *words.split()])


@pytest.mark.parametrize("zone", ["--zone 7", "--zone-orig 7"])
def test_conntrack_zone(mesh: Mesh, family: Family, zone: str) -> None:
    """At accept, the module would look the flow up in the default zone only."""
    passed = unfit(mesh)
    with (
        rule(mesh, family, "raw", f"PREROUTING -i to-c -p tcp -j CT {zone}"),
        serving(mesh.s, family, echo) as at,
    ):
        assert fetch(mesh.c, family, at) == family.client
    assert unfit(mesh) == passed + 1


def test_untracked(mesh: Mesh, family: Family) -> None:
    with (
        rule(mesh, family, "raw", "PREROUTING -i to-c -p tcp -j CT --notrack"),
        serving(mesh.s, family, echo) as at,
    ):
        assert fetch(mesh.c, family, at) == family.client


def test_host_that_speaks_to_itself(mesh: Mesh, family: Family) -> None:
    before = mesh.rc.stat("early_syn_total")
    steered = f"PREROUTING -i lo -p tcp -j MARK --set-mark {mark(family):#x}"
    with (
        rule(mesh, family, "mangle", steered),
        serving(mesh.rc, family, echo, address=family.rc) as at,
    ):
        assert fetch(mesh.rc, family, at) == family.rc
    assert mesh.rc.stat("early_syn_total") == before


def sign(sock: socket.socket, family: Family, address: str) -> None:
    """Sign all segments to and from an address (RFC 2385)."""
    packed = socket.inet_pton(family.number, address)
    place = struct.pack("=HH", family.number, 0)
    place += packed if family is V4 else bytes(4) + packed
    key = struct.pack("=BBHI", 0, 0, len(PASSWORD), 0) + PASSWORD.ljust(80, b"\0")
    sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, place.ljust(128, b"\0") + key)


def seen_by_server(family: Family, listener: socket.socket, k: socket.socket) -> str:
    """Connect, exchange some bytes, and return the address that the server sees."""
    with listener, k:
        listener.bind((family.server, 0))
        listener.listen()
        k.connect(listener.getsockname()[:2])
        accepted, peer = listener.accept()
        with accepted:
            send(k, Payload(1000))
            receive(accepted, Payload(1000))
    return str(peer[0])


def test_signed_segments(mesh: Mesh, family: Family) -> None:
    """As with BGP: a relay does not know the password."""
    passed = unfit(mesh)
    listener, k = mesh.s.socket(family.number), mesh.c.socket(family.number)
    sign(listener, family, family.client)
    sign(k, family, family.server)
    assert seen_by_server(family, listener, k) == family.client
    assert unfit(mesh) == passed + 1


def test_multipath(mesh: Mesh, family: Family) -> None:
    """Additional subflows would not find the connection that ends at the relay."""

    def multipath(host: str) -> socket.socket:
        namespace = getattr(mesh, host)
        with namespace.entered():
            made = socket.socket(family.number, socket.SOCK_STREAM, IPPROTO_MPTCP)
        made.settimeout(30)
        return made

    assert seen_by_server(family, multipath("s"), multipath("c")) == family.client


def test_ip_options(mesh: Mesh) -> None:
    passed = unfit(mesh)
    k = mesh.c.socket(V4.number)
    k.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, RECORD_ROUTE)
    assert seen_by_server(V4, mesh.s.socket(V4.number), k) == V4.client
    assert unfit(mesh) == passed + 1


@pytest.mark.parametrize("how", ["redirect", "tproxy", "untracked"])
def test_syn_sent_again_after_it_passed(mesh: Mesh, family: Family, how: str) -> None:
    """A flow is split at its first SYN or never, since that SYN may have arrived."""
    drop = ["INPUT", "-p", "tcp", "--dport", "8081", "-j", "DROP"]
    syn = Segment(
        source=family.client,
        source_port=random.randrange(1024, 32768),
        target=family.server,
        target_port=8081,
    )
    with ExitStack() as stack:
        if how == "tproxy":
            stack.enter_context(tproxied(mesh, family))
        elif how == "untracked":
            stack.enter_context(untracked(mesh, family))
        mesh.s.run([family.iptables, "-A", *drop])
        stack.callback(mesh.s.run, [family.iptables, "-D", *drop])
        before = mesh.rc.stat("early_syn_total")
        passed = mesh.rc.stat("drain_passed_total")
        mesh.rc.write("drain", "on")
        packet.send(mesh.c, *[syn] * 3)
        until(lambda: mesh.rc.stat("drain_passed_total") > passed, "the SYN does not come")
        mesh.rc.write("drain", "off")
        packet.send(mesh.c, *[syn] * 3)
        # Comes behind them, so they have been handled when this one is served.
        with serving(mesh.s, family, echo) as at:
            assert fetch(mesh.c, family, at) == family.rs_inside
        assert mesh.rc.stat("drain_passed_total") == passed + 1
        assert mesh.rc.stat("early_syn_total") == before + 1


def matched(mesh: Mesh, family: Family, table: str, chain: str, pattern: str) -> int:
    """How many packets the rule that contains `pattern` has counted."""
    listing = mesh.rc.run([family.iptables, "-t", table, "-nvxL", chain]).stdout
    [line] = [line for line in listing.splitlines() if pattern in line]
    found = re.match(r"\s*(\d+)", line)
    assert found
    return int(found[1])


def masked(family: Family) -> str:
    """Steering that sets and matches only the bits of routes and of the module."""
    wanted = f"{mark(family):#x}"
    rules = steering(family).replace(f"--set-mark {wanted}", f"--set-xmark {wanted}/{MASK:#x}")
    assert f"--mark {TAKEN:#x}/{TAKEN:#x}" in rules
    return rules


def test_marks_of_others(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("settings", f"mark_mask {MASK}")
    set_packet = f"PREROUTING -i to-c -p tcp -j MARK --set-xmark {PACKET_MARK:#x}/{OTHERS:#x}"
    set_connection = f"PREROUTING -p tcp -j CONNMARK --set-xmark {CONNECTION_MARK:#x}/{OTHERS:#x}"
    see_packet = f"PREROUTING -i to-c -p tcp -m mark --mark {PACKET_MARK:#x}/{OTHERS:#x}"
    see_connection = f"INPUT -p tcp -m connmark --mark {CONNECTION_MARK:#x}/{OTHERS:#x}"
    with ExitStack() as stack:
        stack.enter_context(mesh.steered(family, masked(family)))
        for table, text in (
            ("mangle", set_packet),
            ("mangle", set_connection),
            ("nat", see_packet),
            ("mangle", see_connection),
        ):
            stack.enter_context(rule(mesh, family, table, text))
        at = stack.enter_context(serving(mesh.s, family, echo))
        assert fetch(mesh.c, family, at) == family.rs_inside
        assert matched(mesh, family, "nat", "PREROUTING", f"{PACKET_MARK:#x}/{OTHERS:#x}")
        assert matched(mesh, family, "mangle", "INPUT", f"{CONNECTION_MARK:#x}/{OTHERS:#x}")


@pytest.mark.parametrize(
    "rules",
    [
        ["INPUT -p tcp -j CONNMARK --save-mark"],
        # A route's mark in conntrack that the module did not write means nothing.
        ["PREROUTING -i to-c -p tcp -j CONNMARK --set-mark {mark}"],
    ],
    ids=["save", "set"],
)
@pytest.mark.parametrize("mode", ["full", "plain"], indirect=True)
def test_connection_marks_of_others(mesh: Mesh, family: Family, rules: Sequence[str]) -> None:
    with ExitStack() as stack:
        for text in rules:
            words = text.format(mark=f"{mark(family):#x}")
            stack.enter_context(rule(mesh, family, "mangle", words))
        at = stack.enter_context(serving(mesh.s, family, echo))
        assert fetch(mesh.c, family, at) == family.rs_inside
        mesh.rc.write("drain", "on")
        assert fetch(mesh.c, family, at) == family.client


@contextmanager
def unnumbered(mesh: Mesh, family: Family) -> Iterator[None]:
    """Within this block rc's interface to c has no global address of the family."""
    ip = ["ip", f"-{family.name[1]}"]
    own = f"{family.address(1, 1)}/{family.bits}"
    nodad = ["nodad"] if family is V6 else []
    shown = mesh.rc.run(["ip", "-o", "link", "show", "to-c"]).stdout
    mac = shown.split("link/ether ")[1].split()[0]
    gateway = "169.254.1.1" if family is V4 else "fe80::1234"
    mesh.rc.run([*ip, "addr", "del", own, "dev", "to-c"])
    mesh.rc.run([*ip, "route", "replace", family.client, "dev", "to-c"])
    onlink = ["dev", "to-rc", "onlink"]
    mesh.c.run([*ip, "route", "replace", "default", "via", gateway, *onlink])
    mesh.c.run([*ip, "neigh", "replace", gateway, "lladdr", mac, "dev", "to-rc"])
    try:
        yield
    finally:
        mesh.rc.run([*ip, "route", "del", family.client, "dev", "to-c"])
        mesh.rc.run([*ip, "addr", "add", own, "dev", "to-c", *nodad])
        mesh.c.run(
            [*ip, "route", "replace", "default", "via", family.address(1, 1), "dev", "to-rc"]
        )
        mesh.c.run([*ip, "neigh", "del", gateway, "dev", "to-rc"])


@pytest.mark.parametrize("how", ["redirect", "tproxy", "untracked"])
def test_interface_without_an_address(mesh: Mesh, family: Family, how: str) -> None:
    """REDIRECT has no address to send flows to; the other ways need none."""
    with ExitStack() as stack:
        if how == "tproxy":
            stack.enter_context(tproxied(mesh, family))
        elif how == "untracked":
            stack.enter_context(untracked(mesh, family))
        stack.enter_context(unnumbered(mesh, family))
        at = stack.enter_context(serving(mesh.s, family, echo))
        with connect(mesh.c, family, at.address, at.port, bound=5) as sock:
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        assert at.peers == [family.client if how == "redirect" else family.rs_inside]


def test_interface_of_a_vrf(mesh: Mesh) -> None:
    """No flow is sent into a VRF, where no listener listens."""
    passed = unfit(mesh)
    ip = ["ip", "-batch", "-"]
    # Both interfaces, so that packets are routed within the VRF.
    mesh.rc.run(
        ip,
        stdin="link add blue type vrf table 77\nlink set blue up\n"
        "link set to-c master blue\nroute add 10.99.3.2/32 via 10.99.2.2 dev to-rs table 77\n",
    )
    before = mesh.rc.stat("early_syn_total")
    try:
        packet.send(
            mesh.c,
            Segment(source=V4.client, source_port=4444, target=V4.server, target_port=8081),
        )
        until(lambda: unfit(mesh) > passed, "the SYN does not come")
        assert mesh.rc.stat("early_syn_total") == before
    finally:
        mesh.rc.run(["ip", "link", "set", "to-c", "nomaster"])
        mesh.rc.run(["ip", "link", "del", "blue"])
        # An interface that leaves a VRF loses its IPv6 addresses and routes.
        for family in FAMILIES:
            nodad = ["nodad"] if family is V6 else []
            own = f"{family.address(1, 1)}/{family.bits}"
            mesh.rc.run(["ip", "addr", "replace", own, "dev", "to-c", *nodad])
