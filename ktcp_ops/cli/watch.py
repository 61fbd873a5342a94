# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh status --watch``: looks at the relays again and again until Ctrl-C."""

import time
from collections.abc import Sequence
from typing import NoReturn

from ktcp_ops import console
from ktcp_ops.cli.answer import end
from ktcp_ops.errors import ExitCode
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import rates, status
from ktcp_ops.mesh.observation.status import RelayStatus
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.reporter import Silent


def watch(
    engine: Engine,
    meshes: Sequence[Mesh],
    inventories: Sequence[str],
    *,
    limit: str | None,
    interval: float,
) -> NoReturn:
    """Show what the relays do in a second, again every ``interval`` seconds until Ctrl-C.

    Raises:
        typer.Exit: with 130, after Ctrl-C; no message is printed.
    """
    before: tuple[RelayStatus, ...] = ()
    try:
        with console.Watch(title=f"ktcp-ops: {', '.join(inventories)}") as screen:
            while True:
                begun = time.monotonic()
                now, complaints = list[RelayStatus](), list[str]()
                for mesh in meshes:
                    result, relays = status.fetch(
                        engine=engine,
                        reporter=Silent(),
                        mesh=mesh,
                        inventories=inventories,
                        limit=limit,
                    )
                    if result.canceled:  # the engine handles the signal itself
                        end(ExitCode.INTERRUPTED)
                    now += relays
                    complaints += [result.complaint] if result.complaint else []
                screen.show(rates.COLUMNS, rates.rows(before, now), "\n".join(complaints))
                # A relay that did not answer is compared with its last answer.
                before = remembered(before, now)
                time.sleep(max(interval - (time.monotonic() - begun), 0))
    except KeyboardInterrupt:
        end(ExitCode.INTERRUPTED)


def remembered(
    before: Sequence[RelayStatus], now: Sequence[RelayStatus]
) -> tuple[RelayStatus, ...]:
    """Give the last known state of each relay."""
    known = {status.relay: status for status in (*before, *now) if status.state}
    return tuple(known.values())
