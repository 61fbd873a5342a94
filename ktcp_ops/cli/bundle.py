# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh bundle``: an archive for those who help."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load_all
from ktcp_ops.cli.answer import Answer, Output, OutputOption, give_each
from ktcp_ops.cli.options import Inventories, Limit
from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.diagnosis import bundle
from ktcp_ops.mesh.model.mesh import Mesh

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

    Exit code 4 if a relay is unreachable, 1 if one failed; the archive has the others. Of
    several meshes, each has an archive of its own, ktcp-bundle-TIME-NAME.tar.gz.
    """
    taken = datetime.now(UTC)
    meshes = load_all(inventory_names, limit)
    if file and len(meshes) > 1:
        raise UsageError("--file: is one archive, of one mesh; name the mesh with --mesh")
    paths = {mesh.name: file or own_file(taken, mesh) for mesh in meshes}
    for path in paths.values():
        if path.exists():
            raise UsageError(f"{path}: exists already; choose another --file or remove it")
    make = partial(collected, inventories=inventory_names, limit=limit, flows=flows, taken=taken)
    give_each(output, {mesh.name: partial(make, mesh, paths[mesh.name]) for mesh in meshes})


def collected(
    mesh: Mesh,
    path: Path,
    *,
    inventories: Sequence[str],
    limit: str | None,
    flows: bool,
    taken: datetime,
) -> Answer:
    """Make the archive of a mesh."""
    result, texts = bundle.collect(
        engine=workers.make_engine(),
        reporter=console.Progress(),
        mesh=mesh,
        inventories=inventories,
        limit=limit,
        flows=flows,
    )
    if not result.canceled:
        bundle.write(path, texts, taken)
    written = None if result.canceled else str(path)
    return Answer(
        code=result.exit_code,
        data={"file": written, **result.to_data()},
        show=partial(console.print_line, written) if written else lambda: None,
        remarks=result.remarks,
    )


def own_file(taken: datetime, mesh: Mesh) -> Path:
    """Name the archive of a mesh after the time, and after the mesh if it is one of several."""
    name = f"-{mesh.name}" if mesh.name else ""
    return Path(f"ktcp-bundle-{taken:%Y%m%dT%H%M%SZ}{name}.tar.gz")
