# SPDX-License-Identifier: GPL-2.0-only
"""What a guest leaves on the host to read when something went wrong."""

from dataclasses import dataclass
from pathlib import Path

LINES = 25
"""The most that are shown of a log."""


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
        """Say ``what`` happened, with the last lines of QEMU and of the console."""
        said = [what]
        for path in (self.errors, self.console):
            last = tail(path)
            if last:
                said += [f"the last lines of {path}:", *(f"  {line}" for line in last)]
        return "\n".join(said)


def tail(path: Path) -> list[str]:
    """The last lines of a log, without escape sequences of a terminal."""
    try:
        text = path.read_bytes()[-16_384:].decode(errors="replace")
    except FileNotFoundError:
        return []
    lines = (
        "".join(char for char in line if char.isprintable()).rstrip() for line in text.splitlines()
    )
    return [line for line in lines if line][-LINES:]
