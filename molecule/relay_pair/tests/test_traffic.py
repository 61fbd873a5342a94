# SPDX-License-Identifier: GPL-2.0-only
"""Downloads from the server's port 80, which the lab's mesh sends through rc and rs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from testinfra.host import Host

SERVER = {4: "10.77.3.2", 6: "[fd77:0:0:3::2]"}
CLIENT = "10.77.1.2"
RELAY = "10.77.1.1"

# Seconds; the largest file takes about ten at these distances, on a busy host more.
PATIENCE = 120


@dataclass(frozen=True)
class Lab:
    """The guests of the paper's topology."""

    client: Host
    rc: Host
    rs: Host
    server: Host

    def fetch(self, url: str) -> str:
        """SHA-256 of the client's download."""
        out = self.client.check_output(
            "set -o pipefail; curl -sSf --max-time %s %s | sha256sum", str(PATIENCE), url
        )
        return str(out.split()[0])

    def code(self, url: str) -> int:
        """Exit code of curl: 7 could not connect, 56 was reset."""
        return int(self.client.run("curl -sS --max-time 30 -o /dev/null %s", url).rc)


@pytest.fixture(scope="module")
def lab(guest: Callable[[str], Host]) -> Lab:
    return Lab(**{name: guest(name) for name in ("client", "rc", "rs", "server")})


def stat(relay: Host, name: str) -> int:
    """One counter of a relay."""
    lines = relay.file("/proc/net/ktcp/stats").content_string.splitlines()
    return int(dict(line.split() for line in lines)[name])


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", ["10k", "1m"])
def test_bytes_cross_both_relays_unchanged(lab: Lab, version: int, size: str) -> None:
    before = [stat(relay, "splits_opened_total") for relay in (lab.rc, lab.rs)]
    digest = lab.fetch(f"http://{SERVER[version]}/{size}")
    assert digest == lab.server.check_output(f"cat /srv/ktcp-lab/{size}.sha256").split()[0]
    after = [stat(relay, "splits_opened_total") for relay in (lab.rc, lab.rs)]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 1]


@pytest.fixture
def counted(lab: Lab) -> Iterator[None]:
    """The server counts the connections to its port 80 that come from the client's address."""
    rule = f"INPUT -p tcp --syn --dport 80 -s {CLIENT}"
    lab.server.check_output(f"iptables -I {rule}")
    yield
    lab.server.check_output(f"iptables -D {rule}")


@pytest.mark.usefixtures("counted")
def test_a_service_port_leads_to_its_target_which_sees_the_client(lab: Lab) -> None:
    before = stat(lab.rs, "splits_opened_total")
    digest = lab.fetch(f"http://{RELAY}:8081/10k")
    assert digest == lab.server.check_output("cat /srv/ktcp-lab/10k.sha256").split()[0]
    assert stat(lab.rs, "splits_opened_total") == before + 1
    rules = lab.server.check_output("iptables -nvxL INPUT").splitlines()
    assert [line.split()[0] for line in rules if CLIENT in line] == ["1"]


def test_what_no_path_covers_is_not_split(lab: Lab) -> None:
    before = stat(lab.rc, "splits_opened_total")
    assert lab.fetch(f"http://{SERVER[4]}:8080/10k") == lab.fetch(f"http://{SERVER[6]}:8080/10k")
    assert stat(lab.rc, "splits_opened_total") == before


@pytest.fixture
def no_web(lab: Lab) -> Iterator[None]:
    """Nobody listens on the server's port 80."""
    lab.server.check_output("iptables -I INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset")
    yield
    lab.server.check_output("iptables -D INPUT -p tcp --dport 80 -j REJECT --reject-with tcp-reset")


@pytest.mark.usefixtures("no_web")
def test_a_refused_target_stays_refused(lab: Lab) -> None:
    assert lab.code(f"http://{SERVER[4]}/10k") in {7, 56}


@pytest.fixture
def no_exit(lab: Lab) -> Iterator[None]:
    """The far relay denies all targets; the near one still sends it flows to refused targets."""
    lab.rc.check_output("echo refused_hold_s 0 > /proc/net/ktcp/settings")
    lab.rs.check_output(
        "sed 's/^allow/del allow/; /^#/d' /etc/ktcp/exits.conf > /proc/net/ktcp/exits"
    )
    yield
    for relay in (lab.rs, lab.rc):
        relay.check_output("systemctl reload ktcp")


@pytest.mark.usefixtures("no_exit")
def test_what_no_exit_allows_is_refused(lab: Lab) -> None:
    before = stat(lab.rs, "exit_denied_total")
    assert lab.code(f"http://{SERVER[4]}/10k") in {7, 56}
    assert stat(lab.rs, "exit_denied_total") == before + 1


def test_strangers_do_not_reach_the_relay_port(lab: Lab) -> None:
    assert lab.client.run("nc -z -w 5 10.77.1.1 5565").rc == 1
    assert lab.server.run("nc -z -w 5 10.77.3.1 5565").rc == 1


@pytest.fixture
def unloaded(lab: Lab) -> Iterator[None]:
    """The ingress without KTCP, its rules with it."""
    lab.rc.check_output("systemctl stop ktcp")
    yield
    lab.rc.check_output("systemctl start ktcp")
    lab.rc.check_output("systemctl start ktcp-steering")


@pytest.mark.usefixtures("unloaded")
def test_traffic_flows_by_plain_routing_without_the_module(lab: Lab) -> None:
    assert not lab.rc.file("/sys/module/ktcp").exists
    before = stat(lab.rs, "splits_opened_total")
    digest = lab.fetch(f"http://{SERVER[4]}/10k")
    assert digest == lab.server.check_output("cat /srv/ktcp-lab/10k.sha256").split()[0]
    assert stat(lab.rs, "splits_opened_total") == before


def test_a_module_removed_behind_the_service_breaks_nothing(lab: Lab) -> None:
    lab.rc.check_output("rmmod ktcp")
    digest = lab.fetch(f"http://{SERVER[4]}/10k")
    assert digest == lab.server.check_output("cat /srv/ktcp-lab/10k.sha256").split()[0]
    assert "--set-xmark 0x101" in lab.rc.check_output("iptables-save -t raw")
    lab.rc.check_output("systemctl restart ktcp")
    lab.rc.check_output("systemctl start ktcp-steering")
    test_bytes_cross_both_relays_unchanged(lab, 4, "10k")
