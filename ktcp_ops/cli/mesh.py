# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh``: the commands about a mesh of relays."""

import typer

app = typer.Typer(no_args_is_help=True, help="Describe, roll out, check and remove a mesh.")


@app.callback()
def group() -> None:
    """Describe, roll out, check and remove a mesh."""
