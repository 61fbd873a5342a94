# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops lab``: virtual machines to try a mesh in."""

import typer

app = typer.Typer(no_args_is_help=True, help="Boot, look at and stop a lab of virtual machines.")


@app.callback()
def group() -> None:
    """Boot, look at and stop a lab of virtual machines."""
