# SPDX-License-Identifier: GPL-2.0-only
"""The model against figures measured on otherwise idle paths with the paper's round trips."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.model import (
    Improvements,
    Legs,
    Tcp,
    ideal,
    routed,
    slow_start,
    split,
    split_first_byte,
)

PAPER = Legs(client=0.0327, relays=(0.215,), server=0.026)
TWO_HOPS = Legs(client=0.0327, relays=(0.1, 0.115), server=0.026)
ALL = Improvements(early_syn=True, conn_pool=True, turbo=True)
SECONDS = st.floats(min_value=0, max_value=10)
LEGS = st.builds(
    Legs,
    client=SECONDS,
    relays=st.lists(SECONDS, max_size=4).map(tuple),
    server=SECONDS,
)
IMPROVEMENTS = st.builds(
    Improvements,
    early_syn=st.booleans(),
    conn_pool=st.booleans(),
    turbo=st.booleans(),
)
KILO, MEGA = 1024, 1024**2


@pytest.mark.parametrize(
    ("size", "total"),
    [
        (10 * KILO, 0.548),
        (50 * KILO, 1.095),
        (100 * KILO, 1.369),
        (MEGA, 2.190),
        (10 * MEGA, 3.013),
    ],
)
def test_routed_is_what_was_measured(size: int, total: float) -> None:
    estimate = routed(PAPER, size)
    assert estimate.first_byte == pytest.approx(0.5477, rel=0.002)
    assert estimate.total == pytest.approx(total, rel=0.002)


@pytest.mark.parametrize(
    ("size", "total"),
    [
        (10 * KILO, 0.549),
        (50 * KILO, 0.979),
        (100 * KILO, 1.194),
        (MEGA, 1.839),
        (10 * MEGA, 2.487),
    ],
)
def test_basic_split_is_what_user_space_relays_do(size: int, total: float) -> None:
    estimate = split(PAPER, size, Improvements())
    assert estimate.first_byte == pytest.approx(0.5486, rel=0.003)
    assert estimate.total == pytest.approx(total, rel=0.003)


@pytest.mark.parametrize(
    ("size", "total"),
    [
        (10 * KILO, 0.306),
        (50 * KILO, 0.372),
        (100 * KILO, 0.405),
        (MEGA, 0.503),
        (10 * MEGA, 0.601),
    ],
)
def test_all_improvements_leave_only_the_short_legs(size: int, total: float) -> None:
    estimate = split(PAPER, size, ALL)
    assert estimate.first_byte == pytest.approx(0.3064)
    assert estimate.total == pytest.approx(total, abs=0.001)


def test_a_pooled_connection_saves_the_relays_handshake() -> None:
    without = split_first_byte(PAPER, Improvements())
    pooled = split_first_byte(PAPER, Improvements(conn_pool=True))
    assert pooled == pytest.approx(without - PAPER.relays[0])


@pytest.mark.parametrize("improvements", [Improvements(), ALL])
def test_more_hops_of_the_same_length_cost_no_first_byte(improvements: Improvements) -> None:
    one, two = (split_first_byte(legs, improvements) for legs in (PAPER, TWO_HOPS))
    assert two == pytest.approx(one)


def test_more_hops_shorten_slow_start() -> None:
    naive, turbo = Improvements(), ALL
    assert split(TWO_HOPS, MEGA, naive).total < split(PAPER, MEGA, naive).total - 0.4
    assert split(TWO_HOPS, MEGA, turbo).total == pytest.approx(split(PAPER, MEGA, turbo).total)


def test_early_syn_opens_all_legs_at_once() -> None:
    early = split_first_byte(TWO_HOPS, Improvements(early_syn=True))
    assert early == pytest.approx(2 * TWO_HOPS.end_to_end - 0.0327 - 0.026 - 0.1)


def test_one_relay_has_no_relay_leg() -> None:
    legs = Legs(client=0.1, server=0.2)
    assert split_first_byte(legs, Improvements()) == pytest.approx(0.6)
    assert split_first_byte(legs, Improvements(early_syn=True)) == pytest.approx(0.5)


def test_turbo_moves_the_last_byte_only() -> None:
    without = split(PAPER, MEGA, Improvements())
    turbo = split(PAPER, MEGA, Improvements(turbo=True))
    assert turbo.first_byte == without.first_byte
    assert turbo.total < without.total - 1


@given(legs=LEGS, improvements=IMPROVEMENTS)
def test_nothing_beats_one_pass_over_the_path(legs: Legs, improvements: Improvements) -> None:
    first_byte = split_first_byte(legs, improvements)
    assert first_byte >= legs.client + legs.end_to_end - 1e-9
    assert first_byte >= split_first_byte(legs, ALL) - 1e-9


@given(
    arrivals=st.lists(SECONDS, min_size=1, max_size=200).map(sorted),
    round_trip=st.floats(min_value=0, max_value=1),
)
def test_slow_start_keeps_order_and_never_sends_early(
    arrivals: list[float], round_trip: float
) -> None:
    moments = slow_start(arrivals, round_trip)
    assert moments == sorted(moments)
    assert all(
        moment >= arrival + round_trip / 2
        for moment, arrival in zip(moments, arrivals, strict=True)
    )


def test_slow_start_doubles_each_round_trip() -> None:
    moments = slow_start([0.0] * 71, 1.0)
    assert [moments.count(number + 0.5) for number in range(4)] == [10, 20, 40, 1]


def test_an_ideal_pipe_costs_one_round_trip() -> None:
    assert ideal(PAPER, 10 * MEGA).total == ideal(PAPER, 1).first_byte == pytest.approx(0.2737)


def test_a_narrow_link_takes_its_time() -> None:
    narrow = Tcp(bandwidth=MEGA)
    assert ideal(PAPER, 10 * MEGA, narrow).total == pytest.approx(0.2737 + 10, rel=0.01)
    full = split(PAPER, 10 * MEGA, ALL, narrow)
    assert full.first_byte == pytest.approx(0.3064)
    assert 10 <= full.total - full.first_byte <= 10.2
    assert routed(PAPER, 10 * MEGA, narrow).total > full.total


def test_a_larger_first_window_saves_round_trips() -> None:
    wide = Tcp(initial_window=100)
    assert routed(PAPER, 100 * KILO, wide).total == routed(PAPER, 100 * KILO).first_byte


def test_larger_segments_are_fewer() -> None:
    jumbo = Tcp(segment_bytes=8948)
    assert routed(PAPER, MEGA, jumbo).total < routed(PAPER, MEGA).total
