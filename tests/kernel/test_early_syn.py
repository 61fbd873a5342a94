# SPDX-License-Identifier: GPL-2.0-only
"""The far leg begins at the first SYN, also with clients that behave oddly."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from tests.kernel import packet
from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.packet import Segment
from tests.kernel.topology import FAMILIES, Family
from tests.kernel.tproxy import tproxied
from tests.kernel.traffic import (
    Payload,
    connect,
    discard,
    echo,
    receive,
    send,
    serving,
)
from tests.kernel.untracked import untracked
from tests.kernel.wait import until


@pytest.fixture(params=["redirect", "tproxy", "untracked"], autouse=True)
def _steered(request: pytest.FixtureRequest, mesh: Mesh, family: Family) -> Iterator[None]:
    """Run each test with each way in which flows reach the module."""
    if request.param == "redirect":
        yield
        return
    with tproxied(mesh, family) if request.param == "tproxy" else untracked(mesh, family):
        yield


def syn(family: Family, port: int, *, host: int, source_port: int = 0) -> Segment:
    """A SYN from the client's network; only `host` 2, the client, really exists."""
    return Segment(
        source=family.address(1, host),
        source_port=source_port or random.randrange(1024, 32768),
        target=family.server,
        target_port=port,
    )


def counts(mesh: Mesh) -> dict[str, int]:
    """The counters of early SYN on rc."""
    names = ("early_syn", "early_syn_met", "early_syn_expired", "early_syn_limited")
    return {name: mesh.rc.stat(f"{name}_total") for name in names}


def gained(mesh: Mesh, before: dict[str, int]) -> dict[str, int]:
    """How much the counters have grown since."""
    return {name: count - before[name] for name, count in counts(mesh).items()}


def test_every_connection_begins_early(mesh: Mesh, family: Family) -> None:
    before = counts(mesh)
    with serving(mesh.s, family, echo) as at:
        for _ in range(5):
            with connect(mesh.c, family, at.address, at.port) as sock:
                send(sock, Payload(10))
                receive(sock, Payload(10))
        assert at.peers == [family.rs_inside] * 5
    now = gained(mesh, before)
    assert (now["early_syn"], now["early_syn_met"], now["early_syn_expired"]) == (5, 5, 0)


def test_off(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("settings", "early_syn off")
    before = counts(mesh)
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        send(sock, Payload(10))
        receive(sock, Payload(10))
        assert at.peers == [family.rs_inside]
    assert set(gained(mesh, before).values()) == {0}


def test_one_source_port_towards_many_servers(mesh: Mesh, family: Family) -> None:
    """All end at one listener, so NAT changes the port; halves must still meet their clients."""
    before = counts(mesh)
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(mesh.s, family, echo)) for _ in range(4)]
        for number, at in enumerate(servers):
            sock = stack.enter_context(mesh.c.socket(family.number))
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((family.client, 33333))
            sock.connect((at.address, at.port))
            send(sock, Payload(1000, seed=number))
            receive(sock, Payload(1000, seed=number))
        sources = {line.split(" ")[0] for line in mesh.rc.splits()}
        assert sources == {family.at(family.client, 33333)}
        # Each server saw one connection: no leg was opened twice.
        assert [at.peers for at in servers] == [[family.rs_inside]] * 4
    now = gained(mesh, before)
    assert (now["early_syn"], now["early_syn_met"], now["early_syn_expired"]) == (4, 4, 0)


def test_client_that_never_answers(mesh: Mesh, family: Family) -> None:
    """A SYN that no ACK follows costs only one leg for a while."""
    mesh.rc.write("settings", "handshake_timeout_ms 1000")
    before = counts(mesh)
    with serving(mesh.s, family, discard) as at:
        packet.send(mesh.c, syn(family, at.port, host=77))
        until(lambda: at.peers, "the far leg was not opened")
        # The server may have its connection a moment before rc hears of it.
        until(lambda: states(mesh.rc) == ["half"], "the far leg does not wait for the client")
        mesh.wait_idle()
        now = gained(mesh, before)
        assert (now["early_syn"], now["early_syn_met"], now["early_syn_expired"]) == (1, 0, 1)


def test_client_that_resets_instead_of_answering(mesh: Mesh, family: Family) -> None:
    """A client's kernel does that when it gets an answer that it did not ask for."""
    mesh.rc.write("settings", "handshake_timeout_ms 1000")
    before = counts(mesh)
    with serving(mesh.s, family, discard) as at:
        packet.send(mesh.c, syn(family, at.port, host=2))
        until(lambda: at.peers, "the far leg was not opened")
        mesh.wait_idle()
        assert gained(mesh, before)["early_syn_expired"] == 1


def test_syn_sent_again_opens_one_leg(mesh: Mesh, family: Family) -> None:
    mesh.rc.write("settings", "handshake_timeout_ms 1000")
    before = counts(mesh)
    with serving(mesh.s, family, discard) as at:
        packet.send(mesh.c, *[syn(family, at.port, host=77, source_port=2222)] * 5)
        until(lambda: at.peers, "the far leg was not opened")
        mesh.wait_idle()
        assert len(at.peers) == 1
    assert gained(mesh, before)["early_syn"] == 1


def test_port_used_again_while_its_half_waits(mesh: Mesh, family: Family) -> None:
    """If a client gives up and comes back, the same half serves it."""
    with serving(mesh.s, family, echo) as at:
        packet.send(mesh.c, syn(family, at.port, host=2, source_port=33334))
        until(lambda: at.peers, "the far leg was not opened")
        with mesh.c.socket(family.number) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((family.client, 33334))
            sock.connect((at.address, at.port))
            send(sock, Payload(1000))
            receive(sock, Payload(1000))


def states(host: Namespace) -> list[str]:
    """The states of a relay's splits."""
    return [line.split()[8] for line in host.splits()]


@contextmanager
def unanswered(mesh: Mesh, family: Family, port: int) -> Iterator[None]:
    """Within this block rs hears nothing on a port."""
    drop = ["INPUT", "-p", "tcp", "--dport", f"{port}", "-j", "DROP"]
    mesh.rs.run([family.iptables, "-A", *drop])
    try:
        yield
    finally:
        mesh.rs.run([family.iptables, "-D", *drop])


def without_pool(mesh: Mesh) -> None:
    """Let each leg be connected when it is wanted, not before."""
    mesh.rc.write("settings", "conn_pool off")
    until(lambda: mesh.rc.read("peers").count(" ready 0 connecting 0 ") == 2, "legs are kept")


def test_client_that_is_there_before_its_far_leg(mesh: Mesh, family: Family) -> None:
    """It waits for the leg that its SYN began; no second leg is opened."""
    without_pool(mesh)
    before = counts(mesh)
    with serving(mesh.s, family, echo) as at:
        with unanswered(mesh, family, RELAY_PORT):
            sock = connect(mesh.c, family, at.address, at.port)
            until(lambda: gained(mesh, before)["early_syn_met"] == 1, "they do not meet")
            assert states(mesh.rc) == ["opening"]
        with sock:
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        assert at.peers == [family.rs_inside]


def test_flood_from_one_prefix(mesh: Mesh, family: Family) -> None:
    """The prefix gets its share of halves, and the server that many legs; others are served."""
    hold_halves(mesh, 64)
    before = counts(mesh)
    with serving(mesh.s, family, echo) as at:
        flood = [
            syn(family, at.port, host=100 + number % 100, source_port=1024 + number)
            for number in range(300)
        ]
        packet.send(mesh.c, *flood)
        until(lambda: gained(mesh, before)["early_syn_limited"] >= 200, "nothing was limited")
        with connect(mesh.c, family, at.address, at.port) as sock:
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        release_halves(mesh)
        # An eighth of 64; the client, in the same prefix, was served without a half.
        assert gained(mesh, before)["early_syn"] == 8
        assert len(at.peers) <= 8 + 1


def hold_halves(mesh: Mesh, most: int) -> None:
    """Allow `count` halves, none of which expires during a flood, however slow the host."""
    mesh.rc.write("settings", f"early_syn_max {most}", "handshake_timeout_ms 60000")


def release_halves(mesh: Mesh) -> None:
    """Let all halves expire."""
    mesh.rc.write("settings", "handshake_timeout_ms 100")
    mesh.wait_idle()


def spread(family: Family, number: int) -> str:
    """An address in a prefix of its own: no /24 or /56 has two of them."""
    if family.number == socket.AF_INET:
        return f"10.{100 + number // 200}.{number % 200}.9"
    return f"fd98:0:{number // 256:x}:{number % 256:x}00::9"


def test_flood_from_many_sources(mesh: Mesh, family: Family) -> None:
    """All halves together have a limit; a client that gets none is served at its ACK."""
    hold_halves(mesh, 32)
    before = counts(mesh)
    with serving(mesh.s, family, echo) as at:
        flood = [
            Segment(
                source=spread(family, number),
                source_port=1024 + number,
                target=at.address,
                target_port=at.port,
            )
            for number in range(300)
        ]
        packet.send(mesh.c, *flood)
        until(lambda: gained(mesh, before)["early_syn_limited"] >= 200, "nothing was limited")
        for _ in range(5):
            with connect(mesh.c, family, at.address, at.port) as sock:
                send(sock, Payload(1000))
                receive(sock, Payload(1000))
        release_halves(mesh)
        # As many as may wait; the clients were served without a half.
        assert gained(mesh, before)["early_syn"] <= 32
        assert len(at.peers) <= 32 + 5


def test_flags_that_begin_nothing(mesh: Mesh, family: Family) -> None:
    before = counts(mesh)
    with serving(mesh.s, family, discard) as at:
        odd = (
            0,
            packet.ACK,
            packet.FIN,
            packet.RST,
            packet.SYN | packet.ACK,
            packet.SYN | packet.FIN,
            packet.SYN | packet.RST,
        )
        for flags in odd:
            segment = Segment(
                source=family.address(1, 77),
                source_port=3000 + flags,
                target=at.address,
                target_port=at.port,
                flags=flags,
            )
            packet.send(mesh.c, segment)
        with connect(mesh.c, family, at.address, at.port) as sock:
            until(lambda: sock.fileno() >= 0 and at.peers, "the server saw no connection")
    assert gained(mesh, before)["early_syn"] == 1


def test_headers_that_are_wrong(mesh: Mesh, family: Family) -> None:
    """A packet that conntrack calls invalid has no flow, and begins nothing."""
    before = counts(mesh)
    with serving(mesh.s, family, discard) as at:
        good = syn(family, at.port, host=77, source_port=4000)
        faults = (
            replace(good, header_words=4),
            replace(good, header_words=15),
            *(replace(good, missing_bytes=count) for count in (4, 12, 20)),
            replace(good, checksum_error=0x0101),
        )
        packet.send(mesh.c, *faults)
        with connect(mesh.c, family, at.address, at.port):
            until(lambda: at.peers, "the server saw no connection")
        assert len(at.peers) == 1
    assert gained(mesh, before)["early_syn"] == 1


# The kernel drops an IPv6 first fragment without a whole TCP header (RFC 8200, section 4.5).
@pytest.mark.parametrize("family", FAMILIES[:1], ids=str, indirect=True)
def test_syn_in_fragments(mesh: Mesh, family: Family) -> None:
    """Conntrack puts the fragments together before the gate looks; one alone begins nothing."""
    mesh.rc.write("settings", "handshake_timeout_ms 1000")
    before = counts(mesh)
    with serving(mesh.s, family, discard) as at:
        alone, whole = (
            syn(family, at.port, host=77, source_port=port).fragments(8) for port in (4001, 4002)
        )
        packet.send_packets(mesh.c, at.address, alone[0])
        packet.send_packets(mesh.c, at.address, *whole)
        until(lambda: at.peers, "the far leg was not opened")
        mesh.wait_idle()
        assert len(at.peers) == 1
    assert gained(mesh, before)["early_syn"] == 1


def test_leg_begins_with_its_syn(mesh: Mesh, family: Family) -> None:
    """Without a pool, the SYN carries all that the next relay has to know (RFC 7413)."""
    for relay in mesh.relays:
        relay.run(["sysctl", "-q", "-w", "net.ipv4.tcp_fastopen=3"])
    mesh.rc.write("settings", "conn_pool off")
    with serving(mesh.s, family, echo) as at:
        # The first leg earns the ticket, the next one the kernel's cookie.
        for number in range(4):
            before = fast_opens(mesh.rs)
            with connect(mesh.c, family, at.address, at.port) as sock:
                send(sock, Payload(100_000, seed=number))
                receive(sock, Payload(100_000, seed=number))
        assert fast_opens(mesh.rs) == before + 1
        for relay in mesh.relays:
            relay.run(["sysctl", "-q", "-w", "net.ipv4.tcp_fastopen=1"])
        before = fast_opens(mesh.rs)
        with connect(mesh.c, family, at.address, at.port) as sock:
            send(sock, Payload(100))
            receive(sock, Payload(100))
        assert fast_opens(mesh.rs) == before


def fast_opens(host: Namespace) -> int:
    """How many connections `host` accepted whose SYN carried data."""
    line = host.run(["nstat", "-asz", "TcpExtTCPFastOpenPassive"]).stdout.splitlines()[-1]
    return int(line.split()[1])
