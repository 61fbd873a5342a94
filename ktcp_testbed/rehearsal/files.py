# SPDX-License-Identifier: GPL-2.0-only
"""The files of a relay, from the templates of the roles, without a run of Ansible.

A contract test holds them to what Ansible makes of the same templates.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ktcp_ops.mesh.relay.plan import Node
from ktcp_ops.run.environment import collection_root

MANAGED = "Ansible managed"
ROLE = "roles/ktcp_steering"


@cache
def environment() -> Environment:
    """Jinja as Ansible sets it up."""
    loader = FileSystemLoader(collection_root() / ROLE / "templates")
    # Not HTML, so nothing is escaped.
    return Environment(
        loader=loader, trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )


@cache
def constants() -> Mapping[str, Any]:
    """The role's defaults, and of its variables those that are no templates themselves."""
    found: dict[str, Any] = {}
    for kind in ("defaults", "vars"):
        text = (collection_root() / ROLE / kind / "main.yml").read_text(encoding="utf-8")
        found |= {
            name: value for name, value in yaml.safe_load(text).items() if "{{" not in str(value)
        }
    return found


def files(node: Node) -> dict[str, str]:
    """Give the files of a relay's /etc/ktcp, by name."""
    conf = {f"{name}.conf": lines(each) for name, each in node["conf"].items()}
    keys = [f"add {number} {key}" for number, key in node["keys"].items()]
    steering = {
        name: render(template, node, family)
        for family in ("v4", "v6")
        for name, template in (
            (f"steering.{family}", "steering.j2"),
            (f"steering.{family}.sets", "sets.j2"),
        )
    }
    return {**conf, "keys.conf": lines(keys), **steering}


def lines(found: list[str]) -> str:
    """Put lines together."""
    return "".join(f"{line}\n" for line in found)


def render(template: str, node: Node, family: str) -> str:
    """Render a template of the chains for one family."""
    clients = [line.split() for line in node["conf"]["listeners"] if line.startswith("add client ")]
    return (
        environment()
        .get_template(template)
        .render(
            **constants(),
            ansible_managed=MANAGED,
            family=family,
            ktcp_node=node,
            ktcp_steering_client_ports=sorted(words[2] for words in clients),
            ktcp_steering_untracked=any(words[-1] == "untracked" for words in clients),
        )
    )
