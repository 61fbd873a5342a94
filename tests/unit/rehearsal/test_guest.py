# SPDX-License-Identifier: GPL-2.0-only
"""The guest's traffic, over this host's loopback, and how it waits for peers."""

import socket
from collections.abc import Iterator

import pytest

from ktcp_testbed.rehearsal.guest import traffic
from ktcp_testbed.rehearsal.guest.namespace import Namespace
from ktcp_testbed.rehearsal.guest.relay import POOL, Relay, lacking
from ktcp_testbed.rehearsal.guest.traffic import Download, Flow, Server
from tests.unit.rehearsal.conftest import peer

HOST = Namespace("host")
ADDRESS = "127.0.0.1"
NAME = "web (IPv4)"


@pytest.fixture(autouse=True)
def _loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets of any namespace are this host's, and nothing is split."""
    monkeypatch.setattr(Namespace, "socket", lambda _, family: socket.socket(family))
    monkeypatch.setattr(Namespace, "read", lambda *_: "")


@pytest.fixture
def server() -> Iterator[Server]:
    """A target on a port of its own."""
    made = Server(HOST, ADDRESS, 0)
    yield made
    made.close()


def flow(server: Server) -> Flow:
    """A flow to the target."""
    port = server._socket.getsockname()[1]
    return Flow(NAME, HOST, ADDRESS, ADDRESS, port, HOST)


def test_a_fetch_is_served(server: Server) -> None:
    found = flow(server).fetch()
    assert (found["served"], found["split"]) == (True, False)
    assert found["first_byte_ms"] > 0


def test_a_split_is_found_by_the_clients_address(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = flow(server)
    with made.connected() as sock:
        own = "{}:{}".format(*sock.getsockname())
        monkeypatch.setattr(Namespace, "read", lambda *_: f"{own} -> 10.77.3.2:80 mark 0x101\n")
        assert made.is_split(sock)
        monkeypatch.setattr(Namespace, "read", lambda *_: f"{own}1 -> 10.77.3.2:80 mark 0x101\n")
        assert not made.is_split(sock)


def test_a_refused_flow_is_told_with_its_reason() -> None:
    with socket.socket() as free:
        free.bind((ADDRESS, 0))
        found = Flow("web", HOST, ADDRESS, ADDRESS, free.getsockname()[1], HOST).fetch()
    assert found == {"served": False, "split": False, "error": "Connection refused"}


def test_wrong_bytes_are_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def nonsense(_: Server, connection: socket.socket) -> None:
        with connection:
            traffic.request(connection)
            connection.sendall(b"x" * traffic.FETCH_BYTES)

    monkeypatch.setattr(Server, "_serve", nonsense)
    found = flow(server).fetch()
    assert (found["served"], found["error"]) == (False, "wrong bytes")


def test_a_header_of_the_proxy_protocol_is_passed_over() -> None:
    one, other = socket.socketpair()
    with one, other:
        header = traffic.PROXY + b"\x21\x11" + (12).to_bytes(2, "big") + bytes(12)
        one.sendall(header + b"GET 5\n")
        assert traffic.request(other) == ("GET", "5")


def test_a_download_goes_on_until_it_is_ended(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "PAUSE_S", 0.01)
    download = Download(flow(server))
    download.start()
    before = download.bytes
    download.watch()
    assert download.bytes > before
    download.finish(server)
    assert download.error == ""
    assert download.bytes == server.sent[NAME]


def test_a_download_that_ends_early_is_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traffic, "PAUSE_S", 0.01)
    monkeypatch.setattr(Server, "_stream", lambda _, sock, __: sock.sendall(traffic.piece(0, 100)))
    download = Download(flow(server))
    download.start()
    download.watch()
    assert download.error == "ended after 100 bytes"


def test_wrong_bytes_in_a_download_are_told(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Server, "_stream", lambda _, sock, __: sock.sendall(b"nonsense"))
    download = Download(flow(server))
    download.start()
    assert download.error == "wrong bytes after 0"


@pytest.mark.parametrize(
    ("text", "pooled", "missing"),
    [
        (peer("10.77.2.2:5565"), True, []),
        (peer("10.77.2.2:5565", ready=0), True, ["10.77.2.2:5565"]),
        (peer("10.77.2.2:5565", ready=0), False, []),
        (peer("10.77.2.2:5565").replace("state up", "state down"), False, ["10.77.2.2:5565"]),
        (peer("10.77.9.9:5565", ready=0), True, []),
    ],
)
def test_only_peers_that_can_answer_are_awaited(
    text: str, pooled: bool, missing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Namespace, "read", lambda *_: text)
    relay = Relay("rc", HOST)
    assert list(lacking([relay], {"10.77.2.2:5565": "rs"}, pooled=pooled)) == missing
    assert len(POOL.findall(text)) == 1
