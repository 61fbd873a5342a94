# SPDX-License-Identifier: GPL-2.0-only
"""What ktcp_health reports about peers' pools, and how it answers Ansible."""

from pathlib import Path

import pytest

from tests.unit.roles.modules import ansible_module, answered, executed

health = ansible_module("ktcp_health")

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


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the next looks at the relay find, of which the last one is repeated; no look waits."""
    looks: list[list[str]] = []
    clock = [0.0]
    monkeypatch.setattr(
        health, "problems", lambda _scope: looks.pop(0) if len(looks) > 1 else looks[0]
    )
    monkeypatch.setattr(health.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(health.time, "sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    return looks


@pytest.mark.parametrize("dry", [False, True])
def test_a_failure_has_every_problem(looks: list[list[str]], dry: bool) -> None:
    looks.append(["module: not loaded", "peers: 10.0.0.1:5565: no connection is ready"])
    assert answered("ktcp_health", dry=dry) == {
        "failed": True,
        "msg": "module: not loaded\npeers: 10.0.0.1:5565: no connection is ready",
        "problems": looks[0],
    }


@pytest.mark.parametrize(("timeout", "failed"), [(0, True), (1, True), (2, False)])
def test_a_relay_has_time_to_become_healthy(
    looks: list[list[str]], timeout: float, failed: bool
) -> None:
    looks += [["pools: empty"], ["pools: empty"], []]
    answer = answered("ktcp_health", timeout=timeout)
    assert answer["failed"] == failed
    assert answer["problems"] == (["pools: empty"] if failed else [])
    assert failed or answer["changed"] is False


def test_what_is_asked_decides_what_is_checked(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (proc / "peers").write_text(PEERS + "# 10.0.0.1:5565 ready 1 state down\n")
    for check in ("kernel_module", "services", "listeners", "state"):
        monkeypatch.setattr(health, check, list)
    monkeypatch.setattr(health, "peers", lambda: ["peers"])
    monkeypatch.setattr(health, "pools", lambda absent, timeout: [f"pools {absent} {timeout}"])
    monkeypatch.setattr(health, "kernels", lambda ignored: [f"kernels {ignored}"])
    assert answered("ktcp_health")["problems"] == ["peers", "kernels []"]
    answer = answered(
        "ktcp_health", peers=False, pools=True, absent=["10.0.0.2:5565"], ignored_kernels=["6.1.0"]
    )
    assert answer["problems"] == ["pools ['10.0.0.2:5565'] 0", "kernels ['6.1.0']"]


def test_ansible_gets_the_problems_of_a_host_without_ktcp(tmp_path: Path) -> None:
    for command in ("systemctl", "ss"):
        (tmp_path / command).write_text("#!/bin/sh\necho inactive\nexit 3\n")
        (tmp_path / command).chmod(0o755)
    answer = executed("ktcp_health", env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=0)
    assert answer["failed"]
    assert answer["problems"][:2] == [
        "module: not loaded: systemctl status ktcp",
        "ktcp.service: is-active: inactive: systemctl status ktcp.service",
    ]
    assert answer["problems"][-1] == "ktcp-dkms: No such file or directory"
    assert answer["msg"].splitlines() == answer["problems"]
