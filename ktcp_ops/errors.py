# SPDX-License-Identifier: GPL-2.0-only
"""Errors that carry the exit code of the command they end.

Code below the CLI raises these and never calls ``sys.exit``; ``cli.main.main``
is the one place that turns an error into a message and an exit code.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import Any


class ExitCode(IntEnum):
    """Exit codes of ``ktcp-ops``, the same for every command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    INVALID_MESH = 3
    UNREACHABLE = 4
    GATE = 5
    DRIFT = 6
    INTERRUPTED = 130


def worst(*codes: ExitCode) -> ExitCode:
    """Give the exit code of a command that did several things, each with an exit code."""
    return max(codes, default=ExitCode.OK)


class KtcpError(Exception):
    """A failure in one sentence (or several, one a line), with its exit code."""

    exit_code: ExitCode = ExitCode.FAILED

    def __init__(self, message: str, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        self.message = message
        if exit_code is not None:
            self.exit_code = exit_code

    def to_data(self) -> dict[str, Any]:
        """Give the failure as JSON data."""
        return {"exit_code": int(self.exit_code), "error": self.message}


class UsageError(KtcpError):
    """The command was called in a way that cannot work; nothing was done."""

    exit_code = ExitCode.USAGE


class InvalidMeshError(KtcpError):
    """The mesh description is wrong; ``problems`` holds every error found."""

    exit_code = ExitCode.INVALID_MESH

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)

    def to_data(self) -> dict[str, Any]:
        """Give the failure as JSON data."""
        return {**super().to_data(), "valid": False, "problems": list(self.problems)}


class UnreachableError(KtcpError):
    """A host did not answer; the others may have been changed."""

    exit_code = ExitCode.UNREACHABLE


class InterruptedByUserError(KtcpError):
    """The user stopped the command (Ctrl-C or SIGTERM)."""

    exit_code = ExitCode.INTERRUPTED
