# SPDX-License-Identifier: GPL-2.0-only
"""What ktcp-health reports about peers' pools."""

from pathlib import Path

import pytest

from tests.unit.roles.programs import program

health = program("ktcp_health", "ktcp-health")

PEERS = """\
add 10.0.0.1:5565 low 16 high 64 key 1
# 10.0.0.1:5565 ready 12 connecting 0 hits 0 misses 0 failures 0
add 10.0.0.2:5565 low 16 high 64 key 1
# 10.0.0.2:5565 ready 0 connecting 1 hits 0 misses 0 failures 9
add [fd00::3]:5565 low 0 high 4 key 1
# [fd00::3]:5565 ready 0 connecting 0 hits 0 misses 0 failures 0
add 10.0.0.4:5565 low 0 high 0 key 1
# 10.0.0.4:5565 ready 0 connecting 0 hits 0 misses 0 failures 0
"""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(health, "PROC", tmp_path)
    (tmp_path / "peers").write_text(PEERS)
    (tmp_path / "settings").write_text("early_syn on\nconn_pool on\n")
    return tmp_path


@pytest.mark.usefixtures("proc")
def test_a_pool_without_a_connection_is_a_problem() -> None:
    told = list(health.pools([], 60))
    assert [line.split(" no ")[0] for line in told] == [
        "peers: 10.0.0.2:5565:",
        "peers: [fd00::3]:5565:",
    ]


@pytest.mark.usefixtures("proc")
def test_who_is_absent_need_not_answer() -> None:
    assert list(health.pools(["10.0.0.2:5565", "[fd00::3]:5565"], 60)) == []


def test_without_pools_there_is_nothing_to_say(proc: Path) -> None:
    (proc / "settings").write_text("early_syn on\nconn_pool off\n")
    assert list(health.pools([], 60)) == []


@pytest.mark.parametrize(("hold_ms", "waits"), [(10_000, True), (60_000, True), (60_001, False)])
def test_a_peer_that_is_back_is_waited_for_until_flows_use_it(
    proc: Path, hold_ms: int, waits: bool
) -> None:
    (proc / "settings").write_text(f"conn_pool on\npeer_hold_ms {hold_ms}\n")
    (proc / "peers").write_text(
        "add 10.0.0.1:5565 low 16 high 64 key 1\n"
        "# 10.0.0.1:5565 ready 12 connecting 0 rtt_us 7 state recovering\n"
    )
    wanted = ["peers: 10.0.0.1:5565: it is recovering: is its path steady?"] if waits else []
    assert list(health.pools([], 60)) == wanted
    assert list(health.pools(["10.0.0.1:5565"], 60)) == []


def test_other_firewalls_are_asked_about_where_there_is_what_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "asked", lambda *words: [" ".join(words)])
    monkeypatch.setattr(health, "installed", list)
    monkeypatch.setattr(health, "FIREWALL", tmp_path / "ktcp-firewall")
    assert list(health.state()) == ["ktcp-apply --check", "ktcp-steering check"]
    (tmp_path / "ktcp-firewall").touch()
    assert list(health.state())[-1] == "ktcp-firewall check"
