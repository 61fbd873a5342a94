# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh status|verify``: how the relays and the paths are."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load_all
from ktcp_ops.cli.answer import (
    Answer,
    Output,
    OutputOption,
    WideOutput,
    WideOutputOption,
    give_each,
)
from ktcp_ops.cli.options import Inventories, Limit
from ktcp_ops.cli.show import print_result
from ktcp_ops.cli.watch import watch
from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.diagnosis import verify
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import status

Peers = Annotated[bool, typer.Option("--peers", help="Show a line for each peer of each relay.")]
Again = Annotated[
    bool, typer.Option("--watch", help="Look again and again, and show rates, until Ctrl-C.")
]
Interval = Annotated[
    float, typer.Option("--interval", min=1, help="With --watch: seconds between two looks.")
]


def show_status(
    inventory_names: Inventories,
    limit: Limit = None,
    output: WideOutputOption = WideOutput.TEXT,
    peers: Peers = False,
    again: Again = False,
    interval: Interval = 2,
) -> None:
    """Show the state of the relays, read from their /proc/net/ktcp in one run.

    A line for each relay, a verdict first: ok, degraded (a peer is not up), draining, no module,
    or unknown (it could not be asked). Then the module's version, peers that are up, splits now,
    splits opened and failed since the module was loaded, bytes towards the targets and back.
    Exit code 1 if a relay has no module, 4 if one is unreachable. Peers that are not relays of
    the inventory are named.

    With -o wide: listeners, connections to peers that are ready and connecting, legs that the
    pool had ready and splits whose far leg began at the SYN (both in percent), and whole bytes.

    With --watch one table is drawn again and again: splits opened and failed and bytes in a
    second, and shares in percent, all since the last look. A narrow terminal shows the first
    columns. Ctrl-C ends it, with exit code 130.
    """
    if again and (peers or output is not WideOutput.TEXT):
        raise UsageError("--watch shows one table on the terminal: leave out --peers and -o")
    meshes = load_all(inventory_names, limit)
    if again:
        watch(workers.make_engine(), meshes, inventory_names, limit=limit, interval=interval)
    show = partial(print_status, peers=peers, wide=output is WideOutput.WIDE)
    act = partial(asked, inventories=inventory_names, limit=limit, show=show)
    give_each(output.plain, {mesh.name: partial(act, mesh) for mesh in meshes})


def asked(
    mesh: Mesh,
    *,
    inventories: Sequence[str],
    limit: str | None,
    show: Callable[[Sequence[status.RelayStatus]], None],
) -> Answer:
    """Ask the relays of a mesh for their state."""
    result, relays = status.fetch(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventories,
        limit=limit,
    )
    return Answer(
        code=status.exit_code(result, relays),
        data={"relays": {relay.relay: status.to_data(relay) for relay in relays}},
        show=partial(show, relays),
        remarks=result.remarks,
    )


def print_status(relays: Sequence[status.RelayStatus], *, peers: bool, wide: bool) -> None:
    """Print the state of the relays, or of their peers."""
    if peers:
        rows = [row for relay in relays for row in status.peer_rows(relay)]
        console.print_table(status.PEER_COLUMNS, rows)
    elif relays and wide:
        console.print_table(status.WIDE_COLUMNS, [status.wide_row(relay) for relay in relays])
    elif relays:
        console.print_table(status.COLUMNS, [status.row(relay) for relay in relays])


def verify_paths(
    inventory_names: Inventories, limit: Limit = None, output: OutputOption = Output.TEXT
) -> None:
    """Check every host, then download through each path and say which hop fails.

    Runs playbooks/verify.yml, then fetches the probe of each path that has one:
    `probe: {from: HOST, url: "http://ADDRESS/FILE"}`, downloaded by that host of the
    inventory. A path is fine when the download is complete and every relay of the path split
    it; else the first hop that explains it is named: the ingress, a relay, the exit or the
    target. Exit code 1 if a host or a path fails, 4 if a host is unreachable.

    With --limit these relays are checked, and the paths that begin at them.
    """
    meshes = load_all(inventory_names, limit)
    give_each(
        output, {mesh.name: partial(verified, mesh, inventory_names, limit) for mesh in meshes}
    )


def verified(mesh: Mesh, inventories: Sequence[str], limit: str | None) -> Answer:
    """Check the hosts and the paths of a mesh."""
    found = verify.check(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventories,
        limit=limit,
    )
    return Answer(
        code=found.exit_code,
        data=found.to_data(),
        show=partial(print_verification, found),
        remarks=found.remarks,
    )


def print_verification(found: verify.Verification) -> None:
    """Print hosts and paths."""
    print_result(found.checks)
    if found.downloads:
        console.print_table(verify.COLUMNS, [verify.row(verdict) for verdict in found.verdicts])
