# SPDX-License-Identifier: GPL-2.0-only
"""The ``ktcp-ops`` program: its sub-commands, and errors turned into exit codes."""

import sys
from typing import Annotated

import click
import typer

from ktcp_ops import __version__, console
from ktcp_ops.cli import lab, mesh
from ktcp_ops.errors import ExitCode, KtcpError

app = typer.Typer(
    name="ktcp-ops",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Run a mesh of KTCP relays: describe it, roll it out, look at it, try it in a lab.",
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid mesh, 4 unreachable, "
    "5 stopped by a gate, 6 drift, 130 interrupted.",
)
app.add_typer(mesh.app, name="mesh")
app.add_typer(lab.app, name="lab")


def print_version(wanted: bool) -> None:
    """Print the version and end, when ``--version`` was given."""
    if wanted:
        typer.echo(f"ktcp-ops {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options that stand before the sub-command."""


def run(arguments: list[str]) -> int:
    """Run the program with ``arguments`` (without its name); return its exit code."""
    try:
        result = app(arguments, standalone_mode=False)
    except KtcpError as error:
        console.print_error(error.message)
        return int(error.exit_code)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        console.print_error("interrupted")
        return int(ExitCode.INTERRUPTED)
    return result if isinstance(result, int) else int(ExitCode.OK)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(run(sys.argv[1:]))
