# SPDX-License-Identifier: GPL-2.0-only
"""The local engine against a real Ansible, with this host as the only one."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ktcp_ops.errors import ExitCode, KtcpError, UsageError
from ktcp_ops.run import environment, parcel
from ktcp_ops.run.engine import LocalEngine, Stop
from ktcp_ops.run.hosts import hosts_of, selected, tasks_of
from ktcp_ops.run.job import Job
from ktcp_ops.run.result import HostState
from tests.unit.mesh.test_events import Recorder

PLAYBOOK = """
- name: Play
  hosts: all
  gather_facts: false
  tasks:
    - name: Say
      ansible.builtin.debug:
        msg: "{{ word | default('nothing') }}"
    - name: Change
      ansible.builtin.command: "true"
    - name: Refuse
      ansible.builtin.fail:
        msg: as told
      when: inventory_hostname == 'bad'
"""

SLOW = """
- name: Play
  hosts: all
  gather_facts: false
  tasks:
    - name: Wait for a file that never comes
      ansible.builtin.wait_for:
        path: /nonexistent/file
        timeout: 300
"""


@pytest.fixture
def inventory(tmp_path: Path) -> str:
    path = tmp_path / "hosts.ini"
    path.write_text("[all:vars]\nansible_connection=local\n[all]\ngood\nbad\n")
    return str(path)


def job(tmp_path: Path, inventory: str, text: str = PLAYBOOK, **more: object) -> Job:
    path = tmp_path / "play.yml"
    path.write_text(text)
    fields = {"title": "try", "playbook": path, "inventories": (inventory,), **more}
    return Job(**fields)  # type: ignore[arg-type]  # the fields are those of each test


def test_a_run_gives_each_hosts_outcome_and_leaves_nothing_behind(
    tmp_path: Path, inventory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    recorder = Recorder()
    wanted = job(tmp_path, inventory, variables={"word": "hello"}, keep=frozenset({"Say"}))
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    result = LocalEngine().run(wanted, recorder)
    assert result.exit_code is ExitCode.FAILED
    states = {host.host: host.state for host in result.hosts}
    assert states == {"good": HostState.CHANGED, "bad": HostState.FAILED}
    bad = next(host for host in result.hosts if host.host == "bad")
    assert (bad.failed_task, bad.message) == ("Refuse", "as told")
    assert result.outputs["Say"]["good"]["msg"] == "hello"
    assert recorder.heard[0] == ("started", "try", 3)
    assert recorder.heard[-1] == ("finished",)
    assert ("task", 2, "Change") in recorder.heard
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert not list((tmp_path / "tmp").glob("ktcp-run-*"))
    # The variables of one run are not those of the next.
    again = LocalEngine().run(job(tmp_path, inventory, keep=frozenset({"Say"})), Recorder())
    assert again.outputs["Say"]["good"]["msg"] == "nothing"


def test_check_changes_nothing_and_limit_selects(tmp_path: Path, inventory: str) -> None:
    result = LocalEngine().run(job(tmp_path, inventory, check=True, limit="good"), Recorder())
    assert [(host.host, host.state) for host in result.hosts] == [("good", HostState.OK)]


def test_a_limit_that_selects_nothing_is_said_in_ansibles_words(
    tmp_path: Path, inventory: str
) -> None:
    result = LocalEngine().run(job(tmp_path, inventory, limit="nobody"), Recorder())
    assert result.exit_code is ExitCode.FAILED
    assert "limit" in result.complaint


def test_an_interrupt_ends_the_run_soon_and_is_told(tmp_path: Path, inventory: str) -> None:
    class Impatient(Recorder):
        """Interrupts as soon as the task has begun."""

        def task(self, *, number: int, name: str) -> None:
            super().task(number=number, name=name)
            threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    recorder = Impatient()
    result = LocalEngine().run(job(tmp_path, inventory, SLOW), recorder)
    assert result.canceled
    assert result.exit_code is ExitCode.INTERRUPTED
    assert recorder.heard[-1] == ("finished",)
    # Ansible's workers lead process groups of their own; they must be gone too.
    wait_until(lambda: not processes_with(str(tmp_path)), seconds=10)


def test_an_interrupted_run_names_the_hosts_that_it_did_not_come_to(
    tmp_path: Path, inventory: str
) -> None:
    class Impatient(Recorder):
        """Interrupts at the second task."""

        def task(self, *, number: int, name: str) -> None:
            super().task(number=number, name=name)
            if number == 2:
                threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()

    play = SLOW.replace("hosts: all", "hosts: good").replace(
        "  tasks:\n", "  tasks:\n    - ansible.builtin.command: 'true'\n"
    )
    wanted = job(tmp_path, inventory, play, hosts=("good", "bad"))
    result = LocalEngine().run(wanted, Impatient())
    assert [(host.host, host.state, host.changed) for host in result.hosts] == [
        ("bad", HostState.NOT_REACHED, 0),
        ("good", HostState.UNFINISHED, 1),
    ]


def processes_with(word: str) -> list[int]:
    """List the processes that have a word in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:  # it has ended meanwhile
            continue
        if word.encode() in line and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def wait_until(true: Callable[[], bool], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.1)


class Deaf:
    """Makes processes that ignore requests to end."""

    def __init__(self, stop: Stop) -> None:
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"],
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout
        self.process.stdout.readline()
        stop.process = self.process.pid


def test_who_does_not_listen_is_killed_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Stop, "GRACE_S", 0.3)
    stop = Stop()
    deaf = Deaf(stop)
    try:
        assert not stop.must_kill()
        stop.wanted.set()
        assert not stop.must_kill()
        wait_until(stop.must_kill, seconds=5)
        assert deaf.process.poll() is None
    finally:
        deaf.process.kill()
        deaf.process.communicate()


def test_who_is_not_there_needs_no_grace() -> None:
    stop = Stop()
    stop.wanted.set()
    assert stop.must_kill()


def test_tasks_of_a_broken_playbook_are_not_counted(tmp_path: Path, inventory: str) -> None:
    assert tasks_of(job(tmp_path, inventory, "- hosts: [\n").playbook) is None


PLAYS = """
- hosts: good
  gather_facts: false
  tasks:
    - name: A block
      block:
        - ansible.builtin.debug: {msg: x}
        - ansible.builtin.debug: {msg: y}
- hosts: "{{ also | default('nobody') }}"
  gather_facts: false
  handlers:
    - name: A handler
      ansible.builtin.debug: {msg: z}
  tasks:
    - ansible.builtin.debug: {msg: z}
"""


def test_hosts_and_tasks_are_those_of_every_play(tmp_path: Path, inventory: str) -> None:
    assert hosts_of(job(tmp_path, inventory, PLAYS)) == ["good"]
    both = job(tmp_path, inventory, PLAYS, variables={"also": ["bad", "good"]})
    assert hosts_of(both) == ["bad", "good"]
    assert hosts_of(replace(both, limit="all:!good")) == ["bad"]
    assert selected(replace(both, limit="good")).hosts == ("good",)
    assert tasks_of(both.playbook) == 3
    with pytest.raises(KtcpError, match=r"nowhere\.yml"):
        hosts_of(replace(both, playbook=tmp_path / "nowhere.yml"))


def test_a_limit_that_selects_no_host_is_wrong_usage(tmp_path: Path, inventory: str) -> None:
    for limit in ("nosuch", "bad"):  # hosts that the inventory lacks, and hosts of no play
        with pytest.raises(UsageError, match=f"--limit {limit}: selects no host"):
            selected(job(tmp_path, inventory, PLAYS, limit=limit))


def test_the_collection_is_found_in_the_checkout_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (environment.collection_root() / "plugins/inventory/ktcp_mesh.py").is_file()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "ktcp_ops/run/environment.py"))
    with pytest.raises(KtcpError, match="reinstall"):
        environment.collection_root()
    plugin = tmp_path / environment.COLLECTION / "plugins/inventory/ktcp_mesh.py"
    plugin.parent.mkdir(parents=True)
    plugin.touch()
    assert environment.collection_root() == tmp_path / environment.COLLECTION
    with pytest.raises(KtcpError, match=r"site\.yml is missing"):
        environment.playbook("site.yml")


def test_the_users_own_search_paths_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANSIBLE_ROLES_PATH", "/srv/roles")
    monkeypatch.setenv("ANSIBLE_PIPELINING", "false")
    added = environment.ansible_environment()
    assert added["ANSIBLE_ROLES_PATH"].endswith("/roles:/srv/roles")
    assert "ANSIBLE_PIPELINING" not in added


@pytest.fixture
def users_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any setting, whose ansible.cfg may lie in the directory they are in."""
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_ansible_cfg_says_is_not_hidden(users_directory: Path) -> None:
    usual = environment.ansible_environment()
    assert usual["ANSIBLE_PIPELINING"] == "true"
    assert usual["ANSIBLE_INVENTORY_PLUGINS"].split(":")[1:] == [
        f"{users_directory}/.ansible/plugins/inventory",
        "/usr/share/ansible/plugins/inventory",
    ]
    (users_directory / "ansible.cfg").write_text(
        "[defaults]\nroles_path = ./mine:/srv/roles ; ours\ninventory_plugins = ~/plugins\n"
        "callback_plugins = cb\n[ssh_connection]\npipelining = False\n"
    )
    found = environment.ansible_environment()
    assert "ANSIBLE_PIPELINING" not in found
    assert found["ANSIBLE_ROLES_PATH"].endswith(f"/roles:{users_directory}/mine:/srv/roles")
    assert found["ANSIBLE_INVENTORY_PLUGINS"].endswith(f":{users_directory}/plugins")
    assert environment.callbacks() == {"ANSIBLE_CALLBACK_PLUGINS": f"{users_directory}/cb"}


def test_ansible_cfg_is_looked_for_where_ansible_does(
    users_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def roles() -> str:
        return environment.ansible_environment()["ANSIBLE_ROLES_PATH"].split(":")[1]

    (users_directory / ".ansible.cfg").write_text("[defaults]\nroles_path = /of/home\n")
    assert roles() == "/of/home"
    (users_directory / "ansible.cfg").write_text("[defaults]\nroles_path = /of/cwd\n")
    assert roles() == "/of/cwd"
    users_directory.chmod(0o777)
    assert roles() == "/of/home"
    (users_directory / "named").mkdir()
    (users_directory / "named/ansible.cfg").write_text("[defaults]\nroles_path = /of/env\n")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(users_directory / "named"))
    assert roles() == "/of/env"
    (users_directory / "named/ansible.cfg").write_text("no file of settings\n")
    assert roles() == f"{users_directory}/.ansible/roles"


SSH = """#!/bin/sh
# Stands in for ssh: notes its arguments, and does not get there.
echo "$*" >>"{log}"
exit 255
"""


@pytest.mark.parametrize(
    ("configured", "variable", "checked"),
    [("", "", True), ("False", "", False), ("False", "True", True), ("", "False", False)],
)
def test_host_keys_are_checked_as_the_user_has_it(
    configured: str,
    variable: str,
    checked: bool,
    users_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, ssh = users_directory / "ssh.log", users_directory / "bin/ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH.format(log=log))
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:/usr/bin:/bin")
    if configured:
        text = f"[defaults]\nhost_key_checking = {configured}\n"
        (users_directory / "ansible.cfg").write_text(text)
    if variable:
        monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", variable)
    play = "- hosts: all\n  gather_facts: false\n  tasks:\n    - ansible.builtin.command: 'true'\n"
    result = LocalEngine().run(job(users_directory, "far.invalid,", play), Recorder())
    assert [host.state for host in result.hosts] == [HostState.UNREACHABLE]
    called = log.read_text()
    assert "far.invalid" in called
    assert ("StrictHostKeyChecking=no" in called) is not checked


def test_facts_go_to_the_users_cache(
    users_directory: Path, inventory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (users_directory / "ansible.cfg").write_text(
        "[defaults]\nfact_caching = jsonfile\nfact_caching_connection = facts\n"
    )
    play = (
        "- hosts: good\n  gather_facts: false\n  tasks:\n"
        "    - ansible.builtin.set_fact: {colour: blue, cacheable: true}\n"
    )
    result = LocalEngine().run(job(users_directory, inventory, play), Recorder())
    assert result.exit_code is ExitCode.OK
    (cached,) = (users_directory / "facts").glob("*good")
    assert "blue" in cached.read_text()
    monkeypatch.setenv("ANSIBLE_CACHE_PLUGIN", "memory")
    assert environment.as_the_user_has_it({"ANSIBLE_CACHE_PLUGIN": "jsonfile", "A": "b"}) == {
        "ANSIBLE_CACHE_PLUGIN": "memory",
        "A": "b",
    }


def test_a_worker_checks_host_keys_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANSIBLE_HOST_KEY_CHECKING", raising=False)
    assert parcel.worker_environment()["ANSIBLE_HOST_KEY_CHECKING"] == "true"
    monkeypatch.setenv("ANSIBLE_HOST_KEY_CHECKING", "False")
    assert parcel.worker_environment()["ANSIBLE_HOST_KEY_CHECKING"] == "False"
