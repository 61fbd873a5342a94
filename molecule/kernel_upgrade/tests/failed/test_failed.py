# SPDX-License-Identifier: GPL-2.0-only
"""A kernel was installed and has no module: that is reported before anybody boots it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from testinfra.host import Host

INVENTORY = Path(__file__).parents[3] / "default/inventory"


@pytest.fixture
def relay(guest: Callable[[str], Host]) -> Host:
    return guest("relay")


@pytest.fixture
def kernel(relay: Host) -> str:
    """The release of the new kernel."""
    return relay.check_output("basename /lib/modules/*-cloud-amd64")


def test_the_upgrade_says_so(relay: Host, kernel: str) -> None:
    """Our hook reports it if DKMS is silent (no headers), DKMS and apt if DKMS fails."""
    log = relay.file("/var/tmp/upgrade.log").content_string
    assert "\nkernel: ended with 0\n" in log, log
    assert "\nheaders: ended with 100\n" in log, log
    assert re.search(rf"^ktcp: kernel {re.escape(kernel)}: no ktcp module", log, re.MULTILINE), log
    assert f"kernel {kernel}: no ktcp module" in relay.check_output("journalctl -t ktcp -p err")


def test_every_look_at_the_relay_says_so(kernel: str, tmp_path: Path) -> None:
    verify = [sys.executable, "-m", "ktcp_ops", "mesh", "verify", "-i", str(INVENTORY)]
    done = subprocess.run(
        [*verify, "-o", "json"],
        env={**os.environ, "KTCP_STATE_DIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    wanted = f"run `dkms autoinstall -k {kernel}` before it is booted"
    told = json.loads(done.stdout)["checks"]["hosts"]["relay"]
    assert told["failed_task"] == "ktcp_health: Check the relay"
    assert told["message"] == f"ktcp-dkms lacking: kernel {kernel}: no ktcp module: {wanted}"


def test_the_relay_works_on(relay: Host) -> None:
    assert relay.service("ktcp.service").is_running
    assert relay.check_output("ktcp-apply --check") == ""
