# SPDX-License-Identifier: GPL-2.0-only
"""The alert rules, checked by Prometheus's own program: valid, and fire when they should."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktcp_ops.mesh.observation import dashboard
from tests.unit.observe import promtool
from tests.unit.observe.test_ktcp_metrics import exposed
from tests.unit.roles.programs import ROOT

ALERTS = ROOT / "roles/ktcp_observe/files/alerts.yml"
RULES: list[dict[str, Any]] = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]

RC = 'instance="rc"'
PEER = f'{RC}, peer="10.77.2.2:5565"'

CASES: list[tuple[str, str, dict[str, str], str]] = [
    ("KtcpModuleAbsent", "5m", {f"ktcp_up{{{RC}}}": "0x10"}, "rc: KTCP is not loaded"),
    (
        "KtcpMetricsStale",
        "5m",
        {f'node_textfile_mtime_seconds{{{RC}, file="/var/x/ktcp.prom"}}': "0x10"},
        "rc: KTCP's metrics are 5m 0s old",
    ),
    (
        "KtcpPeerLost",
        "8m",
        {
            f'ktcp_peer_connections{{{PEER}, state="ready"}}': "16 0x10",
            f"ktcp_peer_pool_high{{{PEER}}}": "64x20",
            f"ktcp_peer_failures_total{{{PEER}}}": "0+3x20",
        },
        "rc cannot connect to its peer 10.77.2.2:5565",
    ),
    (
        "KtcpHandshakeFailures",
        "15m",
        {f"ktcp_handshake_failures_total{{{RC}}}": "0+60x20"},
        "rc: handshakes between relays fail",
    ),
    (
        "KtcpPoolTooSmall",
        "30m",
        {
            f"ktcp_peer_pool_hits_total{{{PEER}}}": "0+60x40",
            f"ktcp_peer_pool_misses_total{{{PEER}}}": "0+60x40",
        },
        "rc: 50% of legs to 10.77.2.2:5565 miss",
    ),
    (
        "KtcpNearlyFull",
        "10m",
        {f"ktcp_splits_active{{{RC}}}": "950x20", f"ktcp_max_splits{{{RC}}}": "1000x20"},
        "rc: 95% of max_splits are in use",
    ),
    (
        "KtcpPassedUnsplit",
        "10m",
        {f"ktcp_limit_passed_total{{{RC}}}": "0+120x20"},
        "rc is full: 2 flows/s pass unsplit",
    ),
    (
        "KtcpTargetsFail",
        "30m",
        {
            f"ktcp_splits_failed_total{{{RC}}}": "0+15x40",
            f"ktcp_splits_opened_total{{{RC}}}": "0+60x40",
        },
        "rc: 25% of splits never reach their far side",
    ),
    (
        "KtcpExitDenies",
        "15m",
        {f"ktcp_exit_denied_total{{{RC}}}": "0+60x20"},
        "rc refuses 1 targets/s",
    ),
    (
        "KtcpThreadsMissing",
        "5m",
        {f"ktcp_threads_missing_total{{{RC}}}": "0 1x10"},
        "rc gave splits up for want of threads",
    ),
    (
        "KtcpSynFlood",
        "10m",
        {
            f"ktcp_early_syn_expired_total{{{RC}}}": "0+3600x20",
            f"ktcp_early_syn_limited_total{{{RC}}}": "0x20",
        },
        "rc: 60 SYNs/s without a client behind them",
    ),
    ("KtcpDrainsLong", "3h", {f"ktcp_draining{{{RC}}}": "1x200"}, "rc has been draining"),
    (
        "KtcpVersionsDiffer",
        "7h",
        {
            f'ktcp_build_info{{{RC}, srcversion="A"}}': "1x500",
            'ktcp_build_info{instance="rs", srcversion="B"}': "1x500",
        },
        "The relays run 2 different modules",
    ),
]

HEALTHY = {
    f"ktcp_up{{{RC}}}": "1x500",
    f"ktcp_draining{{{RC}}}": "0x500",
    f"ktcp_splits_active{{{RC}}}": "100x500",
    f"ktcp_max_splits{{{RC}}}": "10000x500",
    f"ktcp_splits_opened_total{{{RC}}}": "0+600x500",
    f"ktcp_splits_failed_total{{{RC}}}": "0+1x500",
    f"ktcp_limit_passed_total{{{RC}}}": "0x500",
    f"ktcp_handshake_failures_total{{{RC}}}": "0x500",
    f"ktcp_exit_denied_total{{{RC}}}": "0x500",
    f"ktcp_threads_missing_total{{{RC}}}": "7x500",
    f"ktcp_early_syn_expired_total{{{RC}}}": "0+2x500",
    f"ktcp_early_syn_limited_total{{{RC}}}": "0x500",
    f'ktcp_peer_connections{{{PEER}, state="ready"}}': "16x500",
    f"ktcp_peer_pool_high{{{PEER}}}": "64x500",
    f"ktcp_peer_failures_total{{{PEER}}}": "3x500",
    f"ktcp_peer_pool_hits_total{{{PEER}}}": "0+600x500",
    f"ktcp_peer_pool_misses_total{{{PEER}}}": "0+12x500",
    f'ktcp_build_info{{{RC}, srcversion="A"}}': "1x500",
    'ktcp_build_info{instance="rs", srcversion="A"}': "1x500",
}


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    command = [promtool.ensure(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def silence(at: str, values: dict[str, str], *names: str) -> dict[str, Any]:
    """A promtool test: these alerts do not fire."""
    return {
        "interval": "1m",
        "input_series": [{"series": key, "values": text} for key, text in values.items()],
        "alert_rule_test": [
            {"eval_time": at, "alertname": name, "exp_alerts": []} for name in names
        ],
    }


def expect(tests: list[dict[str, Any]], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run promtool's tests."""
    file = directory / "tests.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "tests": tests}))
    return check("test", "rules", file)


def test_the_rules_are_right() -> None:
    done = check("check", "rules", ALERTS)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"SUCCESS: {len(RULES)} rules found" in done.stdout


def test_each_rule_has_a_case() -> None:
    assert [name for name, *_ in CASES] == [rule["alert"] for rule in RULES]


def test_each_alert_fires_and_says_what_is_wrong(tmp_path: Path) -> None:
    """All in one run: silence is expected, so promtool prints each alert that it got instead."""
    done = expect([silence(at, values, name) for name, at, values, _ in CASES], tmp_path)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    for name, _, _, summary in CASES:
        assert f'alertname="{name}"' in said, said
        assert summary in said


def test_no_alert_fires_on_a_healthy_relay(tmp_path: Path) -> None:
    done = expect([silence("8h", HEALTHY, *(rule["alert"] for rule in RULES))], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> list[str]:
    panels = [panel for _, members in dashboard.SECTIONS for panel in members]
    shown = [query.expression for panel in panels for query in panel.queries]
    return [*shown, *(rule["expr"] for rule in RULES)]


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_exposed(expression: str) -> None:
    asked = set(re.findall(r"\b(?:ktcp|node)_\w+", expression)) - {"ktcp"}
    assert asked
    assert asked <= {*exposed(), "node_textfile_mtime_seconds"}
