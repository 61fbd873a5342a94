# SPDX-License-Identifier: GPL-2.0-only
"""The ``ktcp-ops`` program: its sub-commands, and errors turned into exit codes."""

import signal
import sys
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ktcp_ops import __version__
from ktcp_ops.cli import answer, doctor, mesh
from ktcp_ops.cli.ansible import with_options
from ktcp_ops.errors import ExitCode, InterruptedByUserError, KtcpError, UsageError
from ktcp_ops.signals import interrupt

TESTBED = ("lab", "bench")
"""Commands that the test bed of a checkout adds."""


class Program(TyperGroup):
    """The top-level command; Ctrl-C anywhere below it is an error like any other."""

    # The context's class differs between versions of typer, hence Any.
    def invoke(self, ctx: Any) -> Any:  # noqa: ANN401
        """Run the chosen sub-command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise InterruptedByUserError("interrupted") from interrupt

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - as of invoke()
        """Find a sub-command.

        Raises:
            UsageError: if it belongs to the test bed, which is not installed.
        """
        found = super().get_command(ctx, cmd_name)
        if found is None and cmd_name in TESTBED:
            raise UsageError(
                f"{cmd_name}: belongs to the test bed, which only a checkout of the project has; "
                f"run ./dev {cmd_name} there"
            )
        return found


def print_version(wanted: bool) -> None:
    """Print the version and end, when ``--version`` was given."""
    if wanted:
        typer.echo(f"ktcp-ops {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Options that stand before the sub-command."""


def program(
    more: Mapping[str, typer.Typer], of_mesh: Mapping[str, Callable[..., None]]
) -> typer.Typer:
    """Put the program together.

    Args:
        more: additional groups of commands, by their names.
        of_mesh: additional commands of ``mesh``, by their names.
    """
    app = typer.Typer(
        name="ktcp-ops",
        cls=Program,
        callback=options,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        help="Run a mesh of KTCP relays: describe it, roll it out, look at it.",
        epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 invalid mesh, 4 unreachable, "
        "5 stopped by a gate, 6 drift, 130 interrupted.",
    )
    for name, group in {"mesh": mesh.group(of_mesh), **more}.items():
        app.add_typer(group, name=name)
    app.command(name="doctor")(with_options("doctor", doctor.examine))
    return app


app = program({}, {})


def run(arguments: list[str], chosen: typer.Typer = app) -> int:
    """Run a program with ``arguments`` (without its name); return its exit code."""
    answer.asked.set(answer.Output.TEXT)
    try:
        chosen(arguments, prog_name="ktcp-ops")
    except KtcpError as error:
        return answer.fail(error)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(ExitCode.OK)
    return int(ExitCode.OK)


def main(chosen: typer.Typer = app) -> None:
    """Entry point of the console script, and of other programs made by ``program``."""
    signal.signal(signal.SIGTERM, interrupt)
    # Sent when the terminal goes away; nohup wants that to be ignored.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, interrupt)
    sys.exit(run(sys.argv[1:], chosen))
