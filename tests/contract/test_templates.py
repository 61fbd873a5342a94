# SPDX-License-Identifier: GPL-2.0-only
"""The files that roles write on a relay, rendered by Ansible itself but without a relay.

Set KTCP_UPDATE_EXPECTED=1 to write the expected texts anew, and read the difference.
"""

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.relay.plan import Node, plan
from ktcp_ops.run.engine import LocalEngine
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Silent
from ktcp_testbed.rehearsal.files import files
from tests.contract.conftest import ROOT
from tests.unit.mesh.conftest import RELAYS as RELAY_HOSTS
from tests.unit.mesh.conftest import make_description

EXPECTED = Path(__file__).parent / "expected"
PROCFS_FILES = ("settings", "thread_pool", "listeners", "peers", "routes", "exits")

# Each template: role, template, section or family, name of the expected text.
TEMPLATES = [
    *[("ktcp_peers", "lines.conf.j2", name, f"{name}.conf") for name in PROCFS_FILES],
    ("ktcp_edge", "ktcp-edge.service.j2", "", "ktcp-edge.service"),
    ("ktcp_peers", "keys.conf.j2", "", "keys.conf"),
    ("ktcp_peers", "ktcp.service.j2", "", "ktcp.service"),
    ("ktcp_observe", "ktcp-metrics.service.j2", "", "ktcp-metrics.service"),
    ("ktcp_observe", "ktcp-metrics.timer.j2", "", "ktcp-metrics.timer"),
    ("ktcp_steering", "steering.j2", "v4", "steering.v4"),
    ("ktcp_steering", "steering.j2", "v6", "steering.v6"),
    ("ktcp_steering", "sets.j2", "v4", "steering.v4.sets"),
    ("ktcp_steering", "sets.j2", "v6", "steering.v6.sets"),
    ("ktcp_steering", "ktcp-steering.service.j2", "", "ktcp-steering.service"),
    ("ktcp_wireguard", "ktcp-wireguard.service.j2", "", "ktcp-wireguard.service"),
]
RELAYS = ("rc", "rs")
# The same ingress with the module taking flows ahead of conntrack, and the texts that differ.
UNTRACKED = "rc-untracked"
OTHERWISE = ("listeners.conf", "steering.v4", "steering.v6")

Rendered = dict[str, dict[str, str]]
"""Relay -> name -> text."""


def add_paths(mesh: dict[str, Any]) -> None:
    """Add paths and exits, so that every kind of line occurs."""
    mesh["paths"].append(
        {
            "name": "direct",
            "ingress": "rc",
            "destinations": ["198.51.100.128/25"],
            "ports": [22, "8000-8100"],
        }
    )
    # Inside of another one, for some clients only.
    mesh["paths"].append(
        {
            "name": "inner",
            "ingress": "rc",
            "destinations": ["10.77.3.64/26"],
            "sources": ["192.0.2.0/24", "2001:db8:1::/48"],
        }
    )
    through = {"ingress": "rc", "via": ["rs"]}
    mesh["paths"] += [
        {**through, "name": "shop", "service": {"port": 8443, "target": "10.77.3.2:443"}},
        {
            **through,
            "name": "seen",
            "service": {"port": 8444, "target": "[fd77:0:0:3::2]:443"},
            "proxy": True,
            "transparent": True,
        },
    ]
    mesh["exits"]["rc"] = [
        {"deny": "198.51.100.9"},
        {"allow": "198.51.100.0/24", "ports": 22},
        {"allow": "198.51.100.128/25"},
        {"allow": "10.77.3.64/26"},
    ]


def nodes() -> dict[str, Node]:
    """Plan a mesh in which every kind of line occurs."""
    relays = copy.deepcopy(RELAY_HOSTS)
    relays["rs"]["ktcp_inside_interface"] = "eth1"
    relays["rc"]["ktcp_interception"] = "redirect"
    found = plan(read(make_description(add_paths, relays=relays)))
    relays["rc"]["ktcp_interception"] = "untracked"
    return {**found, UNTRACKED: plan(read(make_description(add_paths, relays=relays)))["rc"]}


def task(role: str) -> dict[str, Any]:
    """Write the one task that renders a role's templates; many would take a minute."""

    def lookup(template: str, which: str) -> str:
        path = ROOT / "roles" / role / "templates" / template
        return (
            f"{{{{ lookup('ansible.builtin.template', '{path}', "
            f"template_vars={{'section': '{which}', 'family': '{which}'}}) }}}}"
        )

    texts = {
        name: lookup(template, which) for owner, template, which, name in TEMPLATES if owner == role
    }
    return {"name": f"Render {role}", "ansible.builtin.debug": {"msg": texts}}


def variables_of(role: str) -> list[str]:
    """List the files of a role's defaults and variables."""
    found = [ROOT / "roles" / role / kind / "main.yml" for kind in ("defaults", "vars")]
    return [str(path) for path in found if path.is_file()]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Render every template for every relay in one run."""
    work = tmp_path_factory.mktemp("render")
    hosts = {
        name: {"ansible_connection": "local", "ktcp_node": dict(node)}
        for name, node in nodes().items()
    }
    roles = sorted({owner for owner, *_ in TEMPLATES})
    plays = [
        {
            "name": role,
            "hosts": "all",
            "gather_facts": False,
            "vars_files": variables_of(role),
            "tasks": [task(role)],
        }
        for role in roles
    ]
    (work / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
    (work / "play.yml").write_text(yaml.safe_dump(plays))
    names = [f"Render {role}" for role in roles]
    job = Job(
        title="render",
        playbook=work / "play.yml",
        inventories=(str(work / "hosts.yml"),),
        keep=frozenset(names),
    )
    result = LocalEngine().run(job, Silent())
    assert int(result.exit_code) == 0, result
    texts: Rendered = {relay: {} for relay in hosts}
    for name in names:
        for relay, output in result.outputs[name].items():
            texts[relay] |= output["msg"]
    return texts


@pytest.mark.parametrize(
    ("relay", "name"),
    [
        *[(relay, name) for relay in RELAYS for *_, name in TEMPLATES],
        *[(UNTRACKED, name) for name in OTHERWISE],
    ],
)
def test_a_template_gives_the_expected_text(relay: str, name: str, rendered: Rendered) -> None:
    found = rendered[relay][name]
    expected = EXPECTED / relay / name
    if os.environ.get("KTCP_UPDATE_EXPECTED"):
        expected.parent.mkdir(parents=True, exist_ok=True)
        expected.write_text(found)
    assert found == expected.read_text()


def test_only_listener_and_chains_differ_ahead_of_conntrack(rendered: Rendered) -> None:
    other = rendered[UNTRACKED]
    differ = {name for name, found in rendered["rc"].items() if found != other[name]}
    assert differ == set(OTHERWISE)


@pytest.mark.parametrize("name", PROCFS_FILES)
def test_the_files_of_a_relay_are_just_the_planned_lines(name: str, rendered: Rendered) -> None:
    for relay, node in nodes().items():
        text = rendered[relay][f"{name}.conf"]
        lines = [line for line in text.splitlines() if line and not line.startswith("#")]
        assert lines == node["conf"][name]


@pytest.mark.parametrize("relay", [*RELAYS, UNTRACKED])
def test_a_rehearsal_has_the_files_that_a_relay_has(relay: str, rendered: Rendered) -> None:
    made = files(nodes()[relay])
    assert set(made) <= set(rendered[relay])
    for name, found in made.items():
        lines = [line for line in found.splitlines() if not line.startswith("#")]
        text = rendered[relay][name].splitlines()
        assert lines == [line for line in text if not line.startswith("#")], name


def test_no_rule_redirects_what_the_module_did_not_take(rendered: Rendered) -> None:
    """Fail open: every REDIRECT matches the module's bit, and TCP only."""
    for family in ("v4", "v6"):
        rules = rendered["rc"][f"steering.{family}"].splitlines()
        redirects = [rule for rule in rules if "REDIRECT" in rule]
        assert redirects
        for rule in redirects:
            mark = int(rule.split("--mark ")[1].split()[0].split("/")[0], 16)
            assert mark & 0x80000000
            assert "-p tcp" in rule
        assert not [rule for rule in rules if "--flush" in rule or " -F" in rule]
    assert "REDIRECT" not in rendered["rs"]["steering.v4"]
