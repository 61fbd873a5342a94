# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh status|verify``: how the relays and the paths are."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load
from ktcp_ops.cli.answer import Output, OutputOption, WideOutput, WideOutputOption, give
from ktcp_ops.cli.options import Inventories, Limit
from ktcp_ops.cli.show import print_result
from ktcp_ops.cli.watch import watch
from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.diagnosis import verify
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
    mesh = load(inventory_names)
    if again:
        watch(workers.make_engine(), mesh, inventory_names, limit=limit, interval=interval)
    result, relays = status.fetch(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventory_names,
        limit=limit,
    )
    data = {"relays": {relay.relay: status.to_data(relay) for relay in relays}}
    show = partial(print_status, relays, peers=peers, wide=output is WideOutput.WIDE)
    give(output.plain, status.exit_code(result, relays), data, show, remarks=result.remarks)


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
    found = verify.check(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=load(inventory_names),
        inventories=inventory_names,
        limit=limit,
    )
    show = partial(print_verification, found)
    give(output, found.exit_code, found.to_data(), show, remarks=found.remarks)


def print_verification(found: verify.Verification) -> None:
    """Print hosts and paths."""
    print_result(found.checks)
    if found.downloads:
        console.print_table(verify.COLUMNS, [verify.row(verdict) for verdict in found.verdicts])
