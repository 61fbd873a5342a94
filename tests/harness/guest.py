# SPDX-License-Identifier: GPL-2.0-only
"""``python3 -m tests.harness.guest``: the guest's only program; runs pytest as the job says.

It sends pytest's output as it is, and events beside it, one JSON object a line
(ktcp_testbed/lab/virtual.py). The guest has only Python and tests.kernel.
"""

import base64
import json
import os
import subprocess
import sys
import termios
import time
import traceback
import tty
import zlib
from pathlib import Path
from typing import Any

from tests.kernel import module

SUITE = Path("/run/suite")
JOB = SUITE / "job.json"
JUNIT = Path("/tmp/junit.xml")
# The limit for all tests together, in the guest's time: a hang takes little of the host's time.
BOUND_S = 4 * 3600
PYTEST = (
    *(sys.executable, "-m", "pytest", "-v", "--tb=short", "--color=no", "-ra", "--durations=25"),
    *("-p", "no:cacheprovider", "--rootdir", str(SUITE), "-c", "/dev/null"),
    *("--import-mode=importlib", f"--junitxml={JUNIT}"),
)


def tell(event: str, **facts: object) -> None:
    """Send one event."""
    sys.stdout.write(json.dumps({"event": event, **facts}, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def send(name: str, content: bytes) -> None:
    """Send a file."""
    tell("file", name=name, content=base64.b64encode(zlib.compress(content)).decode())


def leaks(command: str) -> subprocess.CompletedProcess[str]:
    """Run tests.kernel.leaks in a fresh process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.kernel.leaks", command],
        capture_output=True,
        text=True,
        check=False,
    )


def run(part: dict[str, Any]) -> None:
    """Run a part of the job: its tests, with its module.

    Raises:
        TimeoutExpired: They do not end, or a module does not unload.
    """
    # Otherwise the tests would find the module of the part before.
    module.unload()
    environment = {**os.environ, **part["environment"], "KTCP_MODULE": str(SUITE / part["module"])}
    begun = time.monotonic()
    words = [*PYTEST, *part["words"]]
    # run() would wait for ever for a process that no signal reaches.
    process = subprocess.Popen(words, env=environment, stdin=subprocess.DEVNULL)
    code = process.wait(BOUND_S)
    tell("ran", name=part["name"], code=code, guest_s=round(time.monotonic() - begun, 1))


def work(job: dict[str, Any]) -> None:
    """Do the job of this boot."""
    if job["leaks"]:
        leaks("forget")
    for part in job["parts"]:
        run(part)
    if JUNIT.exists():
        send("junit.xml", JUNIT.read_bytes())
    if job["leaks"]:
        found = leaks("report")
        tell("leaks", code=found.returncode, text=found.stdout + found.stderr)
    else:
        module.unload()


def send_log() -> None:
    """Send the kernel's log."""
    log = subprocess.run(["dmesg"], capture_output=True, check=False)
    send("dmesg.txt", log.stdout)


def main() -> None:
    """Do the job of this boot; send a sentence if that fails."""
    tty.setraw(sys.stdout.fileno())
    try:
        work(json.loads(JOB.read_text(encoding="utf-8")))
        send_log()
    except Exception as error:  # noqa: BLE001 - the host is the only one who can show it
        send_log()
        tell("failed", message=f"{error}\n{traceback.format_exc()}")
    else:
        tell("done", guest_s=round(time.monotonic(), 1))
    termios.tcdrain(sys.stdout.fileno())


if __name__ == "__main__":
    main()
