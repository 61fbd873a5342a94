# SPDX-License-Identifier: GPL-2.0-only
"""What a guest leaves on the host to read when something went wrong."""

import re
from dataclasses import dataclass
from pathlib import Path

LINES = 25
"""The most that are shown of a log."""

# What Linux says first when it dies; what follows is the reason, and the next boot may follow that.
OOPS = re.compile(r"BUG: |Oops: |Internal error|general protection fault|Kernel panic")
OOPS_LINES = 60


@dataclass(frozen=True, kw_only=True)
class Logs:
    """The logs of a guest."""

    directory: Path

    @property
    def console(self) -> Path:
        """What the guest's kernel and system wrote to its serial console."""
        return self.directory / "console.log"

    @property
    def errors(self) -> Path:
        """QEMU's own messages."""
        return self.directory / "qemu.log"

    def describe(self, what: str) -> str:
        """Say ``what`` happened, with the kernel's death and the last lines of both logs."""
        said = [what]
        written = lines(self.console)
        last, died = written[-LINES:], oops(written)
        if died and died[0] in last:
            died = []
        parts = (
            (f"its kernel died; from {self.console}:", died),
            (f"the last lines of {self.errors}:", tail(self.errors)),
            (f"the last lines of {self.console}:", last),
        )
        for heading, found in parts:
            if found:
                said += [heading, *(f"  {line}" for line in found)]
        return "\n".join(said)


def tail(path: Path) -> list[str]:
    """The last lines of a log."""
    return lines(path)[-LINES:]


def oops(written: list[str]) -> list[str]:
    """The kernel's report of its first death in a console's lines; nothing if it did not die."""
    first = next((number for number, line in enumerate(written) if OOPS.search(line)), len(written))
    return written[first : first + OOPS_LINES]


def lines(path: Path) -> list[str]:
    """The lines of a log that are not empty, without escape sequences of a terminal."""
    try:
        text = path.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return []
    found = (
        "".join(char for char in line if char.isprintable()).rstrip() for line in text.splitlines()
    )
    return [line for line in found if line]
