# SPDX-License-Identifier: GPL-2.0-only
"""Mistakes are reported all at once, and none reaches the relay."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from testinfra.host import Host

INVENTORY = Path(__file__).parents[2] / "default/inventory"
FILES = "settings thread_pool listeners peers routes exits keys"


@pytest.fixture
def relay(guest: Callable[[str], Host]) -> Iterator[Host]:
    """The relay, which the test has to leave as it found it."""
    host = guest("relay")
    before = held(host)
    yield host
    assert held(host) == before
    assert host.service("ktcp").is_running
    assert host.check_output("ktcp-apply --check") == ""


def held(relay: Host) -> str:
    """The module's state and the relay's files."""
    # Lines of comment are counters.
    holds = f"cd /proc/net/ktcp && grep -v '^#' {FILES}"
    files = "find /etc/ktcp -type f -exec sha256sum {} + | sort"
    return str(relay.check_output(f"{holds}; {files}"))


def rollout(inventory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ktcp_ops", "mesh", "rollout", "-i", str(inventory)],
        env={**os.environ, "KTCP_STATE_DIR": str(inventory.parent / "state")},
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def mistaken(tmp_path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A copy of the inventory, whose mesh the body of the ``with`` may spoil."""
    inventory = tmp_path / "inventory"
    shutil.copytree(INVENTORY, inventory)
    file = inventory / "group_vars/all/mesh.yml"
    variables = yaml.safe_load(file.read_text())
    yield inventory, variables
    file.write_text(yaml.safe_dump(variables))


def test_all_that_is_wrong_in_a_mesh_is_said_at_once(relay: Host, tmp_path: Path) -> None:
    del relay
    with mistaken(tmp_path) as (inventory, variables):
        variables["ktcp_mesh"]["paths"][0]["ingress"] = "rely"
        variables["ktcp_mesh"]["thread_pool"] = {"low": 16, "high": 4}
        variables["ktcp_keys"] = {1: "6b74"}
    done = rollout(inventory)
    assert done.returncode == 3, done.stderr
    for wrong in ("rely", "thread_pool", "ktcp_keys"):
        assert wrong in done.stderr


def test_an_inventory_that_is_no_yaml_is_named(relay: Host, tmp_path: Path) -> None:
    del relay
    with mistaken(tmp_path) as (inventory, _):
        pass
    (inventory / "group_vars/all/mesh.yml").write_text("ktcp_mesh: [\n")
    done = rollout(inventory)
    assert done.returncode == 3, done.stderr
    assert "mesh.yml:2: is not YAML" in done.stderr


@contextmanager
def spoiled(relay: Host, file: str, line: str) -> Iterator[None]:
    """A configuration file with an additional line."""
    relay.check_output(f"cp -a /etc/ktcp/{file} /var/tmp/ && echo %s >>/etc/ktcp/{file}", line)
    yield
    relay.check_output(f"cp -a /var/tmp/{file} /etc/ktcp/")


def test_wrong_lines_of_files_are_named_and_none_is_applied(relay: Host) -> None:
    with (
        spoiled(relay, "routes.conf", "add mark nonsense direct"),
        spoiled(relay, "exits.conf", "allow 300.0.0.0/8"),
        spoiled(relay, "settings.conf", "buffer_bytes 65536"),
    ):
        applied = relay.run("ktcp-apply")
        assert applied.rc == 1
        for file in ("routes.conf: line", "exits.conf: line"):
            assert file in applied.stderr
        assert relay.run("systemctl reload ktcp").rc != 0
        assert "buffer_bytes 32768" in relay.check_output("cat /proc/net/ktcp/settings")


def test_what_the_kernel_refuses_takes_back_what_came_before(relay: Host) -> None:
    with (
        spoiled(relay, "exits.conf", "allow 203.0.113.0/24 port 80-80"),
        spoiled(relay, "peers.conf", "add 192.0.2.9:5565 low 8 high 4 key 1"),
    ):
        applied = relay.run("ktcp-apply")
        assert applied.rc == 1
        assert "peers.conf line" in applied.stderr
        for file in ("peers", "exits"):
            held_now = relay.check_output("cat /proc/net/ktcp/%s", file)
            assert "192.0.2.9" not in held_now
            assert "203.0.113.0" not in held_now


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("settings", "buffer_bytes huge"),
        ("peers", "add 192.0.2.9"),
        ("routes", "add mark 0x1 via 192.0.2.9:5565"),
        ("exits", "allow everything"),
        ("listeners", "add client 0"),
    ],
)
def test_the_module_says_what_is_wrong_with_a_line(relay: Host, file: str, line: str) -> None:
    assert relay.run(f"echo %s >/proc/net/ktcp/{file}", line).rc != 0
    said = relay.check_output("cat /proc/net/ktcp/last_error")
    assert file in said
