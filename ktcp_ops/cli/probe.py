# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh probe``: measure, choose ways, and keep both beside the inventory."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load_all
from ktcp_ops.cli.answer import Answer, Output, OutputOption, give_each
from ktcp_ops.cli.options import Check, Inventories, Limit
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import probe


def measure(
    inventory_names: Inventories,
    limit: Limit = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Ping even where connections have measured.")
    ] = False,
    check: Check = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Measure round trips and losses between relays, and choose the ways of paths with via: auto.

    A relay tells what TCP measured on the pooled connections to its peers; without that, it
    pings them, or else connects. LOSS is the share of lost segments on the connections with a
    peer that are there now, or else of lost pings; a dash where too few were sent. Exits connect
    to the targets of paths, and hosts where probes start ping ingress and target. The results
    are kept in latency.txt beside mesh.ktcp.yml, where plan and rollout find them; with --check
    nothing is written. Legs that no host could be asked about keep their time. Of several meshes,
    each has a file latency-NAME.txt.

    A path changes its way only for a round trip that is ktcp_mesh.auto.min_gain_percent
    shorter; each percent of loss makes a leg count a tenth longer. Exit code 4 if a host is
    unreachable, 1 if one failed.
    """
    meshes = load_all(inventory_names, limit)
    act = partial(measured, inventories=inventory_names, limit=limit, fresh=fresh, check=check)
    give_each(output, {mesh.name: partial(act, mesh) for mesh in meshes})


def measured(
    mesh: Mesh, *, inventories: Sequence[str], limit: str | None, fresh: bool, check: bool
) -> Answer:
    """Measure a mesh."""
    done = probe.measure(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventories,
        limit=limit,
        fresh=fresh,
        check=check,
    )
    if done.saved:
        console.print_note(f"written: {done.latency.path}")
    return Answer(
        code=done.exit_code,
        data=probe.to_data(done.found, done.choices),
        show=partial(print_found, done.found, done.choices),
        remarks=done.result.remarks,
    )


def print_found(found: tuple[probe.RoundTrip, ...], chosen: list[probe.Choice]) -> None:
    """Print what was measured and chosen."""
    console.print_table(probe.COLUMNS, [probe.row(trip) for trip in found])
    if chosen:
        console.print_table(probe.CHOICE_COLUMNS, [probe.choice_row(one) for one in chosen])
