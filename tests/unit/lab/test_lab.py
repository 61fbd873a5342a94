# SPDX-License-Identifier: GPL-2.0-only
"""A lab is up as a whole or not at all, and leaves nothing behind."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError, UnreachableError, UsageError
from ktcp_testbed.lab import image, lab, launch, qemu, state
from ktcp_testbed.lab.calibration import BRIEF, CAREFUL, Effort
from ktcp_testbed.lab.lab import Lab
from ktcp_testbed.lab.process import Process
from ktcp_testbed.lab.topology import Guest, Topology
from tests.unit.lab.conftest import PAIR

NewLab = Callable[..., Lab]


def fake_qemus(fakes: Path) -> list[int]:
    """The stand-ins for QEMU of this test that still run."""
    wanted = f"FAKE_DIR={fakes}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes()
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if b"qemu-system-x86_64" in line and wanted in environment:
            found.append(int(process.name))
    return found


def assert_nothing_left(tmp_path: Path, fakes: Path) -> None:
    assert fake_qemus(fakes) == []
    assert not (tmp_path / "lab").exists()
    assert list(tmp_path.glob(f"{lab.SOCKETS_PREFIX}*")) == []


def test_up_then_down_leaves_nothing(new_lab: NewLab, tmp_path: Path, fakes: Path) -> None:
    pair = new_lab()
    status = pair.up()
    assert status.state == "up"
    assert [(guest.name, guest.state) for guest in status.guests] == [
        ("left", "up"),
        ("right", "up"),
    ]
    assert [(link.rtt4_ms, link.rtt6_ms) for link in status.links] == [(40, 40)]
    assert len(fake_qemus(fakes)) == 2
    config = (tmp_path / "lab" / "ssh_config").read_text()
    assert all(f"Port {guest.port}\n" in config for guest in status.guests)
    assert "systemctl start nginx" in (fakes / "ssh.log").read_text()

    assert pair.down()
    assert_nothing_left(tmp_path, fakes)
    assert not pair.down()
    assert pair.status().state == "down"


def test_up_again_changes_nothing(new_lab: NewLab, fakes: Path, said: list[str]) -> None:
    new_lab().up()
    before = fake_qemus(fakes)
    again = new_lab().up()
    assert fake_qemus(fakes) == before
    assert again.state == "up"
    assert "already up" in said[-1]


def test_another_topology_is_refused_while_a_lab_is_up(new_lab: NewLab) -> None:
    new_lab().up()
    other = Topology(name="other", guests=(Guest(name="alone"),))
    with pytest.raises(UsageError, match=r"another lab \(pair, trixie\) is up"):
        new_lab(other).up()


def test_a_dead_guest_is_started_again_from_its_disk(
    new_lab: NewLab, tmp_path: Path, fakes: Path, said: list[str]
) -> None:
    pair = new_lab()
    pair.up()
    disk = tmp_path / "lab" / "right" / "disk.qcow2"
    disk.write_text("what the guest wrote")
    left, right = pair.guest("left").process, pair.guest("right").process
    right.signal(signal.SIGKILL)
    assert wait_until(lambda: not right.alive())
    assert pair.status().state == "broken"

    assert new_lab().up().state == "up"
    assert "guest right: had stopped, starting it again" in said
    assert left.alive()
    assert disk.read_text() == "what the guest wrote"
    assert len(fake_qemus(fakes)) == 2


def test_a_lab_of_dead_guests_is_replaced(new_lab: NewLab, fakes: Path, said: list[str]) -> None:
    pair = new_lab()
    pair.up()
    # A process that is ending loses its command line before it is gone.
    dying = [Process.of(pid) for pid in fake_qemus(fakes)]
    for process in dying:
        process.signal(signal.SIGKILL)
    assert wait_until(lambda: not any(process.alive() for process in dying))
    assert new_lab().up().state == "up"
    assert "lab: removing what an earlier lab left behind" in said


def test_a_silent_guest_is_reported(new_lab: NewLab, fakes: Path) -> None:
    new_lab().up()
    (fakes / "left.silent").touch()
    assert new_lab().status().guests[0].state == "silent"
    with pytest.raises(
        UnreachableError, match="guest left runs, but its ssh server does not answer"
    ):
        new_lab().up()


def test_the_crash_of_one_guest_ends_all_and_shows_its_console(
    new_lab: NewLab, tmp_path: Path, fakes: Path
) -> None:
    (fakes / "left.silent").touch()
    (fakes / "right.dies").touch()
    with pytest.raises(KtcpError, match=r"guest right has stopped(.|\n)*Kernel panic.*no luck"):
        new_lab().up()
    assert_nothing_left(tmp_path, fakes)


def test_a_guest_that_cannot_be_started_ends_all(
    new_lab: NewLab, tmp_path: Path, fakes: Path
) -> None:
    (fakes / "right.fails").touch()
    with pytest.raises(KtcpError, match=r"guest right could not be started(.|\n)*command line"):
        new_lab().up()
    assert_nothing_left(tmp_path, fakes)


def test_a_guest_that_never_answers_is_waited_for_with_a_bound(
    new_lab: NewLab, tmp_path: Path, fakes: Path
) -> None:
    (fakes / "left.silent").touch()
    with pytest.raises(UnreachableError, match="guest left did not let anybody in within 1 s"):
        new_lab(boot_timeout=1).up()
    assert_nothing_left(tmp_path, fakes)


def test_a_taken_port_is_replaced(new_lab: NewLab, tmp_path: Path, fakes: Path) -> None:
    (fakes / "left.port-taken").touch()
    status = new_lab().up()
    assert status.state == "up"
    config = (tmp_path / "lab" / "ssh_config").read_text()
    assert f"Port {status.guests[0].port}\n" in config


def test_a_full_disk_ends_all(new_lab: NewLab, tmp_path: Path, fakes: Path) -> None:
    (fakes / "disk-full").touch()
    with pytest.raises(KtcpError, match="No space left on device"):
        new_lab().up()
    assert_nothing_left(tmp_path, fakes)


def test_a_nearly_full_disk_is_said_before_anything_starts(
    new_lab: NewLab, tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lab, "SPACE_NEEDED_BYTES", 2**62)
    with pytest.raises(KtcpError, match=r"MiB free and a lab needs \d+ MiB"):
        new_lab().up()
    assert_nothing_left(tmp_path, fakes)


def test_an_interrupt_ends_all(new_lab: NewLab, tmp_path: Path, fakes: Path) -> None:
    (fakes / "left.silent").touch()
    (fakes / "right.silent").touch()
    interrupter = threading.Thread(target=interrupt_when_running, args=(fakes, 2))
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        new_lab(boot_timeout=20).up()
    interrupter.join()
    assert_nothing_left(tmp_path, fakes)


def test_an_interrupt_while_a_guest_starts_leaves_none(
    new_lab: NewLab, tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process runs, and nothing knows of it yet."""
    spawn = launch.spawn

    def spawn_and_interrupt(vm: qemu.Vm, errors: Path) -> subprocess.Popen[bytes] | None:
        child = spawn(vm, errors)
        signal.raise_signal(signal.SIGINT)
        return child

    monkeypatch.setattr(launch, "spawn", spawn_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        new_lab().up()
    assert_nothing_left(tmp_path, fakes)


def interrupt_when_running(fakes: Path, guests: int) -> None:
    """Interrupt the main thread once so many guests run."""
    assert wait_until(lambda: len(fake_qemus(fakes)) == guests)
    signal.raise_signal(signal.SIGINT)


def test_what_a_killed_up_has_left_is_removed_by_the_next(
    new_lab: NewLab, tmp_path: Path, fakes: Path, said: list[str]
) -> None:
    pair = new_lab()
    pair.up()
    path = tmp_path / "lab" / state.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {"complete": False}))
    before = fake_qemus(fakes)
    assert new_lab().up().state == "up"
    assert "lab: removing what an earlier lab left behind" in said
    assert set(before).isdisjoint(fake_qemus(fakes))


def test_a_process_of_somebody_else_is_never_ended(new_lab: NewLab, tmp_path: Path) -> None:
    pair = new_lab()
    pair.up()
    path = tmp_path / "lab" / state.NAME
    data = json.loads(path.read_text())
    with subprocess.Popen(["sleep", "60"]) as stranger:
        # As if the guest had ended, and its id had been used again.
        data["guests"]["left"]["pid"] = stranger.pid
        path.write_text(json.dumps(data))
        assert pair.down(graceful=False)
        assert stranger.poll() is None
        stranger.kill()


def test_files_of_others_stay(new_lab: NewLab, tmp_path: Path) -> None:
    pair = new_lab()
    pair.up()
    (tmp_path / "lab" / "notes.txt").write_text("mine")
    pair.down(graceful=False)
    assert [path.name for path in (tmp_path / "lab").iterdir()] == ["notes.txt"]
    with pytest.raises(UsageError, match=r"is not empty \(notes.txt\)"):
        new_lab().up()


def test_down_gives_guests_time_to_switch_off(new_lab: NewLab, fakes: Path) -> None:
    pair = new_lab()
    pair.up()
    began = time.monotonic()
    pair.down()
    log = (fakes / "ssh.log").read_text()
    assert "left -- systemctl poweroff" in log
    assert "right -- systemctl poweroff" in log
    assert time.monotonic() - began < 3


def test_down_does_not_wait_for_ever(
    new_lab: NewLab, tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = new_lab()
    pair.up()
    monkeypatch.setattr(lab, "POWER_OFF_SECONDS", 0.2)
    monkeypatch.setattr("ktcp_testbed.lab.guest.Guest.power_off", lambda _guest: None)
    pair.down()
    assert_nothing_left(tmp_path, fakes)


def test_two_commands_do_not_meet(new_lab: NewLab, tmp_path: Path) -> None:
    pair = new_lab()
    pair.up()
    with (
        lab.held(tmp_path / "lab"),
        pytest.raises(KtcpError, match="another command is at work"),
    ):
        pair.down()
    assert pair.status().state == "up"


def test_links_are_corrected_in_guests_and_seeds(
    new_lab: NewLab, tmp_path: Path, fakes: Path, said: list[str]
) -> None:
    (fakes / "rtt").write_text("42.0\n")
    new_lab().up()
    log = (fakes / "ssh.log").read_text()
    assert "left -- tc qdisc change dev ifb-right root netem delay 18550us" in log
    assert "right -- tc qdisc change dev ifb-left root netem delay 18550us" in log
    # The stand-in's link does not get any shorter, so the best was the first.
    kept = state.load(tmp_path / "lab")
    assert kept is not None
    delay = kept.links["left-right"].delay_us
    assert delay == 19550
    for name in ("left", "right"):
        seed = (tmp_path / "lab" / name / "seed.img").read_bytes()
        assert f"netem delay {delay}us".encode() in seed
    assert any("more than 1 % wrong" in line for line in said)


def test_links_are_corrected_again_when_guests_have_become_slower(
    new_lab: NewLab, tmp_path: Path, fakes: Path
) -> None:
    new_lab().up()
    before = state.load(tmp_path / "lab")
    assert before is not None
    (fakes / "rtt").write_text("40.2\n")
    [link] = new_lab().recalibrate().links
    assert link.rtt4_ms == 40.2
    log = (fakes / "ssh.log").read_text()
    delay = before.links["left-right"].delay_us - 100
    assert f"left -- tc qdisc change dev ifb-right root netem delay {delay}us" in log
    after = state.load(tmp_path / "lab")
    assert after is not None
    assert after.complete
    assert after.guests == before.guests


@pytest.mark.parametrize(("effort", "at_once"), [(BRIEF, 2), (CAREFUL, 1)])
def test_careful_pings_of_one_family_wait_for_the_other(
    monkeypatch: pytest.MonkeyPatch, effort: Effort, at_once: int
) -> None:
    met = threading.Barrier(at_once, timeout=10)
    running: list[int] = []
    seen: list[int] = []

    def ping(_guests: object, _link: object, version: int, _effort: Effort) -> float:
        running.append(version)
        met.wait()
        seen.append(len(running))
        met.wait()
        running.remove(version)
        return float(version)

    monkeypatch.setattr(lab, "ping", ping)
    assert lab.round_trips({}, PAIR.links[0], effort) == (4.0, 6.0)
    assert seen == [at_once, at_once]


def test_links_of_a_lab_that_is_not_up_are_not_measured(new_lab: NewLab, fakes: Path) -> None:
    with pytest.raises(UsageError, match=r"is not up: \./dev lab up"):
        new_lab().recalibrate()
    new_lab().up()
    (fakes / "left.silent").touch()
    with pytest.raises(UsageError, match=r"is not up: \./dev lab up"):
        new_lab().recalibrate()


def test_a_guest_is_found_by_name(new_lab: NewLab) -> None:
    pair = new_lab()
    with pytest.raises(UsageError, match="no lab is up"):
        pair.guest("left")
    pair.up()
    with pytest.raises(UsageError, match="no guest 'middle'; it has left, right"):
        pair.guest("middle")
    assert pair.guest("left").alive()


def test_an_existing_lab_is_found(new_lab: NewLab, tmp_path: Path) -> None:
    assert Lab.find(tmp_path / "lab") is None
    new_lab().up()
    found = Lab.find(tmp_path / "lab")
    assert found is not None
    assert found.topology.name == "pair"


def test_the_image_is_made_before_anything_starts(
    new_lab: NewLab, tmp_path: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KtcpError("the Debian archive is out of reach")

    monkeypatch.setattr(image, "ensure", fails)
    with pytest.raises(KtcpError, match="out of reach"):
        new_lab().up()
    assert_nothing_left(tmp_path, fakes)


def test_a_recorded_process_is_the_one_that_runs(new_lab: NewLab, tmp_path: Path) -> None:
    new_lab().up()
    kept = state.load(tmp_path / "lab")
    assert kept is not None
    for guest in kept.guests.values():
        assert Process.of(guest.pid) == guest.process


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for a condition with a bound."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
