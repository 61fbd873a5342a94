# SPDX-License-Identifier: GPL-2.0-only
"""How a command ends: with one answer, as text or as JSON, and one exit code for both."""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, NoReturn

import typer

from ktcp_ops import console
from ktcp_ops.errors import ExitCode, KtcpError, UsageError, worst


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


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer about one mesh, as ``give`` takes it."""

    code: ExitCode
    data: Mapping[str, Any]
    show: Callable[[], None]
    remarks: Sequence[str] = ()


def give_each(
    output: Output, acts: Mapping[str, Callable[[], Answer]], *, careful: bool = False
) -> None:
    """Act on meshes one after the other, and give one answer: of a single mesh, just its own.

    The exit code is the worst one. An error in one mesh does not keep the others from their
    answers, but after Ctrl-C nothing more is begun.

    Args:
        output: how to print the answers.
        acts: for each mesh, by its name, what to do.
        careful: whether nothing more is begun, either, after a mesh that did not end well.

    Raises:
        typer.Exit: unless all is well.
        UsageError: when the first one cannot be begun.
    """
    if len(acts) == 1:
        answer = next(iter(acts.values()))()
        give(output, answer.code, answer.data, answer.show, remarks=answer.remarks)
        return
    answers = go_through(output, acts, careful=careful)
    left = [name for name in acts if name not in answers]
    data = {
        "meshes": {
            name: {**answer.data, "exit_code": int(answer.code)} for name, answer in answers.items()
        },
        "not_begun": left,
    }
    why = f"not begun, because of mesh {list(answers)[-1]}"
    remarks = [f"mesh {', '.join(left)}: {why}"] if left else []
    code = worst(*(answer.code for answer in answers.values()))
    give(output, code, data, lambda: None, remarks=remarks)


def go_through(
    output: Output, acts: Mapping[str, Callable[[], Answer]], *, careful: bool
) -> dict[str, Answer]:
    """Act on several meshes until one is a reason to stop; print each answer when it is there."""
    answers: dict[str, Answer] = {}
    for name, act in acts.items():
        if output is Output.TEXT:
            console.print_line(f"mesh {name}")
        answers[name] = answer = guarded(act, first=not answers)
        if output is Output.TEXT:
            answer.show()
            console.print_line("")
        for remark in answer.remarks:
            console.print_error(f"mesh {name}: {remark}")
        if answer.code is ExitCode.INTERRUPTED or (careful and answer.code is not ExitCode.OK):
            break
    return answers


def guarded(act: Callable[[], Answer], *, first: bool) -> Answer:
    """Act on one of several meshes; an error is an answer, too.

    Raises:
        UsageError: from the first one: nothing was done yet.
    """
    try:
        return act()
    except KtcpError as error:
        if first and isinstance(error, UsageError):
            raise
        return Answer(
            code=error.exit_code,
            data=error.to_data(),
            show=lambda: None,
            remarks=error.message.splitlines(),
        )


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
