# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh bundle``: an archive for those who help."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.cli.options import Inventories, Limit
from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.diagnosis import bundle

File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        metavar="FILE",
        help="The archive to write; it must not exist.",
        show_default="ktcp-bundle-TIME.tar.gz",
    ),
]
Flows = Annotated[
    bool, typer.Option("--flows", help="Include the relays' splits, which name users' addresses.")
]


def make_bundle(
    inventory_names: Inventories,
    limit: Limit = None,
    file: File = None,
    flows: Flows = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """Collect what support asks for into one archive; print its name. Changes nothing.

    It has, for each relay, the files of /proc/net/ktcp and /etc/ktcp, logs, rules, routes,
    addresses, sysctls and versions; also the plan of the mesh, and how the run went. Keys and
    what looks like secrets are removed everywhere. Addresses and names of relays stay: look
    at the archive before you send it.

    Exit code 4 if a relay is unreachable, 1 if one failed; the archive has the others.
    """
    taken = datetime.now(UTC)
    path = file or Path(f"ktcp-bundle-{taken:%Y%m%dT%H%M%SZ}.tar.gz")
    if path.exists():
        raise UsageError(f"{path}: exists already; choose another --file or remove it")
    result, texts = bundle.collect(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=load(inventory_names),
        inventories=inventory_names,
        limit=limit,
        flows=flows,
    )
    if not result.canceled:
        bundle.write(path, texts, taken)
    written = None if result.canceled else str(path)
    data = {"file": written, **result.to_data()}
    show = partial(console.print_line, written) if written else lambda: None
    give(output, result.exit_code, data, show, remarks=result.remarks)
