# SPDX-License-Identifier: GPL-2.0-only
"""ktcp-firewall with rulesets as nft prints them: it reports sure drops, and no others."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.programs import program

firewall = program("ktcp_steering", "ktcp-firewall")

STEERING = """\
*filter
-A KTCP-INPUT -s 10.77.2.2 -p tcp -m tcp --dport 5565 -j ACCEPT
COMMIT
*nat
-A KTCP-rc-rs -p tcp -m mark --mark 0x80000101 -j REDIRECT --to-ports 5557
COMMIT
*mangle
-A KTCP-rc-rs -p tcp -m set --match-set KTCP-rc-rs.v4.1 dst -j MARK --set-xmark 0x101/0xffffffff
COMMIT
"""
UNTRACKED = """\
*filter
-A KTCP-INPUT -s 10.77.2.2 -p tcp -m tcp --dport 5565 -j ACCEPT
COMMIT
*mangle
-A KTCP -i eth1 -p tcp -m socket --transparent -j MARK --set-xmark 0x6b74/0xffffffff
COMMIT
*raw
-A KTCP -p tcp -m tcp --dport 8443 -m addrtype --dst-type LOCAL -j MARK --set-xmark 0x102/0xffffffff
-A KTCP-rc-rs -p tcp -m multiport --dports 22,8000:8100 -m set --match-set KTCP-rc-rs.v4.1 dst \
-j MARK --set-xmark 0x101/0xffffffff
COMMIT
"""
OPEN = ":FORWARD ACCEPT [0:0]\n"

Rule = list[dict[str, Any]]

ACCEPT: dict[str, Any] = {"accept": None}
DROP: dict[str, Any] = {"drop": None}


def match(left: dict[str, Any], right: object, op: str = "==") -> dict[str, Any]:
    return {"match": {"op": op, "left": left, "right": right}}


def dport(right: object) -> dict[str, Any]:
    return match({"payload": {"protocol": "tcp", "field": "dport"}}, right)


STATE = {"ct": {"key": "state"}}
STATES = {
    "vmap": {
        "key": STATE,
        "data": {"set": [["established", ACCEPT], ["related", ACCEPT], ["invalid", DROP]]},
    }
}
LOOPBACK = [match({"meta": {"key": "iifname"}}, "lo"), ACCEPT]
DNAT = [match({"ct": {"key": "status"}}, "dnat", "in"), ACCEPT]
SOURCE = [match({"payload": {"protocol": "ip", "field": "saddr"}}, "10.0.0.1"), ACCEPT]


def listed(
    *rules: Rule, policy: str = "drop", hook: str = "input", name: str = "input", **chains: Rule
) -> str:
    """Print a table with one chain at a hook, and others that it may jump to."""
    place = {"family": "inet", "table": "filter"}
    items: list[dict[str, Any]] = [{"metainfo": {"json_schema_version": 1}}]
    items.append({"chain": {**place, "name": name, "hook": hook, "policy": policy}})
    items += [{"rule": {**place, "chain": name, "expr": rule}} for rule in rules]
    for other, rule in chains.items():
        items.append({"chain": {**place, "name": other}})
        items.append({"rule": {**place, "chain": other, "expr": rule}})
    return json.dumps({"nftables": items})


def run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ruleset: str,
    *,
    what: str = "check",
    saved: str = OPEN,
    steering: str = STEERING,
) -> int:
    """Run it for IPv4 with the given output of nft and iptables-save."""

    def done(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        said = {"nft": ruleset, "iptables-save": saved}[argv[0]]
        return subprocess.CompletedProcess(argv, 0, said, "")

    (tmp_path / "steering.v4").write_text(steering)
    monkeypatch.setattr(firewall.subprocess, "run", done)
    monkeypatch.setattr(firewall.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(firewall, "FAMILIES", {"v4": firewall.FAMILIES["v4"]})
    monkeypatch.setattr("sys.argv", ["ktcp-firewall", what, "--conf", str(tmp_path)])
    return int(firewall.main())


DROPPING: list[tuple[str, list[Rule], dict[str, Any]]] = [
    ("policy", [], {}),
    ("usual", [[STATES], LOOPBACK, [dport({"set": [22, {"range": [80, 90]}]}), ACCEPT]], {}),
    (
        "last",
        [[match(STATE, ["established", "related"], "in"), ACCEPT], [DROP]],
        {"policy": "accept"},
    ),
    ("reject", [[{"reject": {"type": "icmp"}}]], {"policy": "accept"}),
    ("other", [[match({"payload": {"protocol": "ip", "field": "protocol"}}, "icmp"), ACCEPT]], {}),
    ("jump", [[{"jump": {"target": "deeper"}}]], {"deeper": [dport(22), ACCEPT]}),
    ("goto", [[{"goto": {"target": "deeper"}}], [ACCEPT]], {"deeper": [dport(22), ACCEPT]}),
    ("counted", [[{"counter": {"packets": 1, "bytes": 40}}, DROP]], {"policy": "accept"}),
]


@pytest.mark.parametrize(("rules", "more"), [c[1:] for c in DROPPING], ids=[c[0] for c in DROPPING])
def test_what_is_sure_to_be_dropped_is_told_with_the_rule_to_add(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rules: list[Rule],
    more: dict[str, Any],
) -> None:
    assert run(tmp_path, monkeypatch, listed(*rules, **more), what="steered") == 6
    assert capsys.readouterr().out == (
        "nftables: inet filter input drops flows redirected to port 5557: nft insert rule"
        " inet filter input tcp dport 5557 ct status dnat accept, and the same in"
        " /etc/nftables.conf\n"
    )
    # And with the rule nothing is dropped.
    added = [dport(5557), match({"ct": {"key": "status"}}, "dnat", "in"), ACCEPT]
    assert run(tmp_path, monkeypatch, listed(added, *rules, **more), what="steered") == 0


PASSING: list[tuple[str, list[Rule], dict[str, Any]]] = [
    ("policy", [], {"policy": "accept"}),
    ("redirected", [DNAT], {}),
    ("port", [[dport({"range": [5000, 6000]}), ACCEPT]], {}),
    ("source", [SOURCE], {}),
    ("limited", [[{"limit": {"rate": 10}}, DROP]], {"policy": "accept"}),
    ("jump", [[{"jump": {"target": "deeper"}}], [DROP]], {"deeper": [dport(5557), ACCEPT]}),
    ("return", [[{"jump": {"target": "deeper"}}], [ACCEPT]], {"deeper": [{"return": None}]}),
    ("of iptables", [], {"name": "INPUT"}),
    ("named set", [[dport("@ports"), ACCEPT]], {}),
]


@pytest.mark.parametrize(("rules", "more"), [c[1:] for c in PASSING], ids=[c[0] for c in PASSING])
def test_what_may_be_let_in_is_the_admins_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rules: list[Rule], more: dict[str, Any]
) -> None:
    assert run(tmp_path, monkeypatch, listed(*rules, **more), what="steered") == 0


def test_firewalld_lets_in_what_is_redirected_and_no_relay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ruleset = listed(DNAT, [{"reject": {"type": "icmpx"}}], policy="accept")
    ruleset = ruleset.replace('"table": "filter"', '"table": "firewalld"')
    assert run(tmp_path, monkeypatch, ruleset, what="steered") == 0
    assert run(tmp_path, monkeypatch, ruleset) == 6
    assert capsys.readouterr().out == (
        "nftables: inet firewalld input drops relays' connections to port 5565: "
        "firewall-cmd --permanent --add-port=5565/tcp && firewall-cmd --reload\n"
    )


MARK = {"&": [{"meta": {"key": "mark"}}, 0x80000000]}
TAKEN = [match(MARK, 0x80000000), ACCEPT]
USUAL: list[Rule] = [[STATES], LOOPBACK, DNAT, [dport({"set": [22, 5557, 8443]}), ACCEPT]]


def test_what_is_taken_ahead_of_conntrack_has_its_own_port_and_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(*rules: Rule, name: str = "filter") -> int:
        text = listed(*rules).replace('"table": "filter"', f'"table": "{name}"')
        return run(tmp_path, monkeypatch, text, what="steered", steering=UNTRACKED)

    assert judge(*USUAL) == 6
    assert capsys.readouterr().out == (
        "nftables: inet filter input drops flows taken ahead of conntrack: nft insert rule"
        " inet filter input meta mark & 0x80000000 == 0x80000000 accept, and the same in"
        " /etc/nftables.conf\n"
    )
    assert judge(TAKEN, *USUAL) == 0
    assert judge([match(MARK, 0, "!="), ACCEPT], *USUAL) == 0
    assert judge([match(STATE, "untracked", "in"), ACCEPT], *USUAL) == 0
    assert judge(*USUAL, [dport({"range": [8000, 8100]}), ACCEPT]) == 0
    assert judge(*USUAL, name="firewalld") == 6
    assert "set ktcp_interception of this relay to redirect" in capsys.readouterr().out


def test_a_path_of_all_ports_is_more_than_a_firewall_lets_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = UNTRACKED.replace(" -m multiport --dports 22,8000:8100", "")
    text = listed([dport({"set": [80, 443, 8443]}), ACCEPT])
    assert run(tmp_path, monkeypatch, text, what="steered", steering=everything) == 6


def test_answers_of_what_is_taken_ahead_of_conntrack_leave_the_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def judge(*rules: Rule, steering: str = UNTRACKED) -> int:
        text = listed(*rules, hook="output", name="out")
        return run(tmp_path, monkeypatch, text, what="steered", steering=steering)

    known = [match(STATE, ["established", "related", "new"], "in"), ACCEPT]
    usual = [[match({"meta": {"key": "oifname"}}, "lo"), ACCEPT], [dport(443), ACCEPT]]
    assert judge(known, *usual) == 6
    assert capsys.readouterr().out == (
        "nftables: inet filter out drops answers of flows taken ahead of conntrack: nft insert"
        " rule inet filter out meta l4proto tcp ct state untracked accept, and the same in"
        " /etc/nftables.conf\n"
    )
    assert judge([match(STATE, "untracked", "in"), ACCEPT], known) == 0
    assert judge(known, [dport({"range": [1024, 65535]}), ACCEPT]) == 0
    assert judge(known, steering=STEERING) == 0


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("-m conntrack --ctstate NEW,ESTABLISHED", 6),
        ("-o lo", 6),
        ("-p udp -m udp --dport 53", 6),
        ("-p tcp -m conntrack --ctstate UNTRACKED", 0),
        ("-p tcp", 0),
    ],
)
def test_iptables_lets_these_answers_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rule: str,
    code: int,
) -> None:
    nothing = json.dumps({"nftables": []})
    saved = f":OUTPUT DROP [0:0]\n-A OUTPUT {rule} -j ACCEPT\n"
    options = {"what": "steered", "saved": saved}
    assert run(tmp_path, monkeypatch, nothing, steering=UNTRACKED, **options) == code
    told = "-I OUTPUT -p tcp -m conntrack --ctstate UNTRACKED -j ACCEPT\n"
    assert capsys.readouterr().out.endswith(told) == bool(code)
    assert run(tmp_path, monkeypatch, nothing, steering=STEERING, **options) == 0


def test_flows_that_pass_unsplit_are_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ruleset = listed([match(STATE, "established", "in"), ACCEPT], hook="forward")
    assert run(tmp_path, monkeypatch, ruleset, what="steered") == 0
    assert run(tmp_path, monkeypatch, ruleset) == 6
    assert "inet filter input drops flows that pass unsplit" in capsys.readouterr().out


DOCKER = """\
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
-A INPUT -p tcp -j ACCEPT
-A FORWARD -j DOCKER-USER
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -i br-0123456789ab -o br-0123456789ab -j ACCEPT
-A DOCKER-USER -j RETURN
"""
UFW = """\
:FORWARD DROP [0:0]
:ufw-before-forward - [0:0]
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
"""


@pytest.mark.parametrize(
    ("saved", "rule"),
    [
        (DOCKER, "iptables -I DOCKER-USER -p tcp -j ACCEPT"),
        (UFW, "ufw default allow routed"),
        (":FORWARD DROP [0:0]\n", "iptables -I FORWARD -p tcp -j ACCEPT"),
    ],
)
def test_a_forward_chain_that_lets_only_its_own_through(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    saved: str,
    rule: str,
) -> None:
    nothing = json.dumps({"nftables": []})
    assert run(tmp_path, monkeypatch, nothing, saved=saved) == 6
    assert capsys.readouterr().out == (f"iptables: FORWARD drops flows that pass unsplit: {rule}\n")
    more = saved + "-A DOCKER-USER -p tcp -j ACCEPT\n"
    assert run(tmp_path, monkeypatch, nothing, saved=more) == 0


def test_a_program_that_fails_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 1, "", "Operation not permitted")

    monkeypatch.setattr(firewall.shutil, "which", lambda name: f"/usr/sbin/{name}")
    monkeypatch.setattr(firewall.subprocess, "run", refuse)
    monkeypatch.setattr("sys.argv", ["ktcp-firewall", "check", "--conf", str(tmp_path)])
    assert firewall.main() == 1
    assert "nft -j list ruleset: Operation not permitted" in capsys.readouterr().err
