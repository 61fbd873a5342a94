# SPDX-License-Identifier: GPL-2.0-only
"""Runs plays of the tests' own by the real Ansible, on this machine."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def played(place: Path, *plays: dict[str, Any], hosts: dict[str, Any] | None = None) -> str:
    """Run plays to their end in a directory, which may contain roles. Returns Ansible's output.

    `hosts` are the hosts and their variables, if there are others than localhost.
    """
    (place / "play.yml").write_text(json.dumps(plays))
    inventory = []
    if hosts is not None:
        (place / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
        inventory = ["-i", "hosts.json"]
    done = subprocess.run(
        [Path(sys.executable).with_name("ansible-playbook"), *inventory, "play.yml"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
