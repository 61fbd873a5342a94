# SPDX-License-Identifier: GPL-2.0-only
"""The program that measures round trips on a host, on this one."""

import io
import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.unit.mesh.test_procfs import TEXTS
from tests.unit.roles.programs import ROOT

PEERS = TEXTS["peers"]
PING = """PING 10.0.0.1 (10.0.0.1) 56(84) bytes of data.

--- 10.0.0.1 ping statistics ---
3 packets transmitted, 3 received, 0% packet loss, time 401ms
rtt min/avg/max/mdev = 32.731/33.004/33.512/0.354 ms
"""
MANY = PING.replace(
    "3 packets transmitted, 3 received, 0%", "100 packets transmitted, 98 received, 2%"
)
LOST = "3 packets transmitted, 0 received, 100% packet loss, time 2042ms\n"


@pytest.fixture
def rtt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = spec_from_file_location("rtt", ROOT / "playbooks/files/rtt.py")
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PEERS", tmp_path / "peers")
    return module


@pytest.fixture
def listener() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def answer(monkeypatch: pytest.MonkeyPatch, text: str, legs: str = "") -> list[list[str]]:
    """Let ping and ss print something; give the list of ping's command lines."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
        if command[0] == "ss":
            return subprocess.CompletedProcess(command, 0, legs, "")
        asked.append(command)
        return subprocess.CompletedProcess(command, 0, text, "")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


def measured(
    rtt: ModuleType, monkeypatch: pytest.MonkeyPatch, *lines: str, fresh: bool = False
) -> list[list[Any]]:
    """Run the program; give what it prints."""
    out = io.StringIO()
    monkeypatch.setattr("sys.stdout", out)
    rtt.main([f"{line}\n" for line in lines], fresh)
    return list(json.loads(out.getvalue()))


def test_pools_with_a_connection_are_believed(rtt: ModuleType) -> None:
    assert rtt.pools(PEERS) == {"10.77.2.2:5565": 215123}
    assert rtt.pools(PEERS.replace("ready 15", "ready 0")) == {}
    assert rtt.pools(PEERS.replace(" rtt_us 215123", "")) == {}
    assert rtt.pools("") == {}


def test_a_peer_is_asked_from_its_pool_else_by_ping(
    rtt: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtt.PEERS.write_text(PEERS)
    asked = answer(monkeypatch, MANY)
    lines = [line for line in PEERS.splitlines() if line.startswith("add")]
    assert measured(rtt, monkeypatch, *lines, "") == [
        ["10.77.2.2:5565", 215123, "pool", 0, 0],
        ["[fd77::2]:5565", 32731, "ping", 100, 2],
    ]
    assert [command[-1] for command in asked] == ["fd77::2"]
    first = measured(rtt, monkeypatch, *lines, fresh=True)[0]
    assert first == ["10.77.2.2:5565", 32731, "ping", 100, 2]


# Two legs to one peer, opened by either end, and one leg each to others; from iproute2 6.1.
LEGS = (
    "ESTAB      0 0    10.77.2.1:40000 10.77.2.2:5565  cubic rto:420 segs_out:901 "
    "data_segs_out:900 retrans:1/7 dsack_dups:3 minrtt:215\n"
    "ESTAB      0 0    10.77.2.1:5565 10.77.2.2:50000  cubic data_segs_out:100\n"
    "CLOSE-WAIT 0 0    10.77.2.1:40001 10.77.2.3:5565  cubic data_segs_out:999 retrans:0/9\n"
    "ESTAB      0 9    [fd77::1]:40002 [fd77::2]:5565  cubic data_segs_out:1000 dsack_dups:2\n"
    "TIME-WAIT  0 0    10.77.2.1:40003 10.77.2.4:5565\n"
)


def test_loss_is_what_was_sent_again_and_not_needlessly(rtt: ModuleType) -> None:
    assert rtt.losses(LEGS) == {"10.77.2.2": (1000, 4), "[fd77::2]": (1000, 0)}
    assert rtt.losses("") == {}


def test_a_pool_tells_the_loss_of_its_peers_connections(
    rtt: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    rtt.PEERS.write_text(PEERS)
    answer(monkeypatch, MANY, LEGS)
    lines = [line for line in PEERS.splitlines() if line.startswith("add")]
    assert [found[2:] for found in measured(rtt, monkeypatch, *lines)] == [
        ["pool", 1000, 4],
        ["ping", 100, 2],
    ]


def test_the_real_ss_lists_connections_of_both_directions(rtt: ModuleType) -> None:
    """A thousand segments each, of a byte."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = server.getsockname()[1]
        near = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        far = stack.enter_context(server.accept()[0])
        for sender, receiver in ((near, far), (far, near)):
            sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(1000):
                sender.send(b".")
                receiver.recv(1)
        lines = rtt.connections({port}).splitlines()
        assert len(lines) == 2
        for line in lines:
            ((sent, lost),) = rtt.losses(f"{line}\n").values()
            assert sent >= 1000
            assert lost < 100
        assert list(rtt.losses("\n".join(lines))) == ["127.0.0.1"]


def test_a_host_without_ss(rtt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError

    monkeypatch.setattr(subprocess, "run", run)
    assert rtt.connections({5565}) == ""


def test_a_peer_that_does_not_answer_to_ping_is_connected_to(
    rtt: ModuleType, monkeypatch: pytest.MonkeyPatch, listener: str
) -> None:
    answer(monkeypatch, LOST)
    ((where, took, *rest),) = measured(rtt, monkeypatch, f"add {listener} low 1 high 2 key 1")
    assert (where, rest) == (listener, ["tcp", 0, 0])
    assert took > 0


def test_a_refusal_is_an_answer(rtt: ModuleType, listener: str) -> None:
    refused = f"127.0.0.1:{free_port()}"
    assert rtt.connect(refused).rtt_us > 0
    assert rtt.connect(listener).rtt_us > 0


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_targets_by_tcp_and_hosts_by_ping(
    rtt: ModuleType, monkeypatch: pytest.MonkeyPatch, listener: str
) -> None:
    asked = answer(monkeypatch, PING)
    found = measured(rtt, monkeypatch, f"target {listener}", "host 10.0.0.1")
    assert [(where, *rest) for where, _, *rest in found] == [
        (listener, "tcp", 0, 0),
        ("10.0.0.1", "ping", 0, 0),
    ]
    assert [command[-1] for command in asked] == ["10.0.0.1"]


def test_silence(rtt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> socket.socket:
        raise TimeoutError

    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(subprocess, "run", run)
    assert measured(rtt, monkeypatch, "add 10.0.0.1:1 low 1 high 2 key 1", "host 10.0.0.1") == [
        ["10.0.0.1:1", None, "", 0, 0],
        ["10.0.0.1", None, "", 0, 0],
    ]
