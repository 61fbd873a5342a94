# SPDX-License-Identifier: GPL-2.0-only
"""Options become a job; all invalid options are reported at once."""

from dataclasses import replace

import pytest

from ktcp_ops.errors import ExitCode, UsageError
from ktcp_testbed.bench.catalogue import CATALOGUE, COSTS, WAYS, theory
from ktcp_testbed.bench.guest.cost import SET_UP_WAYS
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.ways import WAYS as GUEST_WAYS
from ktcp_testbed.bench.plan import Wishes, make


def test_the_defaults_are_the_paper() -> None:
    job = make(Wishes()).job
    assert job.legs_ms == (32.7, 215.0, 26.0)
    assert job.direct_ms == pytest.approx(273.7)
    assert list(job.sizes.values()) == [10240, 51200, 102400, 1048576, 10485760, 104857600]
    assert job.runs == 50
    assert job.ways == WAYS


def test_guest_and_host_know_the_same_ways() -> None:
    assert list(GUEST_WAYS) == list(CATALOGUE)
    assert {*COSTS, *SET_UP_WAYS} <= set(CATALOGUE)


def test_a_job_survives_the_way_into_the_guest() -> None:
    job = make(Wishes(settings=("buffer_bytes=65536",), rtt="1,2.5,3,4")).job
    assert Job.load(job.dump()) == job


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"rtt": "32.7,-1,26"}, "--rtt -1: must be between 0 and 10000 milliseconds"),
        ({"rtt": "nan,1,1"}, "--rtt nan"),
        ({"rtt": "fast"}, "--rtt 'fast': write milliseconds"),
        ({"rtt": "5"}, "1 legs; name 2 to 9"),
        ({"rtt": "5,5"}, "ssh-fresh needs two relays"),
        ({"direct_ms": -3.0}, "--direct-rtt -3"),
        ({"loss_percent": 60.0}, "--loss 60: must be between 0 and 50 percent"),
        ({"bandwidth_mbit": -1.0}, "--bandwidth -1"),
        ({"runs": 0}, "--runs 0: must be between 1 and"),
        ({"ways": ("pound",)}, "--way 'pound': there is no such way; there are e2e, "),
        ({"costs": ("pound",)}, "--cost 'pound'"),
        ({"sizes": ("huge",)}, "--size 'huge': write bytes"),
        ({"sizes": ("10g",)}, "files of these sizes need a guest of 21380 MiB"),
        ({"memory_mib": 64}, "--memory 64"),
        ({"settings": ("turbo=off",)}, "choose rows with --way"),
        ({"settings": ("engine",)}, "write NAME=VALUE"),
        ({"name": "../up"}, "--name '../up'"),
    ],
)
def test_what_cannot_be_is_a_sentence(wishes: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError) as error:
        make(replace(Wishes(), **wishes))  # type: ignore[arg-type]
    assert said in error.value.message
    assert error.value.exit_code is ExitCode.USAGE


def test_all_mistakes_at_once() -> None:
    with pytest.raises(UsageError) as error:
        make(Wishes(runs=0, rtt="x", ways=("pound", "squid"), sizes=("no",)))
    assert len(error.value.message.splitlines()) == 5


def test_theory_of_the_paper() -> None:
    def first_byte(way: str) -> float:
        estimate = theory(way, 10240, legs_ms=(32.7, 215, 26), direct_ms=300)
        assert estimate is not None
        return estimate.first_byte

    assert first_byte("e2e") == pytest.approx(0.6)
    assert first_byte("nosplit") == pytest.approx(0.5474)
    assert first_byte("haproxy") == pytest.approx(0.5474)
    assert first_byte("ktcp-tp-es") == pytest.approx(0.4887, abs=1e-4)
    assert first_byte("ktcp") == pytest.approx(0.3064)


def test_theory_of_more_relays() -> None:
    estimate = theory("ktcp", 1, legs_ms=(32.7, 100, 115, 26), direct_ms=300)
    assert estimate is not None
    assert estimate.first_byte == pytest.approx(0.3064)


def test_theory_knows_what_it_does_not_know() -> None:
    assert theory("ssh-warm", 1, legs_ms=(1, 2, 3), direct_ms=6) is None
