# SPDX-License-Identifier: GPL-2.0-only
"""The log of a command: a file with all that Ansible printed, without secrets."""

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from ktcp_ops.mesh.journal.journal import state_directory
from ktcp_ops.mesh.journal.redact import Redactor

KEPT = 100
"""How many logs are kept, the latest ones."""


class Log:
    """Writes what Ansible prints to a file, made with the first line, that only its owner can read.

    Attributes:
        path: the file; None if nothing was written, or nothing can be.
    """

    def __init__(
        self, name: str, show: Callable[[str], None], *, verbose: bool = False, diff: bool = False
    ) -> None:
        self.name = name
        self.show = show
        self.verbose = verbose
        self.diff = diff
        self.path: Path | None = None
        self.broken = False
        self.redactor = Redactor(())

    def learn(self, keys: Iterable[str]) -> None:
        """Learn the keys that must not be in the log; what looks like a secret is removed, too."""
        self.redactor = Redactor(keys)

    def say(self, text: str, *, diff: bool) -> None:
        """Write a text, and show it if that is wanted."""
        clean = self.redactor.clean(text)
        if self.verbose or (diff and self.diff):
            self.show(clean)
        if self.broken:
            return
        try:
            with (self.path or self.begin()).open("a", encoding="utf-8") as file:
                file.write(f"{clean}\n")
        except OSError as error:
            self.broken = True
            self.show(f"no log is kept: {error}; name a directory of yours in KTCP_STATE_DIR")

    def begin(self) -> Path:
        """Make the file, and remove the oldest logs."""
        directory = state_directory() / "logs"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in sorted(directory.glob("*.log"))[: -KEPT + 1]:
            old.unlink(missing_ok=True)
        now = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        self.path = directory / f"{now}-{self.name}-{os.getpid()}.log"
        self.path.touch(mode=0o600, exist_ok=False)
        return self.path
