# SPDX-License-Identifier: GPL-2.0-only
"""Addresses, routes and delays that the guests are given."""

import subprocess
from pathlib import Path

import pytest

from ktcp_testbed.lab import network
from ktcp_testbed.lab.topology import PAPER, SINGLE

DELAYS = {link.name: network.half_delay_us(link) for link in PAPER.links}


def script(guest: str) -> list[str]:
    return network.configure_script(PAPER, guest, DELAYS).splitlines()


def test_each_end_names_its_neighbour() -> None:
    assert [each.name for each in network.interfaces(PAPER, "client")] == ["to-rc"]
    assert [each.name for each in network.interfaces(PAPER, "rc")] == ["to-client", "to-rs"]
    assert [each.name for each in network.interfaces(PAPER, "rs")] == ["to-rc", "to-server"]


def test_no_two_interfaces_share_a_hardware_address() -> None:
    names = [guest.name for guest in PAPER.guests]
    macs = [network.management_mac(PAPER, name) for name in names]
    macs += [each.mac for name in names for each in network.interfaces(PAPER, name)]
    assert len(set(macs)) == len(macs) == 10


def test_ends_are_routed_through_both_relays() -> None:
    client = script("client")
    assert "route add 10.77.2.0/24 via 10.77.1.1" in client
    assert "route add 10.77.3.0/24 via 10.77.1.1" in client
    assert "route add fd77:0:0:3::/64 via fd77:0:0:1::1" in client
    assert "route add 10.77.1.0/24 via 10.77.3.1" in script("server")
    assert "route add 10.77.3.0/24 via 10.77.2.2" in script("rc")
    assert "route add fd77:0:0:1::/64 via fd77:0:0:2::1" in script("rs")
    assert not any(line.startswith("route add 10.77.2.0/24") for line in script("rc"))


@pytest.mark.parametrize(("guest", "value"), [("client", 0), ("rc", 1), ("rs", 1), ("server", 0)])
def test_only_relays_forward(guest: str, value: int) -> None:
    assert f"echo {value} >/proc/sys/net/ipv4/ip_forward" in script(guest)
    assert f"echo {value} >/proc/sys/net/ipv6/conf/all/forwarding" in script(guest)


def test_half_of_the_round_trip_is_on_the_receiving_side_of_each_end() -> None:
    for guest, device in (("rc", "ifb-rs"), ("rs", "ifb-rc")):
        lines = script(guest)
        assert f"qdisc add dev {device} root netem delay 107500us limit 100000" in lines
        arriving = device.replace("ifb", "to")
        assert f"qdisc add dev {arriving} ingress" in lines
        assert any(
            line.startswith(f"filter add dev {arriving}")
            and line.endswith(f"action mirred egress redirect dev {device}")
            for line in lines
        )
        assert not any(f"dev {arriving} root netem" in line for line in lines)


def test_what_the_link_takes_itself_is_left_out_of_the_delay() -> None:
    link = PAPER.links[2]
    assert network.half_delay_us(link) == 13_000
    assert network.half_delay_us(link, 1000) == 12_500
    assert network.half_delay_us(link, 1e9) == 0


def test_everybody_knows_everybody_by_name() -> None:
    hosts = network.hosts(PAPER).splitlines()
    assert "10.77.3.2 server" in hosts
    assert "fd77:0:0:3::2 server" in hosts
    assert "127.0.1.1 relay" in network.hosts(SINGLE).splitlines()


def test_a_guest_without_links_loads_no_modules_for_them() -> None:
    text = network.configure_script(SINGLE, "relay", {})
    assert "modprobe" not in text
    assert "tc -batch" not in text


@pytest.mark.parametrize("guest", ["client", "rc", "rs", "server"])
def test_the_script_is_valid_shell(guest: str) -> None:
    text = network.configure_script(PAPER, guest, DELAYS)
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_interfaces_are_renamed_by_hardware_address(tmp_path: Path) -> None:
    for device, address in (("lo", "00:00:00:00:00:00"), ("eth3", "52:54:00:00:01:02")):
        (tmp_path / device).mkdir()
        (tmp_path / device / "address").write_text(f"{address}\n")
    text = network.RENAME.replace("/sys/class/net", str(tmp_path))
    text += 'rename 52:54:00:00:01:02 to-rc\nprintf %s "$renames"\n'
    done = subprocess.run(["sh", "-eu"], input=text, text=True, check=True, capture_output=True)
    assert done.stdout == "link set dev eth3 name to-rc\n"


def test_a_missing_interface_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lo").mkdir()
    (tmp_path / "lo" / "address").write_text("00:00:00:00:00:00\n")
    text = network.RENAME.replace("/sys/class/net", str(tmp_path)).replace("-lt 300", "-lt 2")
    text += "rename 52:54:00:00:01:02 to-rc\n"
    done = subprocess.run(["sh", "-eu"], input=text, text=True, check=False, capture_output=True)
    assert done.returncode != 0
    assert "no network interface has the address 52:54:00:00:01:02" in done.stderr
