# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh remove|drain|undrain``: each runs one playbook over the relays."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load_all
from ktcp_ops.cli.answer import Answer, Output, OutputOption, give_each
from ktcp_ops.cli.options import Check, Inventories, Limit
from ktcp_ops.cli.show import run_answer
from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.rollout import actions

Host = Annotated[
    str | None,
    typer.Option(
        "--host", metavar="NAME", help="Only this host, even if it has left the inventory."
    ),
]


def remove(
    inventory_names: Inventories,
    limit: Limit = None,
    host: Host = None,
    check: Check = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Remove KTCP from the hosts: steering first, then the module, then every file.

    Runs playbooks/teardown.yml. Traffic goes on by plain routing; open splits are reset. It
    asks first, unless --yes or --check is given. Without a terminal to ask on, it needs one of
    them (else exit code 2).

    --host is for a relay that has left the inventory: it is reached by the name or address that
    you give, with the variables of group_vars/all, and no other host is touched. If that is not
    enough to reach it, give the inventory that still had it with -i, or variables with -e. Roll
    the mesh out first, so that no other relay sends it anything.
    """
    if host is not None and limit is not None:
        raise UsageError("--host and --limit both choose hosts; leave one of them out")
    if host is not None and not re.fullmatch(r"[\w.:-]+", host, re.ASCII):
        raise UsageError(f"--host {host}: is not the name or the address of one host")
    meshes = load_all(inventory_names, limit)
    if host is not None:
        meshes = (actions.mesh_of(host, meshes),)
    if not (yes or check):
        confirm_removal(meshes, limit, host)
    if host is None:
        give_runs("remove", inventory_names, meshes, limit=limit, check=check, output=output)
    else:
        act = partial(host_removed, host, meshes[0], inventory_names, check=check)
        give_each(output, {host: act})


def host_removed(host: str, mesh: Mesh, inventories: Sequence[str], *, check: bool) -> Answer:
    """Remove KTCP from one host."""
    result = actions.remove_host(
        host,
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventories,
        check=check,
    )
    return run_answer("remove", result, check=check)


def confirm_removal(meshes: Sequence[Mesh], limit: str | None, host: str | None) -> None:
    """Ask whether KTCP is to be removed.

    Raises:
        UsageError: when the answer is no, or nobody can be asked.
    """
    whom = f"the hosts of --limit {limit}" if limit else everyone(meshes)
    whom = host or whom
    question = f"Remove KTCP from {whom} and reset the live splits there?"
    if not console.confirm(question):
        raise UsageError("nothing was removed; --yes removes without asking")


def everyone(meshes: Sequence[Mesh]) -> str:
    """Name all relays, and their meshes if there are several."""
    names = [mesh.name for mesh in meshes if mesh.name]
    of = f" of mesh{'es' if len(names) > 1 else ''} {' and '.join(names)}" if names else ""
    return f"all {sum(len(mesh.relays) for mesh in meshes)} relays{of}"


def drain(
    inventory_names: Inventories,
    limit: Limit = None,
    deadline: Annotated[
        int, typer.Option("--deadline", min=0, help="Seconds to wait for live splits to end.")
    ] = 0,
    check: Check = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let relays take no new split: new flows pass by plain routing, live splits go on.

    With --deadline the command waits for live splits to end. A relay that still has some by
    then counts as failed (exit code 1), and stays drained. The relays are drained until
    `mesh undrain`, or until their module is reloaded. Meanwhile a service port accepts no
    connection.
    """
    run_action(
        "drain",
        inventory_names,
        limit=limit,
        check=check,
        output=output,
        options=actions.draining(on=True, deadline_s=deadline),
    )


def undrain(
    inventory_names: Inventories,
    limit: Limit = None,
    check: Check = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Let drained relays take new splits again.

    Relays that are not drained are not changed. Flows that began while a relay drained stay
    unsplit until they end.
    """
    run_action(
        "undrain",
        inventory_names,
        limit=limit,
        check=check,
        output=output,
        options=actions.draining(on=False),
    )


def run_action(
    action: str,
    inventory_names: list[str],
    *,
    limit: str | None,
    check: bool,
    output: Output,
    options: dict[str, Any] | None = None,
) -> None:
    """Run an action's playbook over the meshes, print its report and end with its exit code."""
    meshes = load_all(inventory_names, limit)
    give_runs(
        action, inventory_names, meshes, limit=limit, check=check, output=output, options=options
    )


def give_runs(
    action: str,
    inventory_names: list[str],
    meshes: Sequence[Mesh],
    *,
    limit: str | None,
    check: bool,
    output: Output,
    options: dict[str, Any] | None = None,
) -> None:
    """Do the same for meshes that were read before."""

    def ran(mesh: Mesh) -> Answer:
        result = actions.run(
            action,
            engine=workers.make_engine(),
            reporter=console.Progress(),
            mesh=mesh,
            inventories=inventory_names,
            limit=limit,
            check=check,
            options=options,
        )
        return run_answer(action, result, check=check)

    give_each(output, {mesh.name: partial(ran, mesh) for mesh in meshes})
