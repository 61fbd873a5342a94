# SPDX-License-Identifier: GPL-2.0-only
"""The relay port, used by strangers and misused by peers."""

import contextlib
import random
import resource
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.kernel import wire
from tests.kernel.mesh import OTHER_KEY, RELAY_PORT, Mesh
from tests.kernel.namespace import Namespace
from tests.kernel.topology import V4, V6, Family
from tests.kernel.traffic import (
    Payload,
    Server,
    connect,
    echo,
    is_refused,
    receive,
    reset,
    send,
    serving,
)
from tests.kernel.wait import until

# Of kmod/session/stranger.c.
HANDSHAKES_MAX = 1024
PREFIX_MAX = HANDSHAKES_MAX // 2
# Threads for everything else.
FEW = 8
# Uses of a ticket that are known, and for how many tickets at least.
WINDOW = 131_072
WINDOWS = 256


def dial(mesh: Mesh, family: Family) -> socket.socket:
    """A connection from rc to the relay port of rs."""
    return connect(mesh.rc, family, family.rs, RELAY_PORT)


def is_thrown_out(sock: socket.socket, *, bound: float = 20) -> bool:
    """True if the relay ends the connection without having sent a byte."""
    sock.settimeout(bound)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def test_handshake_of_a_peer(mesh: Mesh, family: Family) -> None:
    """A correct handshake works, so the tests below are thrown out for their mistakes only."""
    with serving(mesh.s, family, echo) as at, dial(mesh, family) as sock:
        wire.prove(sock)
        target = wire.address(at.address, at.port)
        sock.sendall(wire.open_record(target, wire.address(family.client, 12345)) + b"hello")
        assert wire.receive_exactly(sock, 5) == b"hello"
        [line] = mesh.rs.splits()
        assert line.startswith(f"{family.at(family.client, 12345)} -> ")


def test_handshake_byte_by_byte(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, dial(mesh, family) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        hello = wire.hello()
        for at_byte in range(len(hello) - 1):
            sock.sendall(hello[at_byte : at_byte + 1])
        challenge = wire.challenged(sock, hello, unsent=1)
        target = wire.address(at.address, at.port)
        rest = wire.proof(hello, challenge) + wire.open_record(target, target)
        for at_byte in range(len(rest)):
            sock.sendall(rest[at_byte : at_byte + 1])
        sock.sendall(b"hello")
        assert wire.receive_exactly(sock, 5) == b"hello"


GARBAGE: dict[str, Callable[[], bytes]] = {
    "noise": lambda: random.Random(7).randbytes(4096),
    "zeros": lambda: bytes(4096),
    "ones": lambda: b"\xff" * 4096,
    "http": lambda: b"GET / HTTP/1.1\r\nHost: relay.example\r\n\r\n".ljust(64),
    "other magic": lambda: wire.hello(magic=0x4B55),
    "version 0": lambda: wire.hello(version=0),
    "version 2": lambda: wire.hello(version=2),
    "version 255": lambda: wire.hello(version=255),
    "length 0": lambda: wire.head(wire.HELLO, 0, key=1) + bytes(wire.NONCE_BYTES),
    "length of the head": lambda: wire.head(wire.HELLO, 8, key=1) + bytes(wire.NONCE_BYTES),
    "length one short": lambda: wire.head(wire.HELLO, wire.HELLO_BYTES - 1, key=1) + bytes(32),
    "length one over": lambda: wire.head(wire.HELLO, wire.HELLO_BYTES + 1, key=1) + bytes(33),
    "length 65535": lambda: wire.head(wire.HELLO, 65535, key=1) + bytes(65535 - 8),
    "challenge first": lambda: wire.head(wire.CHALLENGE, 80, key=1) + bytes(72),
    "proof first": lambda: wire.head(wire.PROOF, 40, key=1) + bytes(32),
    "open first": lambda: wire.open_record(
        wire.address("10.99.3.2", 80), wire.address("10.99.1.2", 1)
    ),
    "resume of no ticket": lambda: wire.resume(bytes(8), 1),
    "resume of a ticket never given": lambda: wire.resume(b"\7" * 8, 1),
    "resume of a wrong length": lambda: wire.head(wire.RESUME, 55, key=1) + bytes(48),
    "confirm first": lambda: wire.head(wire.CONFIRM, 40, key=1) + bytes(48),
    "record 0": lambda: wire.head(0, wire.HELLO_BYTES, key=1) + bytes(32),
    "record 7": lambda: wire.head(7, wire.HELLO_BYTES, key=1) + bytes(32),
    "record 255": lambda: wire.head(255, wire.HELLO_BYTES, key=1) + bytes(32),
    "key 0": lambda: wire.hello(key=0),
    "unknown key": lambda: wire.hello(key=7),
    "key 65535": lambda: wire.hello(key=65535),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage(mesh: Mesh, family: Family, garbage: Callable[[], bytes]) -> None:
    failures = mesh.rs.stat("handshake_failures_total")
    with dial(mesh, family) as sock:
        with contextlib.suppress(ConnectionResetError):
            sock.sendall(garbage())
        assert is_thrown_out(sock, bound=4), "the relay waits for its timeout"
    until(lambda: mesh.rs.stat("handshake_failures_total") == failures + 1, "not counted")
    mesh.wait_idle()


@pytest.mark.parametrize("sent", [0, 1, 7, 8, 9, 39])
def test_truncated_hello(mesh: Mesh, family: Family, sent: int) -> None:
    failures = mesh.rs.stat("handshake_failures_total")
    with dial(mesh, family) as sock:
        sock.sendall(wire.hello()[:sent])
        sock.shutdown(socket.SHUT_WR)
        assert is_thrown_out(sock, bound=4)
    until(lambda: mesh.rs.stat("handshake_failures_total") == failures + 1, "not counted")


def test_wrong_proof(mesh: Mesh, family: Family) -> None:
    with serving(mesh.s, family, echo) as at, dial(mesh, family) as sock:
        hello = wire.hello()
        challenge = wire.challenged(sock, hello)
        target = wire.address(at.address, at.port)
        wrong = wire.proof(hello, challenge, secret=OTHER_KEY)
        sock.sendall(wrong + wire.open_record(target, target))
        assert is_thrown_out(sock, bound=4)
        assert not at.peers


def test_own_mac_sent_back(mesh: Mesh, family: Family) -> None:
    """Roles differ, so nobody can answer a relay with its own proof."""
    with dial(mesh, family) as sock:
        hello = wire.hello()
        sock.sendall(hello)
        challenge = wire.receive_exactly(sock, wire.CHALLENGE_BYTES)
        sock.sendall(wire.head(wire.PROOF, 40, key=1) + challenge[-wire.MAC_BYTES :])
        assert is_thrown_out(sock, bound=4)


def test_proof_of_another_connection(mesh: Mesh, family: Family) -> None:
    with dial(mesh, family) as first, dial(mesh, family) as second:
        hello = wire.hello()
        old = wire.proof(hello, wire.challenged(first, hello))
        wire.challenged(second, hello)
        second.sendall(old)
        assert is_thrown_out(second, bound=4)


def open_echo(at: Server) -> bytes:
    """OPEN to an echo server, followed by a stream's first bytes."""
    target = wire.address(at.address, at.port)
    return wire.open_record(target, target) + b"hello"


def ticket(mesh: Mesh, family: Family) -> bytes:
    """Earn a ticket by a handshake, on a connection that is not used further."""
    with dial(mesh, family) as sock:
        earned = wire.prove(sock)
    # The relay keeps the ticket only after it has seen the proof.
    mesh.wait_idle()
    return earned


def test_ticket_spares_the_round_trip(mesh: Mesh, family: Family) -> None:
    earned = ticket(mesh, family)
    with serving(mesh.s, family, echo) as at:
        for use in (1, 2, 3):
            record = wire.resume(earned, use)
            with dial(mesh, family) as sock:
                sock.sendall(record + open_echo(at))
                expected = wire.confirmation(record) + b"hello"
                assert wire.receive_exactly(sock, len(expected)) == expected


def test_uses_of_a_ticket_overtake_each_other(mesh: Mesh, family: Family) -> None:
    earned = ticket(mesh, family)
    with serving(mesh.s, family, echo) as at:
        # The last one as late as a SYN that was lost three times, at 10,000 uses a second.
        for use in (1000, 3, 999, 70_001, 70_000, 1):
            with dial(mesh, family) as sock:
                sock.sendall(wire.resume(earned, use) + open_echo(at))
                answer = wire.receive_exactly(sock, wire.CONFIRM_BYTES + 5)
                assert answer.endswith(b"hello")


@pytest.mark.parametrize(
    "uses",
    [
        (1, 1),
        (1000, 1000),
        (200_000, 200_000 - WINDOW),
        (5, 0),
        (2**64 - 1, 1),
        (700, 5000, 700),
        (5000, 4000, 100_000, 4000),
        (5000, 100_000, 3000, 3000),
    ],
    ids=[
        *("same", "same later", "too far back", "zero", "back from the end"),
        *("once the window grew", "once it grew to its end", "late and again"),
    ],
)
def test_use_of_a_ticket_is_good_once(mesh: Mesh, uses: tuple[int, ...]) -> None:
    """An eavesdropper who replays what a peer sent gets nothing."""
    earned = ticket(mesh, V4)
    with serving(mesh.s, V4, echo) as at:
        for use in uses[:-1]:
            with dial(mesh, V4) as sock:
                sock.sendall(wire.resume(earned, use) + open_echo(at))
                wire.receive_exactly(sock, wire.CONFIRM_BYTES + 5)
        failures = mesh.rs.stat("handshake_failures_total")
        with dial(mesh, V4) as sock:
            sock.sendall(wire.resume(earned, uses[-1]) + open_echo(at))
            assert is_thrown_out(sock, bound=4)
        assert len(at.peers) == len(uses) - 1
        assert mesh.rs.stat("handshake_failures_total") == failures + 1


def is_taken(mesh: Mesh, earned: bytes, use: int) -> bool:
    """True where the relay confirms a use."""
    with dial(mesh, V4) as sock:
        sock.sendall(wire.resume(earned, use))
        try:
            wire.receive_exactly(sock, wire.CONFIRM_BYTES)
        except ConnectionResetError:
            return False
        return True


def test_windows_of_many_tickets(mesh: Mesh) -> None:
    """What all windows take is bounded: those that grew last stay small."""
    earned = [ticket(mesh, V4) for _ in range(WINDOWS + 8)]
    assert all(is_taken(mesh, one, 200_000) for one in earned)
    first, last = earned[0], earned[-1]
    assert is_taken(mesh, first, 200_000 - 70_000)
    assert not is_taken(mesh, last, 200_000 - 70_000)
    assert is_taken(mesh, last, 200_000 - 1000)


def test_ticket_without_the_key(mesh: Mesh, family: Family) -> None:
    """Anybody can see a ticket on the wire, but each use of it takes the key."""
    earned = ticket(mesh, family)
    with serving(mesh.s, family, echo) as at:
        with dial(mesh, family) as sock:
            sock.sendall(wire.resume(earned, 1, secret=OTHER_KEY) + open_echo(at))
            assert is_thrown_out(sock, bound=4)
        assert not at.peers
        # A forged use has not used it up.
        with dial(mesh, family) as sock:
            sock.sendall(wire.resume(earned, 1) + open_echo(at))
            wire.receive_exactly(sock, wire.CONFIRM_BYTES + 5)


def test_ticket_ends_with_its_key(mesh: Mesh, family: Family) -> None:
    earned = ticket(mesh, family)
    mesh.rs.write("keys", "del 1")
    with dial(mesh, family) as sock:
        sock.sendall(wire.resume(earned, 1))
        assert is_thrown_out(sock, bound=4)


def test_ticket_belongs_to_its_key(mesh: Mesh, family: Family) -> None:
    """A ticket that one key has earned cannot be used with another key of the relay."""
    earned = ticket(mesh, family)
    mesh.rs.write("keys", f"add 2 {OTHER_KEY}")
    with dial(mesh, family) as sock:
        sock.sendall(wire.resume(earned, 1, key=2, secret=OTHER_KEY))
        assert is_thrown_out(sock, bound=4)


def test_ticket_of_an_unproved_handshake(mesh: Mesh, family: Family) -> None:
    with dial(mesh, family) as sock:
        unearned = wire.challenged(sock, wire.hello())[-wire.TICKET_BYTES :]
    mesh.wait_idle()
    with dial(mesh, family) as sock:
        sock.sendall(wire.resume(unearned, 1))
        assert is_thrown_out(sock, bound=4)


V4_TARGET = wire.address("10.99.3.2", 80)
SOURCE = wire.address("10.99.1.2", 1)


def hops(count: int) -> tuple[bytes, ...]:
    """Addresses of relays that do not exist."""
    return tuple(wire.address(f"10.99.4.{n + 1}", RELAY_PORT) for n in range(count))


def with_head(record: bytes, **changes: int) -> bytes:
    """A record with changed fields in its head."""
    magic, version, kind, length, key = wire.HEAD.unpack(record[: wire.HEAD.size])
    fields = {"magic": magic, "version": version, "kind": kind, "length": length, "key": key}
    fields |= changes
    return (
        wire.head(
            fields["kind"],
            fields["length"],
            key=fields["key"],
            version=fields["version"],
            magic=fields["magic"],
        )
        + record[wire.HEAD.size :]
    )


GOOD_OPEN = wire.open_record(V4_TARGET, SOURCE)
BAD_OPEN = {
    "version 2": with_head(GOOD_OPEN, version=2),
    "other magic": with_head(GOOD_OPEN, magic=0),
    "other record": with_head(GOOD_OPEN, kind=wire.HELLO),
    "a key": with_head(GOOD_OPEN, key=1),
    "length 0": with_head(GOOD_OPEN, length=0),
    "length 8": with_head(GOOD_OPEN, length=8),
    "length 65535": with_head(GOOD_OPEN, length=65535) + bytes(65535),
    "longer than its hops": with_head(GOOD_OPEN, length=len(GOOD_OPEN) + 20) + bytes(20),
    "flags": wire.open_record(V4_TARGET, SOURCE, flags=4),
    "reserved": GOOD_OPEN[:10] + b"\0\1" + GOOD_OPEN[12:],
    "more hops than bytes": GOOD_OPEN[:9] + b"\3" + GOOD_OPEN[10:],
    "9 hops": wire.open_record(V4_TARGET, SOURCE, hops(9)),
    "255 hops": wire.open_record(V4_TARGET, SOURCE, hops(255)),
    "a hop twice": wire.open_record(V4_TARGET, SOURCE, hops(2) + hops(1)),
    "the relay itself as hop": wire.open_record(
        V4_TARGET, SOURCE, (wire.address("10.99.2.2", RELAY_PORT),)
    ),
    "family 0": wire.open_record(b"\0" + V4_TARGET[1:], SOURCE),
    "family 5": wire.open_record(b"\5" + V4_TARGET[1:], SOURCE),
    "port 0": wire.open_record(wire.address("10.99.3.2", 0), SOURCE),
    "bytes behind IPv4": wire.open_record(V4_TARGET[:-1] + b"\1", SOURCE),
    "reserved of the target": wire.open_record(b"\4\1" + V4_TARGET[2:], SOURCE),
    "source of no family": wire.open_record(V4_TARGET, bytes(20)),
}


@pytest.mark.parametrize("record", BAD_OPEN.values(), ids=BAD_OPEN.keys())
def test_bad_open(mesh: Mesh, record: bytes) -> None:
    rejected = mesh.rs.stat("open_rejected_total")
    with serving(mesh.s, V4, echo, port=80) as at, dial(mesh, V4) as sock:
        wire.prove(sock)
        sock.sendall(record)
        assert is_thrown_out(sock, bound=4), "the relay waits for its timeout"
        assert not at.peers
    until(lambda: mesh.rs.stat("open_rejected_total") == rejected + 1, "not counted")
    mesh.wait_idle()


@pytest.mark.parametrize(
    "record",
    [
        wire.open_record(V4_TARGET, SOURCE, hops(1)),
        wire.open_record(V4_TARGET, SOURCE, hops(8)),
        wire.open_record(V4_TARGET, SOURCE, (wire.address("10.99.3.2", 80),)),
    ],
    ids=["1 hop", "8 hops", "a hop that is the server"],
)
def test_next_hop_that_is_no_peer(mesh: Mesh, record: bytes) -> None:
    """A relay hands streams on only to its peers, whoever asks."""
    with serving(mesh.s, V4, echo, port=80) as at, dial(mesh, V4) as sock:
        wire.prove(sock)
        sock.sendall(record)
        assert is_thrown_out(sock, bound=4)
        assert not at.peers


@pytest.mark.parametrize(
    ("prefix", "target"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "127.1.2.3"),
        ("0.0.0.0/0", "0.0.0.0"),
        ("0.0.0.0/0", "10.99.2.2"),
        ("0.0.0.0/0", "10.99.3.1"),
        ("0.0.0.0/0", "10.99.3.255"),
        ("0.0.0.0/0", "169.254.169.254"),
        ("0.0.0.0/0", "224.0.0.1"),
        ("0.0.0.0/0", "255.255.255.255"),
        ("::/0", "::"),
        ("::/0", "::1"),
        ("::/0", "::ffff:127.0.0.1"),
        ("::/0", "::ffff:10.99.3.2"),
        ("::/0", "::10.99.3.2"),
        ("::/0", "fe80::1"),
        ("::/0", "ff02::1"),
        ("::/0", "fd99:0:0:2::2"),
        ("::/0", "fd99:0:0:3::1"),
    ],
)
def test_target_that_no_rule_can_allow(mesh: Mesh, prefix: str, target: str) -> None:
    """Loopback, link-local, multicast, and all addresses of the relay itself."""
    mesh.rs.write("exits", *(f"del {line}" for line in mesh.rs.lines("exits")))
    mesh.rs.write("exits", f"allow {prefix}")
    denied = mesh.rs.stat("exit_denied_total")
    family = V6 if ":" in target else V4
    anywhere = "::" if family is V6 else "0.0.0.0"
    with (
        serving(mesh.rs, family, echo, address=anywhere, port=8080) as at,
        dial(mesh, V4) as sock,
    ):
        wire.prove(sock)
        sock.sendall(wire.open_record(wire.address(target, 8080), SOURCE))
        assert is_thrown_out(sock, bound=4)
        assert not at.peers
    assert mesh.rs.stat("exit_denied_total") == denied + 1


@contextmanager
def addresses_of_all_kinds(host: Namespace) -> Iterator[None]:
    """Within this block a host has addresses by local routes and in a VRF."""
    host.run(
        ["ip", "-batch", "-"],
        stdin="link add blue type vrf table 77\nlink set blue up\n"
        "link add inside type dummy\nlink set inside master blue up\n"
        "addr add 192.0.2.1/24 dev inside\naddr add 2001:db8:1::1/64 dev inside nodad\n"
        "route add local 198.51.100.0/24 dev lo\nroute add local 2001:db8:2::/64 dev lo\n"
        "route add local 203.0.113.0/24 dev lo table 78\n"
        "route add local 2001:db8:3::/64 dev lo table 78\n"
        "rule add lookup 78\n",
    )
    host.run(["ip", "-6", "rule", "add", "lookup", "78"])
    try:
        yield
    finally:
        host.run(
            ["ip", "-batch", "-"],
            stdin="link del inside\nlink del blue\n"
            "route del local 198.51.100.0/24 dev lo\nroute del local 2001:db8:2::/64 dev lo\n"
            "route flush table 78\nrule del lookup 78\n",
        )
        host.run(["ip", "-6", "-batch", "-"], stdin="route flush table 78\nrule del lookup 78\n")


@pytest.mark.parametrize(
    "target",
    [
        *("192.0.2.1", "2001:db8:1::1", "198.51.100.9", "2001:db8:2::9"),
        *("203.0.113.9", "2001:db8:3::9"),
    ],
)
def test_target_that_is_the_relay_in_another_way(mesh: Mesh, target: str) -> None:
    """By a VRF, by a local route, and by a local route in another table."""
    with addresses_of_all_kinds(mesh.rs):
        is_denied(mesh, target)


@pytest.mark.parametrize(
    "target",
    [
        *("64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::10.99.3.1"),
        *("64:ff9b:1::10.99.3.1", "64:ff9b:1:a63:3:200::"),
        *("2002:7f00:1::1", "2002:a63:301::1"),
        *("2001::a63:302:0:0:80ff:fffe", "2001::a63:302:0:0:f59c:fcfe"),
        *("fd99:0:0:9::5efe:10.99.3.1", "fd99:0:0:9:200:5efe:10.99.3.1"),
        *("::ffff:0:127.0.0.1", "::ffff:0:10.99.3.2"),
        # The rules deny this one by its IPv4 address.
        *("64:ff9b::10.99.1.2", "2002:a63:102::1"),
    ],
)
def test_target_that_hides_an_ipv4_address(mesh: Mesh, target: str) -> None:
    is_denied(mesh, target)


def is_denied(mesh: Mesh, target: str) -> None:
    """True if rs does not connect to a target, whatever its rules allow."""
    mesh.rs.write("exits", *(f"del {line}" for line in mesh.rs.lines("exits")))
    mesh.rs.write("exits", "deny 10.99.1.0/24", "allow 0.0.0.0/0", "allow ::/0")
    denied = mesh.rs.stat("exit_denied_total")
    with dial(mesh, V4) as sock:
        wire.prove(sock)
        sock.sendall(wire.open_record(wire.address(target, 8080), SOURCE))
        assert is_thrown_out(sock, bound=4)
    assert mesh.rs.stat("exit_denied_total") == denied + 1


def test_slow_loris(mesh: Mesh, family: Family) -> None:
    """A stranger's handshake has a time limit, however slowly its bytes come."""
    mesh.rs.write("settings", "handshake_timeout_ms 1000")
    begun = time.monotonic()
    with dial(mesh, family) as sock:
        assert drip(sock, wire.hello()) < wire.HEAD.size + wire.NONCE_BYTES
    assert time.monotonic() - begun < 5
    mesh.wait_idle()


def drip(sock: socket.socket, data: bytes) -> int:
    """Send a byte every 0.4 s until the relay ends the connection. Returns their number."""
    for count, byte in enumerate(data):
        sock.sendall(struct.pack("B", byte))
        sock.settimeout(0.4)
        try:
            sock.recv(1)
        except TimeoutError:
            continue
        except ConnectionResetError:
            pass
        return count
    return len(data)


def test_silence(mesh: Mesh, family: Family) -> None:
    mesh.rs.write("settings", "handshake_timeout_ms 500")
    with dial(mesh, family) as sock:
        assert is_thrown_out(sock, bound=5)
    mesh.wait_idle()


def test_crowd_of_strangers_does_not_lock_peers_out(mesh: Mesh, family: Family) -> None:
    mesh.rs.write("settings", "handshake_timeout_ms 2000")
    with ExitStack() as crowd:
        for _ in range(300):
            # Some are over the limit, and are closed at once.
            with contextlib.suppress(ConnectionResetError):
                crowd.enter_context(dial(mesh, family))
        until(lambda: reaches(mesh, family), "peers get no turn", bound=20)
    mesh.wait_idle()


def test_no_more_strangers_than_the_limit_have_a_thread(mesh: Mesh) -> None:
    mesh.rs.write("settings", "handshake_timeout_ms 60000")
    failures = mesh.rs.stat("handshake_failures_total")
    # A key was proved from this address, so it may use all handshakes.
    with crowd_from(mesh.rc, HANDSHAKES_MAX + 50):
        until(
            lambda: mesh.rs.stat("handshake_failures_total") - failures >= 50, "nobody is refused"
        )
        assert int(mesh.rs.comments("thread_pool")["busy"]) <= HANDSHAKES_MAX + FEW
    mesh.wait_idle()


@contextmanager
def crowd_from(host: Namespace, count: int) -> Iterator[None]:
    """Make `count` silent connections to the relay port of rs."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(most[0], 2 * count), most[1]))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, most)
        for _ in range(count):
            with contextlib.suppress(ConnectionResetError):
                stack.enter_context(connect(host, V4, V4.rs, RELAY_PORT))
        yield


def test_strangers_leave_room_for_peers(mesh: Mesh) -> None:
    """However many strangers are in a handshake, a peer's handshake still gets through."""
    for relay in mesh.relays:
        relay.write("settings", "handshake_timeout_ms 60000")
    mesh.rc.write("settings", "conn_pool off", "early_syn off")
    failures = mesh.rs.stat("handshake_failures_total")
    with crowd_from(mesh.c, HANDSHAKES_MAX + 50):
        until(
            lambda: (
                mesh.rs.stat("handshake_failures_total") - failures
                >= HANDSHAKES_MAX + 50 - PREFIX_MAX
            ),
            "a prefix has more than its share",
        )
        assert int(mesh.rs.comments("thread_pool")["busy"]) <= PREFIX_MAX + FEW
        for _ in range(3):
            assert reaches(mesh, V4)
    mesh.wait_idle()


def test_full_exit_refuses(mesh: Mesh, family: Family) -> None:
    """The limit holds for streams of other relays, and streams from before go on."""
    mesh.rs.write("settings", "max_splits 2")
    refused = mesh.rs.stat("limit_refused_total")
    with serving(mesh.s, family, echo) as at, ExitStack() as stack:
        socks = [
            stack.enter_context(connect(mesh.c, family, at.address, at.port)) for _ in range(2)
        ]
        for sock in socks:
            send(sock, Payload(1))
            receive(sock, Payload(1))
        assert is_refused(mesh.c, family, at.address, at.port)
        assert mesh.rs.stat("limit_refused_total") == refused + 1
        assert len(mesh.rs.splits()) == 2
        for sock in socks:
            send(sock, Payload(1000))
            receive(sock, Payload(1000))
        socks.pop().close()
        until(lambda: len(mesh.rs.splits()) == 1, "the split does not end")
        assert reaches(mesh, family)


def reaches(mesh: Mesh, family: Family) -> bool:
    """True if a client gets through; it may also be reset."""
    with serving(mesh.s, family, echo) as at:
        try:
            with connect(mesh.c, family, at.address, at.port) as sock:
                send(sock, Payload(10))
                receive(sock, Payload(10))
        except ConnectionResetError:
            return False
    return True


def test_urgent_byte_does_not_stall_the_stream(mesh: Mesh, family: Family) -> None:
    with (
        serving(mesh.s, family, echo) as at,
        connect(mesh.c, family, at.address, at.port) as sock,
    ):
        sock.sendall(b"before")
        assert wire.receive_exactly(sock, 6) == b"before"
        sock.send(b"!", socket.MSG_OOB)
        sock.sendall(b"after")
        received = b""
        while not received.endswith(b"after"):
            received += sock.recv(16)
        assert received in (b"after", b"!after")


def test_stranger_resets_during_the_handshake(mesh: Mesh, family: Family) -> None:
    sock = dial(mesh, family)
    wire.challenged(sock, wire.hello())
    reset(sock)
    mesh.wait_idle()
    assert reaches(mesh, family)
