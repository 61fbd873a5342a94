# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh --workers``: what is a worker, and a command through ssh from end to end."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from ktcp_ops.cli import main, workers
from ktcp_ops.errors import UsageError
from ktcp_ops.run.engine import LocalEngine
from ktcp_ops.run.workers import WorkersEngine
from tests.unit.mesh.conftest import KEY, MESH, RELAYS

SSH = """#!/bin/sh
# Stands in for ssh: notes its arguments, and runs here what it was to run there.
echo "$*" >>"{log}"
for command; do :; done
exec sh -c "$command"
"""


def test_without_workers_this_host_runs_ansible() -> None:
    workers.choose("")
    assert isinstance(workers.make_engine(), LocalEngine)


def test_workers_are_logins_and_a_command() -> None:
    workers.choose("ops@one, two", "env A=b ansible-runner worker")
    engine = workers.make_engine()
    assert isinstance(engine, WorkersEngine)
    assert [worker.name for worker in engine.workers] == ["ops@one", "two"]
    assert engine.workers[0].command[-2] == "ops@one"
    assert engine.workers[0].command[-1].endswith(" env A=b ansible-runner worker")


@pytest.mark.parametrize("wrong", ["one,,two", "one,-oProxyCommand=sh", "one,one"])
def test_what_is_no_list_of_workers(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="write each login once"):
        workers.choose(wrong)
    assert main.run(["mesh", "--workers", wrong, "validate", "-i", "nowhere"]) == 2
    assert "--workers" in capsys.readouterr().err


def test_a_command_through_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each relay is asked by a worker of its own; the key is on no command line."""
    log, ssh = tmp_path / "ssh.log", tmp_path / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.format(log=log))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{Path(sys.executable).parent}:/usr/bin:/bin")
    here = {"ansible_connection": "local", "ansible_become": False}
    here["ansible_python_interpreter"] = "/usr/bin/python3"
    hosts = {name: {**variables, **here} for name, variables in RELAYS.items()}
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    groups = {"relays": {"hosts": hosts}, "edges": {"hosts": {"client": {}}}}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
    variables = {"ktcp_mesh": MESH, "ktcp_keys": {1: KEY}}
    (inventory / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    (inventory / "mesh.ktcp.yml").write_text("plugin: ktcp_mesh\n")

    command = ["--worker-command", f"{sys.executable} -m ansible_runner worker"]
    status = ["status", "-i", str(inventory), "-o", "json"]
    code = main.run(["mesh", "--workers", "ops@one,ops@two", *command, *status])
    data = json.loads(capsys.readouterr().out)
    assert sorted(data["relays"]) == ["rc", "rs"]
    assert code in (0, 1)  # whether this host has the module does not matter
    called = log.read_text()
    assert [called.count(login) for login in ("ops@one", "ops@two", KEY)] == [1, 1, 0]
