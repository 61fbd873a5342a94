# SPDX-License-Identifier: GPL-2.0-only
"""ktcp-edge with an `ip` that keeps its routes in a list."""

import json
import subprocess
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.programs import program

edge = program("ktcp_edge", "ktcp-edge")

CONTROLLER = "192.0.2.7"
DEFAULT = {"dst": "default", "gateway": "10.5.0.254", "dev": "lan", "protocol": "dhcp"}
LAN = {"dst": "10.5.0.0/24", "dev": "lan", "protocol": "kernel"}


@dataclass
class Kernel:
    """Routes of IPv4, and the commands that changed them."""

    routes: list[dict[str, Any]] = field(default_factory=lambda: [dict(DEFAULT), dict(LAN)])
    changes: list[str] = field(default_factory=list)

    def run(self, *argv: str, **_: object) -> subprocess.CompletedProcess[str]:
        words = [word for word in argv[0] if word != "-json"]
        if words[1] == "-6":
            return subprocess.CompletedProcess(words, 0, "[]", "")
        if words[2] == "address":
            link = {"addr_info": [{}, {"local": "192.0.2.9"}, {"local": "10.5.0.1"}]}
            return subprocess.CompletedProcess(words, 0, json.dumps([{}, link]), "")
        answer = {
            "show": self.show,
            "get": self.get,
            "replace": self.replace,
            "del": self.delete,
        }[words[3]](words[4:])
        return subprocess.CompletedProcess(words, 0, json.dumps(answer), "")

    def show(self, words: list[str]) -> list[dict[str, Any]]:
        """By protocol, or by exact destination."""
        where = {"proto": "protocol", "exact": "dst"}[words[0]]
        return [route for route in self.routes if route[where] == words[1]]

    def get(self, words: list[str]) -> list[dict[str, Any]]:
        """The longest prefix wins; without fibmatch, the answer is about the address."""

        def network(route: dict[str, Any]) -> str:
            return "0.0.0.0/0" if route["dst"] == "default" else str(route["dst"])

        address = ip_address(words[-1])
        covering = [route for route in self.routes if address in ip_network(network(route))]
        best = max(covering, key=lambda route: ip_network(network(route)).prefixlen)
        return [best if words[0] == "fibmatch" else {**best, "dst": words[-1]}]

    def replace(self, words: list[str]) -> list[dict[str, Any]]:
        self.changes.append(f"replace {' '.join(words)}")
        destination, by, where, *source, _, protocol = words
        self.routes = [route for route in self.routes if route["dst"] != destination]
        hop = {"gateway": where, "dev": "lan"} if by == "via" else {"dev": where}
        own = {"prefsrc": source[1]} if source else {}
        self.routes.append({"dst": destination, **hop, **own, "protocol": protocol})
        return []

    def delete(self, words: list[str]) -> list[dict[str, Any]]:
        self.changes.append(f"del {' '.join(words)}")
        self.routes = [route for route in self.routes if route["dst"] != words[0]]
        return []


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(edge.subprocess, "run", kernel.run)
    monkeypatch.setattr(edge, "controllers", lambda: {ip_address(CONTROLLER)})
    monkeypatch.setattr(edge, "TUNNEL", tmp_path / "wireguard.conf")
    return kernel


def command(monkeypatch: pytest.MonkeyPatch, action: str, *routes: str) -> int:
    monkeypatch.setattr("sys.argv", ["ktcp-edge", action, *(f"--route={r}" for r in routes)])
    return int(edge.main())


ROUTE = "10.77.3.0/24 via 10.5.0.9"


def test_a_route_is_set_once(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "check", ROUTE) == edge.DRIFT
    assert kernel.changes == []
    assert command(monkeypatch, "up", ROUTE) == 0
    assert capsys.readouterr().out.splitlines() == [f"+ {ROUTE}"] * 2
    assert command(monkeypatch, "up", ROUTE) == command(monkeypatch, "check", ROUTE) == 0
    assert kernel.changes == [f"replace {ROUTE} proto 107"]


def test_another_next_hop_replaces_and_what_is_not_wanted_goes(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(monkeypatch, "up", ROUTE, "10.8.0.0/16 dev ktcp-wg")
    kernel.changes.clear()
    assert command(monkeypatch, "up", "10.77.3.0/24 via 10.5.0.10") == 0
    assert kernel.changes == [
        "replace 10.77.3.0/24 via 10.5.0.10 proto 107",
        "del 10.8.0.0/16 dev ktcp-wg proto 107",
    ]


def test_what_the_host_itself_sends_is_from_behind_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = (
        "10.8.0.0/16 dev ktcp-wg from 10.6.0.0/16,10.5.0.0/24",
        "10.9.0.0/16 dev ktcp-wg from 10.6.0.0/16",
    )
    assert command(monkeypatch, "up", *routes) == 0
    assert kernel.changes == [
        "replace 10.8.0.0/16 dev ktcp-wg src 10.5.0.1 proto 107",
        "replace 10.9.0.0/16 dev ktcp-wg proto 107",
    ]
    assert command(monkeypatch, "check", *routes) == 0


def test_down_leaves_the_routes_of_others(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, "up", ROUTE)
    assert command(monkeypatch, "down") == 0
    assert kernel.routes == [DEFAULT, LAN]


@pytest.mark.parametrize(
    ("route", "reason"),
    [
        ("0.0.0.0/0 via 10.5.0.9", "is a default route, which is never touched"),
        ("192.0.2.0/24 via 10.5.0.9", "from where this host is being changed"),
        ("192.0.0.0/6 dev ktcp-wg", "from where this host is being changed"),
        ("10.5.0.0/25 via 10.5.0.9", "which is the relay itself"),
        ("203.0.113.0/24 dev ktcp-wg", "which is the relay itself"),
        ("10.5.0.0/24 dev ktcp-wg", "somebody else routes it, by lan"),
        ("10.8.0.0/16 via 10.6.0.1", "is not on a network of this host but behind 10.5.0.254"),
        ("10.8.0.1/16 via 10.5.0.9", "is no route; write DESTINATION via ADDRESS"),
        ("10.8.0.0/16 via relay", "is no route"),
        ("10.8.0.0/16", "is no route"),
    ],
)
def test_what_would_cut_the_host_off_is_refused(
    kernel: Kernel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    route: str,
    reason: str,
) -> None:
    edge.TUNNEL.write_text("Endpoint = 203.0.113.5:51820\n")
    for action in ("refuse", "check", "up"):
        assert command(monkeypatch, action, ROUTE, route) == edge.FAILED
        assert reason in capsys.readouterr().err
    assert kernel.changes == []


def test_all_refusals_come_at_once(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("0.0.0.0/0 via 10.5.0.9", "192.0.2.0/24 via 10.5.0.9", "10.8.0.0/16 via 10.6.0.1")
    assert command(monkeypatch, "refuse", *wrong) == edge.FAILED
    assert len(capsys.readouterr().err.splitlines()) == len(wrong)
    assert kernel.changes == []


def test_a_controller_with_a_narrower_route_keeps_it(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel.routes.append({"dst": "192.0.2.0/25", "dev": "mgmt", "protocol": "static"})
    assert command(monkeypatch, "up", "192.0.2.0/24 via 10.5.0.9") == 0


def test_a_route_that_is_there_is_not_refused_again(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(monkeypatch, "up", ROUTE)
    monkeypatch.setattr(edge, "controllers", lambda: {ip_address("10.77.3.5")})
    assert command(monkeypatch, "up", ROUTE) == 0
    assert len(kernel.changes) == 1


def test_the_way_here_is_that_of_the_ssh_connection_above_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for process, parent, environment in (
        (30, 20, b"HOME=/root\0"),  # sudo removes ssh's variables
        (20, 10, b"SSH_CONNECTION=fe80::7%eth0 50000 fe80::1 22\0LANG=C\0"),
        (10, 1, b"SSH_CONNECTION=192.0.2.7 50000 192.0.2.1 22\0"),
    ):
        directory = tmp_path / str(process)
        directory.mkdir()
        (directory / "environ").write_bytes(environment)
        (directory / "status").write_text(f"Name:\tsh\nPPid:\t{parent}\n")
    monkeypatch.setattr(edge, "PROC", tmp_path)
    monkeypatch.setattr(edge.os, "getpid", lambda: 30)
    assert edge.controllers() == {ip_address("fe80::7"), ip_address(CONTROLLER)}
