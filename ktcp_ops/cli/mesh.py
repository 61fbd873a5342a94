# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh``: the commands about a mesh of relays, each in a file of its own."""

from collections.abc import Callable

import typer

from ktcp_ops.cli import actions, bundle, init, keys, observe, plan, probe, status, waves, workers
from ktcp_ops.cli.ansible import with_options

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    callback=workers.choose,
    help="""Describe, roll out, observe, check and remove a mesh.

    The mesh is data in an Ansible inventory: a group of relays, each with ktcp_address (the
    address on which the other relays reach it) and, where a transparent path ends,
    ktcp_inside_interface (where the targets' packets come in); ktcp_mesh and ktcp_keys in
    group_vars/all; and a file mesh.ktcp.yml with the line `plugin: ktcp_mesh`. See
    inventories/example.

    Ansible finds vault passwords as usual, by ansible.cfg or ANSIBLE_VAULT_PASSWORD_FILE.
    """,
)

COMMANDS: dict[str, Callable[..., None]] = {
    "validate": plan.validate,
    "schema": plan.show_schema,
    "plan": plan.show_plan,
    "remove": actions.remove,
    "drain": actions.drain,
    "undrain": actions.undrain,
    "status": status.show_status,
    "verify": status.verify_paths,
    "init": init.make_inventory,
    "bundle": bundle.make_bundle,
    "dashboard": observe.show_dashboard,
    "alerts": observe.show_alerts,
    "probe": probe.measure,
    **waves.CHANGES,
    "history": waves.show_history,
}
WITHOUT_ANSIBLE = {"schema", "init", "dashboard", "alerts", "history"}
"""Commands without the options of those that run Ansible."""

for name, function in COMMANDS.items():
    command = function if name in WITHOUT_ANSIBLE else with_options(name, function)
    app.command(name=name)(command)
app.add_typer(keys.app, name="keys")
