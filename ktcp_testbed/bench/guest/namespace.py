# SPDX-License-Identifier: GPL-2.0-only
"""A network namespace: one host of the chain."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

# The longest that a command of a set-up may take, in seconds of the guest. While a program waits
# for its file from a disk that a busy host reads slowly, the guest's clock leaps from timer to
# timer, so that a moment can be many minutes. The host ends a guest that hangs for good.
PATIENCE_S = 86_400.0


class CommandError(Exception):
    """A program ended with an error; the message is what it said."""


class Namespace:
    """A host with a network of its own; file system and processes are the guest's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, command: Sequence[str], *, stdin: str = "", timeout: float = PATIENCE_S) -> str:
        """Run a program to its end; return what it printed.

        Raises:
            CommandError: It failed, or took longer than ``timeout`` seconds.
        """
        return run(["ip", "netns", "exec", self.name, *command], stdin=stdin, timeout=timeout)

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a program that stays; its output goes to a log."""
        log = Path(f"/run/{self.name}-{Path(command[0]).name}.log").open("ab")  # noqa: SIM115
        with log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def sysctl(self, values: dict[str, str]) -> None:
        """Set kernel parameters of the namespace."""
        self.run(["sysctl", "-qw", *(f"{name}={value}" for name, value in values.items())])

    def listens(self, port: int) -> bool:
        """Whether anybody listens on the TCP port."""
        return bool(self.run(["ss", "-Hltn", f"sport = :{port}"]).strip())


def run(command: Sequence[str], *, stdin: str = "", timeout: float = PATIENCE_S) -> str:
    """Run a program of the guest to its end; return what it printed.

    Raises:
        CommandError: It failed, or took longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(command)}: not done after {timeout:.0f} s") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise CommandError(f"{' '.join(command)}: ended with {done.returncode}: {said}")
    return done.stdout
