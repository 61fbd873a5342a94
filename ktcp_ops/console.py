# SPDX-License-Identifier: GPL-2.0-only
"""Everything printed by ``ktcp-ops``: data on stdout, progress and errors on stderr.

The only module that imports rich.
"""

import json
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from rich.console import Console, Group, JustifyMethod
from rich.live import Live
from rich.table import Table
from rich.text import Text

drawn: ContextVar[bool] = ContextVar("drawn", default=True)
"""Whether progress is drawn on a terminal. Not while other lines are printed: they would mix."""

GAP = 2
"""Spaces between the columns of a table."""

HOST_COLUMNS: tuple[JustifyMethod, ...] = ("left", "right", "right", "left")
"""How name, tasks, changes and outcome of a host stand in their columns."""

WIDEST = 1_000_000
"""More columns than any table has: a table in a log or a pipe is as wide as its cells."""

STYLES = {
    "ok": "green",
    "changed": "yellow",
    "failed": "bold red",
    "unreachable": "bold red",
    "ignored": "magenta",
    "skipped": "dim",
}


def stdout() -> Console:
    """Give the console for data. Made at each use, so that redirected streams are honoured."""
    return Console(file=sys.stdout, highlight=False, soft_wrap=True)


def stderr() -> Console:
    """Give the console for progress and errors."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print a failure on stderr, one line a problem."""
    console = stderr()
    for line in message.splitlines() or [""]:
        console.print(Text.assemble(("error: ", "bold red"), line))


def print_note(message: str) -> None:
    """Print a remark on stderr."""
    stderr().print(Text(message))


def ask_secret(question: str) -> str:
    """Ask for a secret on the terminal, without showing what is typed."""
    return stderr().input(Text(question), password=True)


def confirm(question: str) -> bool:
    """Ask a question on the terminal; no answer, or no terminal, means no."""
    if not sys.stdin.isatty():
        return False
    try:
        answer = stderr().input(Text(f"{question} [y/N] "))
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def print_line(text: str, style: str = "") -> None:
    """Print one line of data on stdout; ``style`` is a name of ``STYLES`` or nothing."""
    if style:
        stdout().print(Text(text, style=STYLES[style]))
    else:  # fifty times faster, and a plan may have a million lines
        sys.stdout.write(f"{text}\n")


def print_json(data: Any) -> None:  # noqa: ANN401 - JSON is what it is
    """Print data as JSON on stdout, the same way each time.

    It is written in blocks, so that the long text of a large mesh's plan is never in memory.
    """
    pieces = json.JSONEncoder(indent=2, sort_keys=True).iterencode(data)
    while block := "".join(islice(pieces, 65536)):
        sys.stdout.write(block)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on stdout, one line a row whatever the width, for people and for awk."""
    table = make_table(columns, rows)
    console = stdout()
    console.width = WIDEST
    with console.capture() as printed:
        console.print(table, width=console.measure(table).maximum)
    for line in printed.get().splitlines():
        # Without the spaces that fill the last column up.
        sys.stdout.write(f"{line.rstrip()}\n")


def make_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int] = ()
) -> Table:
    """Make a table whose cells are never wrapped: cut, if widths are given that are too small."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for place, column in enumerate(columns):
        numeric = bool(rows) and all(is_number(row[place]) for row in rows)
        table.add_column(
            Text(column),
            justify="right" if numeric else "left",
            width=widths[place] if widths else None,
            no_wrap=True,
            overflow="ellipsis",
        )
    for row in rows:
        table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
    return table


def is_number(cell: str) -> bool:
    """Tell whether a cell counts something; a dash stands for nothing to count."""
    return cell == "-" or cell.replace(",", "").replace(".", "").isdigit()


@dataclass
class Line:
    """How far a host is."""

    tasks: int = 0
    changed: int = 0
    outcome: str = ""
    message: str = ""


class Progress:
    """Shows a run (a ``run.reporter.Reporter``): a line a host, or plain lines in a log."""

    def __init__(self) -> None:
        self.console = stderr()
        self.live: Live | None = None
        self.title = ""
        self.total: int | None = None
        self.number = 0
        self.name = ""
        self.hosts: dict[str, Line] = {}

    def started(self, *, title: str, tasks: int | None) -> None:
        """A run begins."""
        self.title, self.total = title, tasks
        self.number, self.name = 0, ""
        self.hosts = {}
        if self.console.is_terminal and drawn.get():
            self.live = Live(console=self.console, get_renderable=self.render, transient=True)
            self.live.start()
        else:
            self.console.print(Text(f"{title}: begins"))

    def task(self, *, number: int, name: str) -> None:
        """A task begins."""
        self.number, self.name = number, name
        if self.live is None:
            self.console.print(Text(f"{self.title}: {self.place()} {name}"))

    def host(self, *, host: str, outcome: str, message: str) -> None:
        """A host has finished a task."""
        line = self.hosts.setdefault(host, Line())
        line.tasks += 1
        line.changed += outcome == "changed"
        if line.outcome not in ("failed", "unreachable"):
            line.outcome, line.message = outcome, message
        if self.live is None and outcome not in ("ok", "skipped"):
            tail = f": {message}" if message else ""
            self.console.print(Text(f"{self.title}: {self.place()} {host} {outcome}{tail}"))

    def finished(self) -> None:
        """The run is over."""
        if self.live is not None:
            self.live.stop()
            self.live = None

    def place(self) -> str:
        """Say how far the run is; leave the total out once more tasks have run than it says."""
        if self.total and self.number <= self.total:
            return f"[{self.number}/{self.total}]"
        return f"[{self.number}]"

    def render(self) -> Group:
        """Draw the present state for a terminal."""
        head = Text.assemble((self.title, "bold"), " ", self.place(), " ", self.name)
        table = Table.grid(padding=(0, GAP))
        for justify in HOST_COLUMNS:
            table.add_column(justify=justify, no_wrap=True)
        # The only column that gets narrower on a narrow terminal.
        table.add_column()
        shown = sorted(self.hosts.items())[: max(self.console.height - 2, 1)]
        for name, line in shown:
            table.add_row(
                Text(f"  {name}"),
                f"{line.tasks} tasks",
                f"{line.changed} changed",
                Text(line.outcome, style=STYLES.get(line.outcome, "")),
                one_line(line.message.partition("\n")[0]),
            )
        return Group(head, table)


class Watch:
    """A table that is drawn again and again: in the same place on a terminal, else below."""

    def __init__(self, *, title: str) -> None:
        self.title = title
        self.console = stdout()
        self.table: tuple[Sequence[str], Sequence[Sequence[str]]] = ((), ())
        self.foot = "asking the relays"
        self.live: Live | None = None

    def __enter__(self) -> "Watch":
        """Begin to draw."""
        if self.console.is_terminal:
            self.live = Live(console=self.console, get_renderable=self.render, refresh_per_second=2)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the last table where it is, and the cursor below it."""
        if self.live is not None:
            self.live.stop()

    def show(self, columns: Sequence[str], rows: Sequence[Sequence[str]], remark: str) -> None:
        """Draw a table; the first column names its rows."""
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        self.table, self.foot = (columns, rows), " ".join(f"{now}  {remark}".split())
        if self.live is None:
            print_table(columns, rows)
            sys.stdout.flush()
            if remark:
                print_note(remark)

    def render(self) -> Group:
        """Draw the columns and rows that fit, and say how many do not."""
        width, height = self.console.width, max(self.console.height - 4, 1)
        columns, rows = self.table
        lines = [columns, *rows] if columns else []
        widths = fitting([max(len(line[n]) for line in lines) for n in range(len(columns))], width)
        shown = [row[: len(widths)] for row in rows[:height]]
        left = len(rows) - len(shown)
        foot = f"{self.foot}{f'  and {left} more' if left > 0 else ''}  Ctrl-C ends"
        return Group(
            one_line(self.title, "bold"),
            *([make_table(columns[: len(widths)], shown, widths)] if columns else []),
            one_line(foot, "dim"),
        )


def one_line(text: str, style: str = "") -> Text:
    """Make a line that is cut where the terminal ends."""
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def fitting(widths: Sequence[int], width: int) -> list[int]:
    """Give the widths of the columns that fit; the last of them may be cut."""
    found: list[int] = []
    for wide in widths:
        room = width - sum(found) - GAP * len(found)
        if room < min(wide, 8):
            break
        found.append(min(wide, room))
    return found
