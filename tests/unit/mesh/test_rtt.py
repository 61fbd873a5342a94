# SPDX-License-Identifier: GPL-2.0-only
"""The program that measures round trips on a host, on this one."""

import io
import json
import socket
import subprocess
from collections.abc import Iterator
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


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[list[str]]:
    """Let ping print something; give the list of its command lines."""
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:  # noqa: ANN401
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
    asked = answer(monkeypatch, PING)
    lines = [line for line in PEERS.splitlines() if line.startswith("add")]
    assert measured(rtt, monkeypatch, *lines, "") == [
        ["10.77.2.2:5565", 215123, "pool"],
        ["[fd77::2]:5565", 32731, "ping"],
    ]
    assert [command[-1] for command in asked] == ["fd77::2"]
    first = measured(rtt, monkeypatch, *lines, fresh=True)[0]
    assert first == ["10.77.2.2:5565", 32731, "ping"]


def test_a_peer_that_does_not_answer_to_ping_is_connected_to(
    rtt: ModuleType, monkeypatch: pytest.MonkeyPatch, listener: str
) -> None:
    answer(monkeypatch, LOST)
    ((where, took, how),) = measured(rtt, monkeypatch, f"add {listener} low 1 high 2 key 1")
    assert (where, how) == (listener, "tcp")
    assert took > 0


def test_a_refusal_is_an_answer(rtt: ModuleType, listener: str) -> None:
    refused = f"127.0.0.1:{free_port()}"
    assert rtt.connect(refused) > 0
    assert rtt.connect(listener) > 0


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
    assert [(where, how) for where, _, how in found] == [(listener, "tcp"), ("10.0.0.1", "ping")]
    assert [command[-1] for command in asked] == ["10.0.0.1"]


def test_silence(rtt: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def connect(*_: object, **__: object) -> socket.socket:
        raise TimeoutError

    def run(*_: object, **__: object) -> subprocess.CompletedProcess[str]:
        raise FileNotFoundError

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(subprocess, "run", run)
    assert measured(rtt, monkeypatch, "add 10.0.0.1:1 low 1 high 2 key 1", "host 10.0.0.1") == [
        ["10.0.0.1:1", None, ""],
        ["10.0.0.1", None, ""],
    ]
