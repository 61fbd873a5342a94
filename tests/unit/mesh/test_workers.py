# SPDX-License-Identifier: GPL-2.0-only
"""The workers' engine, with two workers on this host that are reached without ssh."""

import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktcp_ops.errors import ExitCode
from ktcp_ops.run.inventory import portion
from ktcp_ops.run.parcel import MEMORY, memory_directory
from ktcp_ops.run.result import HostState
from ktcp_ops.run.workers import Worker, WorkersEngine, split
from tests.unit.mesh.test_engine import SLOW, job, processes_with, wait_until
from tests.unit.mesh.test_events import Recorder

BIN = Path(sys.executable).parent
WAIT = SLOW.replace("/nonexistent/file", '"{{ waits_for }}"')
LOCAL = f"PATH={BIN}:$PATH exec {sys.executable} -m ansible_runner worker"
SECRET = "5ec2e7" * 8


def worker(name: str, command: str = LOCAL) -> Worker:
    return Worker(name=name, command=("/bin/sh", "-c", command))


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "hosts.yml"
    variables = {"ansible_connection": "local", "ansible_python_interpreter": "/usr/bin/python3"}
    hosts = {name: {**variables, "word": SECRET} for name in ("a", "bad", "c", "d")}
    groups = {"left": {"hosts": {"a": {}}, "children": {"inner": {"hosts": {"c": {}}}}}}
    path.write_text(json.dumps({"all": {"hosts": hosts, "children": groups}}))
    return str(path)


def test_two_workers_share_a_job_as_if_it_were_one_run(tmp_path: Path, inventory: str) -> None:
    recorder = Recorder()
    wanted = job(tmp_path, inventory, keep=frozenset({"Say"}))
    result = WorkersEngine([worker("one"), worker("two")]).run(wanted, recorder)
    assert result.complaint == ""
    assert {host.host: host.state for host in result.hosts} == {
        "a": HostState.CHANGED,
        "bad": HostState.FAILED,
        "c": HostState.CHANGED,
        "d": HostState.CHANGED,
    }
    assert result.exit_code is ExitCode.FAILED
    assert result.outputs["Say"]["c"]["msg"] == SECRET
    assert recorder.heard[0] == ("started", "try", 3)
    assert recorder.heard[-1] == ("finished",)
    numbers = [item[1] for item in recorder.heard if item[0] == "task"]
    assert numbers == [1, 2, 3]
    assert ("host", "bad", "failed", "as told") in recorder.heard


def test_the_hosts_of_a_worker_that_is_not_there_are_unreachable(
    tmp_path: Path, inventory: str
) -> None:
    recorder = Recorder()
    engine = WorkersEngine(
        [
            worker("silent", "echo key refused >&2; exit 255"),
            worker("polite", "echo Welcome to the node"),
            worker("numb", "echo 5"),
            worker("well"),
        ]
    )
    result = engine.run(job(tmp_path, inventory), recorder)
    assert {host.host: host.state for host in result.hosts} == {
        "a": HostState.UNREACHABLE,
        "bad": HostState.UNREACHABLE,
        "c": HostState.UNREACHABLE,
        "d": HostState.CHANGED,
    }
    messages = {host.host: host.message or "" for host in result.hosts}
    assert messages["a"] == "worker silent is lost: key refused"
    assert messages["bad"].startswith("worker polite is lost: ")
    assert "Welcome to the node" in messages["bad"]
    assert messages["c"].startswith("worker numb is lost: its stream cannot be read")
    assert result.exit_code is ExitCode.UNREACHABLE
    assert ("host", "a", "unreachable", messages["a"]) in recorder.heard


@pytest.fixture
def release(tmp_path: Path) -> Iterator[Path]:
    """A file that hosts wait for; it exists at the end, so that no process waits any more.

    A task in progress outlives the worker that began it, on other hosts and here.
    """
    path = tmp_path / "release"
    yield path
    path.touch()
    wait_until(lambda: not processes_with(str(tmp_path)), seconds=300)


def test_a_job_that_belongs_together_goes_to_one_worker(tmp_path: Path, inventory: str) -> None:
    """Values that Ansible must not evaluate reach it unchanged."""
    path = Path(inventory)
    path.write_text(path.read_text().replace(f'"{SECRET}"', "!unsafe '{{ as it is }}'"))
    engine = WorkersEngine([worker("one"), worker("two", "exit 1")])
    wanted = job(tmp_path, inventory, limit="a:c", keep=frozenset({"Say"}), together=True)
    result = engine.run(wanted, Recorder())
    assert {host: output["msg"] for host, output in result.outputs["Say"].items()} == {
        "a": "{{ as it is }}",
        "c": "{{ as it is }}",
    }
    assert result.exit_code is ExitCode.OK


def test_the_same_hosts_always_go_to_the_same_workers() -> None:
    one, two, three = (worker(name) for name in ("one", "two", "three"))
    assert split(["d", "b", "a", "c", "e"], [one, two]) == [
        (one, ("a", "c", "e")),
        (two, ("b", "d")),
    ]
    assert split(["b", "a"], [three, one, two]) == [(three, ("a",)), (one, ("b",))]


def test_a_worker_gets_its_hosts_and_not_what_the_mesh_is_made_of() -> None:
    own = {"ktcp_node": {"keys": {"1": "k"}}, "ktcp_mesh": {}, "ktcp_keys": {1: "k", 2: "other"}}
    listing = {
        "_meta": {"hostvars": {"a": own, "b": own}},
        "all": {"children": ["ungrouped", "outer"]},
        "ungrouped": {},
        "outer": {"children": ["inner"]},
        "inner": {"hosts": ["a", "b"]},
    }
    assert portion(listing, ["a"]) == {
        "all": {
            "hosts": {"a": {"ktcp_node": {"keys": {"1": "k"}}}},
            "children": {
                "outer": {"hosts": {}, "children": {"inner": {}}},
                "inner": {"hosts": {"a": {}}, "children": {}},
            },
        }
    }


def test_secrets_lie_in_memory_and_do_not_stay() -> None:
    before = tempfile.gettempdir()
    with memory_directory() as directory:
        assert directory.parent == MEMORY
        assert directory.stat().st_mode & 0o077 == 0
        assert tempfile.gettempdir() == str(directory)
    assert not directory.exists()
    assert tempfile.gettempdir() == before


def test_a_worker_that_dies_takes_its_hosts_with_it_and_no_others(
    tmp_path: Path, inventory: str, release: Path
) -> None:
    pid = tmp_path / "pid"
    waits_for = f"{{{{ '{tmp_path}' if inventory_hostname == 'a' else '{release}' }}}}"

    class Killer(Recorder):
        """Kills the second worker when the first has finished."""

        def host(self, *, host: str, outcome: str, message: str) -> None:
            super().host(host=host, outcome=outcome, message=message)
            if host == "a":
                os.kill(int(pid.read_text()), signal.SIGKILL)

    engine = WorkersEngine([worker("one"), worker("two", f"echo $$ >{pid}; {LOCAL}")])
    wanted = job(tmp_path, inventory, WAIT, limit="a:c", variables={"waits_for": waits_for})
    result = engine.run(wanted, Killer())
    assert [(host.host, host.state) for host in result.hosts] == [
        ("a", HostState.OK),
        ("c", HostState.UNREACHABLE),
    ]
    assert result.complete


def test_an_interrupt_ends_the_workers(tmp_path: Path, inventory: str, release: Path) -> None:
    class Impatient(Recorder):
        """Interrupts as soon as a task has begun."""

        def task(self, *, number: int, name: str) -> None:
            super().task(number=number, name=name)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    both = [worker(name, f"{LOCAL} --private-data-dir={tmp_path}/{name}") for name in "xy"]
    recorder = Impatient()
    wanted = job(tmp_path, inventory, WAIT, variables={"waits_for": str(release)})
    result = WorkersEngine(both).run(wanted, recorder)
    assert result.canceled
    assert result.exit_code is ExitCode.INTERRUPTED
    assert not [item for item in recorder.heard if item[0] == "host"]
    assert not processes_with("--private-data-dir=" + str(tmp_path))


def test_ansibles_complaint_about_a_limit_is_told(tmp_path: Path, inventory: str) -> None:
    recorder = Recorder()
    result = WorkersEngine([worker("one")]).run(job(tmp_path, inventory, limit="nobody"), recorder)
    assert "limit" in result.complaint
    assert result.exit_code is ExitCode.FAILED
    assert recorder.heard[-1] == ("finished",)


def test_a_command_that_cannot_be_started_is_told(tmp_path: Path, inventory: str) -> None:
    engine = WorkersEngine([Worker(name="one", command=("/nonexistent/ssh",))])
    assert "worker one: " in engine.run(job(tmp_path, inventory), Recorder()).complaint
