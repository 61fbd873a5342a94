# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh init``: an inventory to begin with."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.errors import ExitCode
from ktcp_ops.mesh.inventory import starter


def make_inventory(
    directory: Annotated[Path, typer.Argument(help="The directory to write; new, or empty.")],
    output: OutputOption = Output.TEXT,
) -> None:
    """Write a commented inventory to begin with: two relays, two paths and a fresh key.

    It is valid as it is, but its hosts do not exist: write yours into hosts.yml and
    group_vars/all/mesh.yml, encrypt group_vars/all/keys.yml with ansible-vault, and check it
    with `mesh validate` and `mesh plan`. Prints the names of the files that it wrote.
    """
    paths = [str(path) for path in starter.write(directory)]
    show = partial(print_files, paths)
    give(output, ExitCode.OK, {"files": paths}, show)
    console.print_note(f"next: edit {paths[0]}, then ktcp-ops mesh validate -i {directory}")


def print_files(paths: list[str]) -> None:
    """Print names of files, one a line."""
    for path in paths:
        console.print_line(path)
