# SPDX-License-Identifier: GPL-2.0-only
"""What ktcp_health reports about peers that answer, and about those that new flows avoid."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.roles.modules import ansible_module

health = ansible_module("ktcp_health")


@pytest.fixture
def port() -> Iterator[int]:
    """A port with a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int, state: str) -> list[str]:
    """What ktcp_health reports about a peer in this state."""
    monkeypatch.setattr(health, "PROC", tmp_path)
    peer = f"127.0.0.1:{port}"
    (tmp_path / "peers").write_text(f"add {peer} low 1 high 4 key 1\n# {peer} ready 0{state}\n")
    return list(health.peers())


@pytest.mark.parametrize("state", ["", " state up", " state up rtt_us 7"])
def test_a_peer_that_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int, state: str
) -> None:
    assert told(tmp_path, monkeypatch, port, state) == []


@pytest.mark.parametrize("state", ["down", "recovering"])
def test_a_peer_that_answers_and_is_avoided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: int, state: str
) -> None:
    [line] = told(tmp_path, monkeypatch, port, f" state {state}")
    assert line.startswith(f"peers: 127.0.0.1:{port}: it is {state}: ")


def test_a_peer_that_does_not_answer_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        [line] = told(tmp_path, monkeypatch, closed.getsockname()[1], " state down")
    assert "refused" in line
