# SPDX-License-Identifier: GPL-2.0-only
"""Only our own processes count as ours, and they end for certain."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from ktcp_testbed.lab import process
from ktcp_testbed.lab.process import Process

STUBBORN = "trap '' TERM; echo ready; while :; do sleep 0.05; done"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as child:
        yield child
        child.kill()


def test_a_process_is_itself(sleeper: subprocess.Popen[bytes]) -> None:
    assert Process.of(sleeper.pid).alive()


def test_an_id_that_was_used_again_is_somebody_else(sleeper: subprocess.Popen[bytes]) -> None:
    real = Process.of(sleeper.pid)
    old = replace(real, start_time=real.start_time - 1)
    assert not old.alive()
    process.stop([old])
    assert sleeper.poll() is None


def test_a_zombie_is_not_alive(sleeper: subprocess.Popen[bytes]) -> None:
    seen = Process.of(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not seen.alive()


def test_there_is_no_process_without_an_entry() -> None:
    with pytest.raises(ProcessLookupError):
        Process.of(2**22 + 1)


def test_the_polite_way_comes_first(sleeper: subprocess.Popen[bytes]) -> None:
    process.stop([Process.of(sleeper.pid)])
    assert sleeper.wait() == -15


def test_a_stubborn_process_is_killed() -> None:
    with subprocess.Popen(["sh", "-c", STUBBORN], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        began = time.monotonic()
        process.stop([Process.of(child.pid)], patience=0.3)
        assert child.wait() == -9
        assert 0.3 <= time.monotonic() - began < 3


def test_those_that_are_left_are_named(sleeper: subprocess.Popen[bytes]) -> None:
    seen = Process.of(sleeper.pid)
    assert process.wait_gone([seen], 0.1) == [seen]
