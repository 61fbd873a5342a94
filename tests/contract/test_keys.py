# SPDX-License-Identifier: GPL-2.0-only
"""Which public keys a host uses, as Ansible itself evaluates the role's variables."""

import json
from pathlib import Path
from typing import Any

import yaml

from ktcp_ops.run.engine import LocalEngine
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Silent
from tests.contract.conftest import ROOT

VARIABLES = ROOT / "roles" / "ktcp_wireguard" / "vars" / "main.yml"


def said(key: str, **known: str) -> dict[str, Any]:
    """What `ktcp-wireguard key` printed, as Ansible registers it."""
    return {"stdout": json.dumps({"public_key": key, "made": False, "known": known})}


def evaluate(work: Path, facts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Evaluate rc's variables in a run in which these hosts have these facts."""
    hosts = {name: {"ansible_connection": "local", **known} for name, known in facts.items()}
    peers = [{"name": name} for name in ("rs", "far", "branch", "gone")]
    names = ("ktcp_wireguard_keys", "ktcp_wireguard_strangers")
    play = {
        "name": "Keys",
        "hosts": "rc",
        "gather_facts": False,
        "vars": {"ktcp_wireguard_interface": {"peers": peers}},
        "vars_files": [str(VARIABLES)],
        "tasks": [
            {
                "name": "Evaluate",
                "ansible.builtin.debug": {"msg": {name: f"{{{{ {name} }}}}" for name in names}},
            }
        ],
    }
    (work / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (work / "play.yml").write_text(yaml.safe_dump([play]))
    job = Job(
        title="keys",
        playbook=work / "play.yml",
        inventories=(str(work / "hosts.yml"),),
        keep=frozenset({"Evaluate"}),
    )
    result = LocalEngine().run(job, Silent())
    assert int(result.exit_code) == 0, result
    return dict(result.outputs["Evaluate"]["rc"]["msg"])


def test_who_is_in_the_run_tells_its_key_others_are_remembered_or_asked(tmp_path: Path) -> None:
    answers = {
        "results": [
            {"item": "branch", **said("BRANCH=")},
            {"item": "gone", "unreachable": True},
        ]
    }
    own = {"ktcp_wireguard_key": said("RC=", far="FAR=", rs="STALE=")}
    facts = {
        "rc": {**own, "ktcp_wireguard_answers": answers},
        "rs": {"ktcp_wireguard_key": said("RS=")},
    }
    assert evaluate(tmp_path, facts) == {
        "ktcp_wireguard_keys": {"rs": "RS=", "far": "FAR=", "branch": "BRANCH="},
        "ktcp_wireguard_strangers": ["branch", "gone"],
    }


def test_a_dry_run_knows_nobody_and_does_not_mind(tmp_path: Path) -> None:
    nobody = {"ktcp_wireguard_key": said("")}
    assert evaluate(tmp_path, {"rc": nobody, "rs": nobody})["ktcp_wireguard_keys"] == {}
