# SPDX-License-Identifier: GPL-2.0-only
"""playbooks/drain.yml with a plain file instead of the module's."""

from pathlib import Path

import pytest
import yaml

from ktcp_ops.run.engine import LocalEngine
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Silent
from ktcp_ops.run.result import HostResult, HostState
from tests.contract.conftest import ROOT


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The relay's file `drain`, with its state and number of splits."""
    path = tmp_path / "drain"
    path.write_text("off\n# splits 0\n")
    return path


def play(file: Path, word: str, *, deadline: int = 0, check: bool = False) -> HostResult:
    relay = {"ansible_connection": "local", "ansible_become": False}
    inventory = file.with_name("hosts.yml")
    inventory.write_text(yaml.safe_dump({"relays": {"hosts": {"rc": relay}}}))
    job = Job(
        title="drain",
        playbook=ROOT / "playbooks" / "drain.yml",
        inventories=(str(inventory),),
        check=check,
        variables={
            "ktcp_drain": word,
            "ktcp_drain_deadline": deadline,
            "ktcp_module_drain_file": str(file),
            "ktcp_module_drain_pause": 1,
        },
    )
    (result,) = LocalEngine().run(job, Silent()).hosts
    return result


def test_drain_changes_once_and_a_dry_run_nothing(file: Path) -> None:
    assert play(file, "on", check=True).state is HostState.CHANGED
    assert file.read_text().startswith("off")
    assert play(file, "on", deadline=2).state is HostState.CHANGED
    assert file.read_text() == "on\n"
    assert play(file, "on").state is HostState.OK
    assert play(file, "off").state is HostState.CHANGED
    assert file.read_text() == "off\n"


def test_splits_that_outlive_the_deadline_fail_the_drain(file: Path) -> None:
    file.write_text("on\n# splits 20\n")
    result = play(file, "on", deadline=1)
    assert result.state is HostState.FAILED
    assert result.failed_task == "ktcp_module: Wait for live splits to end"
    assert play(file, "on").state is HostState.OK
