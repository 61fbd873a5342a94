# SPDX-License-Identifier: GPL-2.0-only
"""The order of the demonstration's steps, and the faults that make it fail."""

from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_testbed.demo import process, session
from ktcp_testbed.demo.guests import Guests
from ktcp_testbed.demo.results import Download, Results, Way
from ktcp_testbed.demo.session import Session

SUM = "0f" * 32


class FakeGuests(Guests):
    """A lab that answers at once; the relays split what goes through KTCP."""

    def __init__(self, *, splits_a_download: int = 1, server_sum: str = SUM) -> None:
        super().__init__(Path("/nowhere"))
        self.splits = 7
        self.splits_a_download = splits_a_download
        self.server_sum = server_sum
        self.written: list[tuple[str, dict[str, str]]] = []

    def ask(self, guest: str, command: str) -> str:
        if command == "uname -r":
            return "6.12.0-1-amd64\n"
        assert command.startswith("ping")
        return f"{guest}: time=100 ms"

    def procfs(self, relay: str, name: str) -> dict[str, str]:
        return {
            "settings": {"turbo": "off", "early_syn": "off", "engine": "threads"},
            "version": {"module": "1.2.3", "wire": "1", "srcversion": relay},
            "stats": {"splits_opened_total": str(self.splits)},
        }[name]

    def checksums(self, server: str) -> dict[int, str]:
        assert server == "server"
        return {10_240: self.server_sum}

    def write(self, relay: str, name: str, values: Mapping[str, str]) -> None:
        assert name == "settings"
        self.written.append((relay, dict(values)))

    def pool(self, relay: str) -> tuple[int, int]:
        assert relay == "rc"
        return (1 if self.written[-1][1]["conn_pool"] == "on" else 0), 0

    def fetch(
        self,
        client: str,
        server: IPv4Address,
        *,
        runs: int,
        done: Callable[[Download], None],
        files: Sequence[str] = (),
        ways: Sequence[Way] = tuple(Way),
    ) -> list[Download]:
        del files
        assert (client, str(server)) == ("client", "10.77.3.2")
        self.splits += runs * self.splits_a_download
        downloads = [
            Download(run=run, way=way, size=10_240, first_byte=0.5, total=0.5, sha256=SUM)
            for run in range(1, runs + 1)
            for way in ways
        ]
        for download in downloads:
            done(download)
        return downloads


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The ktcp-ops commands that were run; none of them does anything."""
    seen: list[list[str]] = []

    def run(command: Sequence[str | Path], *, failure: str) -> None:
        assert failure
        seen.append([str(word) for word in command[3:]])

    monkeypatch.setattr(process, "run", run)
    return seen


def demonstration(*, keep: bool = False) -> Session:
    return Session(
        checkout=Path("/checkout"), lab=Path("/lab"), release="trixie", runs=3, keep=keep
    )


def measure(monkeypatch: pytest.MonkeyPatch, guests: Guests, *, keep: bool = False) -> Results:
    monkeypatch.setattr(session, "Guests", lambda _: guests)
    return demonstration(keep=keep).measure()


UP = ["lab", "up", "--release", "trixie", "--dir", "/lab"]
ROLLOUT = ["mesh", "rollout", "--waves", "off", "-i", "/checkout/inventories/lab"]
CALIBRATE = ["lab", "calibrate", "--dir", "/lab"]
DOWN = ["lab", "down", "--dir", "/lab"]


def test_steps_and_results(monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]) -> None:
    results = measure(monkeypatch, FakeGuests())
    assert commands == [UP, ROLLOUT, CALIBRATE, DOWN]
    assert results.runs == 3
    assert len(results.downloads) == 6
    assert results.versions.kernel == "6.12.0-1-amd64"
    assert results.round_trips.relay.nominal == 0.215
    assert results.round_trips.relay.measured == 0.1


def test_one_improvement_after_the_other(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    del commands
    guests = FakeGuests()
    results = measure(monkeypatch, guests)
    on = [
        [name for name, value in step.settings.items() if value == "on"] for step in results.steps
    ]
    everything = ["thread_pool", "early_syn", "conn_pool", "turbo"]
    assert on == [everything[:count] for count in range(5)]
    models = [step.sizes[0].model.first_byte for step in results.steps]
    assert models == pytest.approx([0.5474, 0.5474, 0.4887, 0.3064, 0.3064], abs=1e-3)
    # Each pool is emptied before it is filled with the step's connections.
    pooled = [values["conn_pool"] for relay, values in guests.written[:-2] if relay == "rc"]
    assert pooled == ["off", "off", "off", "off", "on", "off", "on"]
    # The relays' former settings are in force again, and nothing else was changed.
    before = {"turbo": "off", "early_syn": "off"}
    assert guests.written[-2:] == [("rc", before), ("rs", before)]


def test_a_kept_lab_is_not_taken_down(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    measure(monkeypatch, FakeGuests(), keep=True)
    assert commands == [UP, ROLLOUT, CALIBRATE]


def test_unsplit_downloads_are_a_failure(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    with pytest.raises(KtcpError, match="rc split 0 connections, not the 3"):
        measure(monkeypatch, FakeGuests(splits_a_download=0))
    assert commands[-1] == DOWN


def test_changed_bytes_are_a_failure(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    with pytest.raises(KtcpError, match="run 1: 10 KB routed: SHA-256 is 0f"):
        measure(monkeypatch, FakeGuests(server_sum="aa" * 32))
    assert commands[-1] == DOWN


def test_a_failed_rollout_takes_the_lab_down(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    record = process.run

    def run(command: Sequence[str | Path], *, failure: str) -> None:
        record(command, failure=failure)
        if "rollout" in command:
            process.check(ExitCode.UNREACHABLE, failure)

    monkeypatch.setattr(process, "run", run)
    with pytest.raises(KtcpError, match="the mesh could not be rolled out") as caught:
        demonstration().measure()
    assert caught.value.exit_code is ExitCode.UNREACHABLE
    assert commands == [UP, ROLLOUT, DOWN]
