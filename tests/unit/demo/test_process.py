# SPDX-License-Identifier: GPL-2.0-only
"""Programs are waited for, signalled once, and their exit codes kept."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_testbed.demo import process

PATIENT = """
import pathlib, signal, sys, time
def leave(*_):
    pathlib.Path(sys.argv[1]).write_text("cleaned up")
    sys.exit(130)
signal.signal(signal.SIGINT, leave)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("code", "expected"), [(3, ExitCode.INVALID_MESH), (77, ExitCode.FAILED)])
def test_known_exit_codes_are_kept(code: int, expected: ExitCode) -> None:
    with pytest.raises(KtcpError, match=rf"it broke \(exit code {code}\)") as caught:
        process.run(["sh", "-c", f"exit {code}"], failure="it broke")
    assert caught.value.exit_code is expected


def interrupt(command: list[str]) -> subprocess.Popen[str]:
    """Start a program, and interrupt it when it is ready."""
    with (
        suppress(KeyboardInterrupt),
        process.running(command, stdout=subprocess.PIPE) as program,
    ):
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        signal.raise_signal(signal.SIGINT)
    return program


def test_an_interrupted_program_may_clean_up(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    program = interrupt([sys.executable, "-c", PATIENT, str(trace)])
    assert trace.read_text() == "cleaned up"
    assert program.returncode == 130


def test_a_program_that_will_not_go_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    program = interrupt(["sh", "-c", "trap '' INT; echo ready; while :; do sleep 1; done"])
    assert program.returncode == -signal.SIGKILL


def test_clean_up_is_not_interrupted() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with process.uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler
