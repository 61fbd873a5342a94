# SPDX-License-Identifier: GPL-2.0-only
"""Commands for the guests, and how their output is read. Here `ssh` is a local shell."""

import stat
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError, UnreachableError
from ktcp_testbed.demo.guests import (
    Guests,
    differing,
    fetch_script,
    pairs,
    ping_times,
    read_download,
)
from ktcp_testbed.demo.results import Download, Way
from ktcp_testbed.lab.topology import PAPER

SERVER = IPv4Address("10.77.3.2")
SUM = "0f" * 32


@pytest.fixture
def guests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Guests:
    """Guests whose ssh runs the command here; `curl` answers for every server."""
    program(tmp_path / "ssh", 'shift 3; exec sh -c "$1"')
    program(
        tmp_path / "curl",
        f"""
while [ "$1" != --output ]; do shift; done
printf '%s' "$(basename "$5")" > "$2"
[ "$(basename "$5")" != 1m ] || [ ! -e "{tmp_path}/broken" ] || exit 22
echo 0.1 0.6 0.85""",
    )
    program(tmp_path / "sleep", f'echo "$1" >>"{tmp_path}/rests"')
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Guests(tmp_path / "ssh_config")


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_every_size_goes_both_ways_in_turn() -> None:
    calls = [line for line in fetch_script(SERVER, runs=2).splitlines() if "http://" in line]
    assert calls[:2] == [
        "fetch 1 routed http://10.77.3.2:8080/10k",
        "fetch 1 ktcp http://10.77.3.2:80/10k",
    ]
    assert len(calls) == 2 * 4 * 2
    assert calls[-1] == "fetch 2 ktcp http://10.77.3.2:80/10m"


def test_downloads_are_reported_as_they_come(guests: Guests) -> None:
    seen: list[Download] = []
    downloads = guests.fetch("client", SERVER, runs=1, done=seen.append)
    assert downloads == seen
    assert len(downloads) == 8
    assert {(d.first_byte, d.total) for d in downloads} == {(0.5, 0.75)}
    assert downloads[0].size == len("10k")


def test_relays_come_to_rest_before_each_download(guests: Guests, tmp_path: Path) -> None:
    downloads = guests.fetch("client", SERVER, runs=2, done=lambda _: None)
    rests = [float(line) for line in (tmp_path / "rests").read_text().split()]
    assert len(rests) == len(downloads)
    pool = 2 * max(link.rtt_ms for link in PAPER.links) / 1000
    assert min(rests) > pool


def test_a_failed_download_is_an_error(guests: Guests, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    with pytest.raises(KtcpError, match="client: a download failed"):
        guests.fetch("client", SERVER, runs=1, done=lambda _: None)


def test_a_failed_command_names_the_guest_and_the_reason(guests: Guests) -> None:
    with pytest.raises(KtcpError, match=r"rc: .*No such file"):
        guests.procfs("rc", "settings")


def test_ssh_that_does_not_get_there_is_unreachable(guests: Guests) -> None:
    with pytest.raises(UnreachableError, match="rs: no route"):
        guests.ask("rs", "echo no route >&2; exit 255")


def test_pairs_skip_comments() -> None:
    text = "module 0.1.0\nwire 1\n\n# splits 3\nsrcversion AB CD\nodd\n"
    assert pairs(text) == {"module": "0.1.0", "wire": "1", "srcversion": "AB CD"}


def test_ping_times() -> None:
    text = "64 bytes from 10.77.2.2: icmp_seq=1 ttl=64 time=215 ms\n... time=215.5 ms\n"
    assert ping_times(text) == [0.215, 0.2155]
    with pytest.raises(KtcpError, match="100% packet loss"):
        ping_times("100% packet loss")


@pytest.mark.parametrize(
    "line",
    ["", "1 ktcp 10", f"x ktcp 10 0 0.1 0.2 {SUM}", f"1 ktcp 10 0.1 0.2 {SUM}", "hello there"],
)
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(KtcpError, match="not a download's figures"):
        read_download(line)


def test_differing_bytes_are_found() -> None:
    good = read_download(f"1 ktcp 10 0 0.1 0.2 {SUM}")
    other = read_download(f"1 routed 20 0 0.1 0.2 {SUM}")
    assert good.way is Way.KTCP
    assert differing([good, other], {10: SUM, 20: "aa" * 32}) == [other]
    assert differing([good], {}) == [good]
