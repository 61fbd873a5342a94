# SPDX-License-Identifier: GPL-2.0-only
"""How a command ends: with one answer, as text or as JSON, and one exit code for both."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from ktcp_ops import console
from ktcp_ops.errors import ExitCode, KtcpError


class Output(StrEnum):
    """How data is written on stdout."""

    TEXT = "text"
    JSON = "json"


asked: ContextVar[Output] = ContextVar("asked", default=Output.TEXT)
"""The form of the answer that the user asked for; errors take it, too."""


def note(output: Output) -> Output:
    """Remember the form of the answer."""
    asked.set(output)
    return output


OutputOption = Annotated[
    Output,
    typer.Option("--output", "-o", callback=note, help="What to write on stdout: text or json."),
]


class WideOutput(StrEnum):
    """How a command that has a wide table writes its data."""

    TEXT = "text"
    WIDE = "wide"
    JSON = "json"

    @property
    def plain(self) -> Output:
        """The same for ``give``, which knows text and JSON only."""
        return Output.JSON if self is WideOutput.JSON else Output.TEXT


def note_wide(output: WideOutput) -> WideOutput:
    """Remember the form of the answer."""
    asked.set(output.plain)
    return output


WideOutputOption = Annotated[
    WideOutput,
    typer.Option(
        "--output", "-o", callback=note_wide, help="What to write on stdout: text, wide or json."
    ),
]


def give(
    output: Output,
    code: ExitCode,
    data: Mapping[str, Any],
    show: Callable[[], None],
    *,
    remarks: Sequence[str] = (),
) -> None:
    """Print the answer, and end with its exit code, which is ``exit_code`` in JSON.

    Args:
        output: how to print it.
        code: the exit code.
        data: the answer as JSON data.
        show: prints it for people.
        remarks: what else went wrong, for stderr.

    Raises:
        typer.Exit: unless all is well.
    """
    if output is Output.JSON:
        console.print_json({**data, "exit_code": int(code)})
    else:
        show()
    for remark in remarks:
        console.print_error(remark)
    if code is not ExitCode.OK:
        end(code)


def end(code: ExitCode) -> NoReturn:
    """End a command that has printed everything.

    Raises:
        typer.Exit: with the exit code.
    """
    raise typer.Exit(int(code))


def fail(error: KtcpError) -> int:
    """Print why a command ended without an answer; give its exit code."""
    if asked.get() is Output.JSON:
        console.print_json(error.to_data())
    console.print_error(error.message)
    return int(error.exit_code)
