# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh``: the commands about a mesh of relays, each in a file of its own."""

from collections.abc import Callable, Mapping
from typing import Any

import typer
from typer.core import TyperGroup

from ktcp_ops.cli import actions, bundle, init, keys, observe, plan, probe, status, waves, workers
from ktcp_ops.cli.ansible import with_options
from ktcp_ops.errors import UsageError

HELP = """Describe, roll out, observe, check and remove a mesh.

The mesh is data in an Ansible inventory: a group of relays, each with ktcp_address (the
address on which the other relays reach it) and, where a transparent path ends,
ktcp_inside_interface (where the targets' packets come in); ktcp_mesh and ktcp_keys in
group_vars/all; and a file mesh.ktcp.yml with the line `plugin: ktcp_mesh`. See
inventories/example.

If several groups set ktcp_mesh, each is a mesh with the group's name: commands are about all of
them, or about the one that --mesh names.

Ansible finds vault passwords as usual, by ansible.cfg or ANSIBLE_VAULT_PASSWORD_FILE.
"""

TESTBED = ("rehearse",)
"""Commands that the test bed of a checkout adds."""


class Group(TyperGroup):
    """``ktcp-ops mesh``; it knows which commands are missing where there is no checkout."""

    # The context's class differs between versions of typer, hence Any.
    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401
        """Find a command.

        Raises:
            UsageError: if it belongs to the test bed, which is not installed.
        """
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in TESTBED:
            raise UsageError(
                f"mesh {cmd_name}: belongs to the test bed, which only a checkout of the project "
                f"has; run ./dev ops mesh {cmd_name} there"
            )
        return found


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


def group(more: Mapping[str, Callable[..., None]]) -> typer.Typer:
    """Put the group together, with ``more`` commands, by their names."""
    app = typer.Typer(
        cls=Group, no_args_is_help=True, rich_markup_mode=None, callback=workers.choose, help=HELP
    )
    for name, function in COMMANDS.items():
        command = function if name in WITHOUT_ANSIBLE else with_options(name, function)
        app.command(name=name)(command)
    for name, command in more.items():
        app.command(name=name)(command)
    app.add_typer(keys.app, name="keys")
    return app
