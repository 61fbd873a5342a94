# SPDX-License-Identifier: GPL-2.0-only
"""The interface by which a run reports its progress; ``console`` shows it."""

from typing import Protocol


class Reporter(Protocol):
    """Gets a run's progress, in order, from one thread."""

    def started(self, *, title: str, tasks: int | None) -> None:
        """A run begins; ``tasks`` is how many it will have, if known."""

    def task(self, *, number: int, name: str) -> None:
        """Task ``number``, from 1, begins."""

    def host(self, *, host: str, outcome: str, message: str) -> None:
        """A host finished the task: ok, changed, skipped, failed, ignored or unreachable."""

    def finished(self) -> None:
        """The run is over, well or not; always called after ``started``."""


class Silent:
    """A reporter that does nothing, for short runs and for tests."""

    def started(self, *, title: str, tasks: int | None) -> None:
        """Say nothing."""

    def task(self, *, number: int, name: str) -> None:
        """Say nothing."""

    def host(self, *, host: str, outcome: str, message: str) -> None:
        """Say nothing."""

    def finished(self) -> None:
        """Say nothing."""
