# SPDX-License-Identifier: GPL-2.0-only
"""Relays that are gone for a while. Each test begins and ends with all relays working."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from testinfra.host import Host

URL = "http://10.78.4.2/1m"
RB, RC = "10.78.2.2:5565", "10.78.3.2:5565"

# Seconds; five emulated machines on a busy host take their time.
PATIENCE = 180


@dataclass(frozen=True)
class Lab:
    """The guests."""

    client: Host
    ra: Host
    rb: Host
    rc: Host
    server: Host

    def fetch(self) -> dict[str, int]:
        """Download once, completely. Returns how many splits that made at each relay with KTCP."""
        before = self.splits()
        fetch = f"set -o pipefail; curl -sSf --max-time {PATIENCE} {URL} | sha256sum"
        digest = self.client.check_output(fetch).split()[0]
        assert digest == self.server.check_output("cat /srv/ktcp-lab/1m.sha256").split()[0]
        return {name: count - before[name] for name, count in self.splits().items()}

    def splits(self) -> dict[str, int]:
        return {
            name: stat(relay, "splits_opened_total")
            for name, relay in (("ra", self.ra), ("rb", self.rb), ("rc", self.rc))
            if relay.file("/proc/net/ktcp/stats").exists
        }

    def wait_peer(self, peer: str, state: str) -> None:
        """Wait until a peer of ra has this state."""
        line = rf"^# {re.escape(peer)} .* state {state}$"
        wait(lambda: re.search(line, proc(self.ra, "peers"), re.MULTILINE))


def proc(relay: Host, name: str) -> str:
    """One of the module's files."""
    return str(relay.check_output("cat /proc/net/ktcp/%s", name))


def stat(relay: Host, name: str) -> int:
    """One counter of a relay."""
    return int(dict(line.split() for line in proc(relay, "stats").splitlines())[name])


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(1)


@contextmanager
def cut_off(relay: Host) -> Iterator[None]:
    """A relay that gets nothing from other relays, but still gets the packets that it routes."""
    rule = "INPUT -p tcp --dport 5565 -j DROP"
    relay.check_output(f"iptables -I {rule}")
    try:
        yield
    finally:
        relay.check_output(f"iptables -D {rule}")


@pytest.fixture
def lab(guest: Callable[[str], Host]) -> Iterator[Lab]:
    guests = Lab(**{name: guest(name) for name in ("client", "ra", "rb", "rc", "server")})
    for peer in (RB, RC):
        guests.wait_peer(peer, "up")
    yield guests
    for peer in (RB, RC):
        guests.wait_peer(peer, "up")


def test_all_is_well(lab: Lab) -> None:
    assert lab.fetch() == {"ra": 1, "rb": 1, "rc": 0}


def test_flows_take_the_backup_while_the_relay_is_cut_off(lab: Lab) -> None:
    with cut_off(lab.rb):
        lab.wait_peer(RB, "down")
        assert lab.fetch() == {"ra": 1, "rb": 0, "rc": 1}
    lab.wait_peer(RB, "up")
    assert lab.fetch() == {"ra": 1, "rb": 1, "rc": 0}


def test_flows_pass_where_no_way_is_left(lab: Lab) -> None:
    passed = stat(lab.ra, "down_passed_total")
    with ExitStack() as stack:
        for relay, peer in ((lab.rb, RB), (lab.rc, RC)):
            stack.enter_context(cut_off(relay))
            lab.wait_peer(peer, "down")
        assert lab.fetch() == {"ra": 0, "rb": 0, "rc": 0}
    assert stat(lab.ra, "down_passed_total") == passed + 1


def test_a_relay_without_its_module_is_passed_over(lab: Lab) -> None:
    lab.rb.check_output("systemctl stop ktcp")
    lab.wait_peer(RB, "down")
    assert lab.fetch() == {"ra": 1, "rc": 1}
    lab.rb.check_output("systemctl start ktcp && systemctl start ktcp-steering")
    lab.wait_peer(RB, "up")
    assert lab.fetch() == {"ra": 1, "rb": 1, "rc": 0}


def test_a_relay_that_died_comes_back_by_itself(lab: Lab) -> None:
    boot = lab.rb.check_output("cat /proc/sys/kernel/random/boot_id")
    lab.rb.run("systemd-run --on-active=1 sh -c 'echo b >/proc/sysrq-trigger'")
    lab.wait_peer(RB, "down")
    # The relay also routes the client's packets, so nothing can be downloaded meanwhile.
    lab.wait_peer(RB, "up")
    assert lab.rb.check_output("cat /proc/sys/kernel/random/boot_id") != boot
    assert lab.fetch() == {"ra": 1, "rb": 1, "rc": 0}
