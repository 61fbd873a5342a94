# SPDX-License-Identifier: GPL-2.0-only
"""Links get as long as they should be, on a steady host and on a busy one."""

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import calibration
from ktcp_testbed.lab.calibration import BRIEF, CAREFUL, Effort, Result

GOOD_ENOUGH = 0.006


class FakeLink:
    """A link that takes some time by itself, and more for some of the measurements."""

    def __init__(self, delay_us: int, *, own_ms: float, noise_ms: list[float]) -> None:
        self.delay_us = delay_us
        self.own_ms = own_ms
        self.noise_ms = noise_ms
        self.measured = 0

    def measure(self) -> tuple[float, float]:
        noise = self.noise_ms[self.measured] if self.measured < len(self.noise_ms) else 0
        self.measured += 1
        rtt = 2 * self.delay_us / 1000 + self.own_ms + noise
        return rtt, rtt

    def set_delay(self, delay_us: int) -> None:
        self.delay_us = delay_us

    def calibrate(self, wanted_ms: float) -> Result:
        return calibration.calibrate(
            wanted_ms,
            self.delay_us,
            good_enough=GOOD_ENOUGH,
            measure=self.measure,
            set_delay=self.set_delay,
        )


def test_one_correction_is_enough_for_a_steady_link() -> None:
    link = FakeLink(13_000, own_ms=1.5, noise_ms=[])
    result = link.calibrate(26.0)
    assert link.measured == 2
    assert result.delay_us == link.delay_us == 12_250
    assert result.error(26.0) < 0.001


def test_a_link_that_is_right_is_left_alone() -> None:
    link = FakeLink(12_500, own_ms=1.0, noise_ms=[])
    assert link.calibrate(26.0).delay_us == 12_500
    assert link.measured == 1


def test_a_burst_of_load_is_outlived() -> None:
    link = FakeLink(13_000, own_ms=1.0, noise_ms=[4.0, 2.0])
    assert link.calibrate(26.0).error(26.0) < GOOD_ENOUGH


def test_the_best_is_kept_when_the_host_stays_busy() -> None:
    noise = [8.0, 6.0, 0.5, 9.0, 3.0, 7.0, 9.0, 4.0]
    link = FakeLink(13_000, own_ms=1.0, noise_ms=noise)
    result = link.calibrate(26.0)
    assert link.measured == calibration.ROUNDS + 1
    assert link.delay_us == result.delay_us


def test_a_link_cannot_be_shorter_than_it_is() -> None:
    link = FakeLink(0, own_ms=5.0, noise_ms=[])
    assert link.calibrate(1.0).delay_us == 0


def test_both_protocols_must_be_right() -> None:
    assert Result(0, 100.0, 102.0).error(100.0) == pytest.approx(0.02)
    assert Result(0, 97.0, 100.0).error(100.0) == pytest.approx(0.03)


def pings(*times: float) -> str:
    return "\n".join(f"64 bytes from x: icmp_seq=1 ttl=64 time={time:g} ms" for time in times)


def test_late_answers_and_the_first_do_not_count() -> None:
    times = [500.0] + [33.0] * 20 + [90.0] * 9
    assert calibration.round_trip_ms(pings(*times), pings=30) == pytest.approx(33.0)


def test_too_few_answers_are_an_error() -> None:
    with pytest.raises(KtcpError, match="too few answers to ping: none"):
        calibration.round_trip_ms("", pings=30)
    with pytest.raises(KtcpError, match="too few answers"):
        calibration.round_trip_ms(pings(*[33.0] * 5), pings=30)


def test_careful_pings_wait_for_the_answer_before() -> None:
    assert interval_s(BRIEF, 215.0) == interval_s(BRIEF, 26.0) == 0.05
    assert interval_s(CAREFUL, 215.0) == 0.315
    assert interval_s(CAREFUL, 26.0) == 0.126


def interval_s(effort: Effort, rtt_ms: float) -> float:
    command = effort.ping_command("192.0.2.1", rtt_ms)
    return float(command[command.index("-i") + 1])
