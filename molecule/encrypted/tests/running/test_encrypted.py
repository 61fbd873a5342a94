# SPDX-License-Identifier: GPL-2.0-only
"""Only WireGuard's packets cross the network between relays, and from the client to its relay."""

import re
from collections.abc import Callable, Iterator

import pytest
from testinfra.host import Host

Guest = Callable[[str], Host]

# The longest segment through the tunnel's 1420 bytes, with IPv6 and timestamps.
LONGEST = 1420 - 40 - 20 - 12


@pytest.fixture
def plain(guest: Guest) -> Iterator[Callable[[str], int]]:
    """Counts the TCP packets that a relay gets from another host outside of the tunnel."""
    rules = {"rs": "INPUT -i to-rc -p tcp", "rc": "INPUT -i to-client -p tcp"}
    for name, rule in rules.items():
        for command in ("iptables", "ip6tables"):
            guest(name).check_output(f"{command} -I {rule}")

    def count(name: str) -> int:
        shown = [guest(name).check_output(f"{c} -nvxL INPUT 1") for c in ("iptables", "ip6tables")]
        return sum(int(line.split()[0]) for line in shown)

    yield count
    for name, rule in rules.items():
        for command in ("iptables", "ip6tables"):
            guest(name).check_output(f"{command} -D {rule}")


@pytest.mark.parametrize("server", ["10.77.3.2", "[fd77:0:0:3::2]"])
def test_nothing_of_a_download_is_sent_in_the_clear(
    guest: Guest, plain: Callable[[str], int], server: str
) -> None:
    guest("client").check_output(f"curl -sSf --max-time 120 -o /dev/null http://{server}/1m")
    assert [plain(name) for name in ("rs", "rc")] == [0, 0]


@pytest.mark.parametrize("relay", ["rc", "rs"])
def test_the_legs_fit_the_tunnel_and_have_their_wide_windows(guest: Guest, relay: str) -> None:
    legs = guest(relay).check_output(
        "ss -Htino state established '( sport = 5565 or dport = 5565 )'"
    )
    assert {int(mss) for mss in re.findall(r"\bmss:(\d+)", legs)} == {LONGEST}
    assert {int(size) for size in re.findall(r"\bcwnd:(\d+)", legs)} >= {1000}
    peers = guest(relay).file("/proc/net/ktcp/peers").content_string
    assert re.search(r"^# \[fd6b:.*\]:5565 ready [1-9]", peers, re.MULTILINE), peers


def test_each_host_has_a_key_of_its_own_that_only_root_reads(guest: Guest) -> None:
    keys = set()
    for name in ("client", "rc", "rs"):
        file = guest(name).file("/etc/ktcp-tunnel/wireguard.key")
        assert file.mode == 0o600
        keys.add(file.content_string)
        conf = guest(name).file("/etc/ktcp-tunnel/wireguard.conf").content_string
        assert not [key for key in keys if key.strip() in conf]
    assert len(keys) == 3


def test_the_edge_refuses_to_cut_itself_off(guest: Guest) -> None:
    client = guest("client")
    controller = client.check_output("echo $SSH_CONNECTION").split()[0]
    for destination, reason in (
        ("0.0.0.0/0", "is a default route"),
        (f"{controller}/32", "from where this host is being changed"),
        ("10.77.1.1/32", "which is the relay itself"),
    ):
        refused = client.run(f"ktcp-edge refuse --route '{destination} dev ktcp-wg'")
        assert (refused.rc, reason in refused.stderr) == (1, True), refused.stderr
