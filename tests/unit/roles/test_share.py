# SPDX-License-Identifier: GPL-2.0-only
"""Sharing a built module: a run that finds one in the cache takes that one."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.unit.roles.playbook import played

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to root")

TASKS = Path(__file__).resolve().parents[3] / "roles/ktcp_module/tasks"
# Another run publishes its module while this one fetches its own.
INTRUDER = {
    "name": "Be first",
    "ansible.builtin.shell": {
        "cmd": "mkdir -p $place && printf theirs >$place/ktcp.ko",
    },
    "environment": {"place": "{{ ktcp_module_cached }}"},
    "changed_when": False,
}
PUBLISH = "- name: Publish it"


def share(place: Path, first: str) -> list[list[str]]:
    """Share a module over the cache in `place`, twice. Returns the tasks that changed something.

    `first` is a task that runs just before the module is published.
    """
    (place / "mine").mkdir()
    (place / "mine" / "ktcp.ko").write_text("ours")
    tasks = (TASKS / "share.yml").read_text()
    tasks = tasks.replace(
        "[/sbin/modinfo, --field=filename, ktcp]", f"[echo, {place}/mine/ktcp.ko]"
    )
    (place / "share.yml").write_text(tasks.replace(PUBLISH, f"{first}{PUBLISH}"))
    bring = (TASKS / "bring.yml").read_text()
    (place / "bring.yml").write_text(bring.replace("/usr/src", str(place)))
    play = {
        "hosts": "localhost",
        "gather_facts": False,
        "vars": {
            "ansible_facts": {"kernel": "6.12"},
            "ktcp_module_cached": f"{place}/cache/key/6.12",
            "ktcp_module_is_cached": "{{ ktcp_module_cached is exists }}",
            "ktcp_module_is_builder": True,
            "ktcp_module_build": {},
            "ktcp_module_brought": {"skipped": True},
        },
        "tasks": [{"ansible.builtin.import_tasks": "share.yml"}],
    }
    first_play, second_play = played(place, play, play).split("PLAY [")[1:]
    return [re.findall(r"TASK \[(.*)\].*\nchanged:", said) for said in (first_play, second_play)]


@pytest.mark.parametrize(
    ("first", "kept"), [("", "ours"), (f"- {json.dumps(INTRUDER)}\n", "theirs")]
)
def test_first_in_the_cache_stays(tmp_path: Path, first: str, kept: str) -> None:
    changed, changed_again = share(tmp_path, first)
    assert (tmp_path / "cache/key/6.12/ktcp.ko").read_text() == kept
    assert (tmp_path / "ktcp-built/6.12/ktcp.ko").read_text() == kept
    assert [path.name for path in (tmp_path / "cache" / "key").iterdir()] == ["6.12"]
    assert changed[-1] == "Bring the module that a relay has built"
    assert not changed_again
