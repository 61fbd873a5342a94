# SPDX-License-Identifier: GPL-2.0-only
"""A network namespace: one host of the rehearsal."""

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000
# thread-self, because /proc/net is the namespace of the first thread.
OWN = Path("/proc/thread-self/ns/net")
KTCP = Path("/proc/thread-self/net/ktcp")
# In the guest's time, which a busy host does not make longer.
PATIENCE_S = 600.0

_libc = ctypes.CDLL(None, use_errno=True)


class CommandError(Exception):
    """A program ended with an error; the message is what it said."""


@dataclass(frozen=True)
class Done:
    """What a program has printed, and its exit code."""

    code: int
    said: str
    complained: str


def _setns(descriptor: int) -> None:
    # os.setns() is there from Python 3.12 on only.
    if _libc.setns(descriptor, CLONE_NEWNET):
        errno = ctypes.get_errno()
        raise OSError(errno, f"setns: {os.strerror(errno)}")


@dataclass(frozen=True)
class Namespace:
    """A host with a network of its own; file system and processes are the guest's."""

    name: str

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within this block the calling thread is in the namespace, and no other thread is."""
        home = os.open(OWN, os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _setns(there)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(there)
            os.close(home)

    def socket(self, family: socket.AddressFamily) -> socket.socket:
        """A TCP socket of this namespace; it works from any thread."""
        with self.entered():
            return socket.socket(family, socket.SOCK_STREAM)

    def run(self, command: Sequence[str]) -> Done:
        """Run a program here to its end, whatever it ends with."""
        # By `ip`, since programs look into /proc/net of their first thread.
        return run(["ip", "netns", "exec", self.name, *command])

    def read(self, file: str) -> str:
        """The text of a file of /proc/net/ktcp."""
        with self.entered():
            return (KTCP / file).read_text(encoding="ascii")


def run(command: Sequence[str], *, stdin: str = "") -> Done:
    """Run a program to its end, whatever it ends with."""
    done = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def must(command: Sequence[str], *, stdin: str = "") -> str:
    """Run a program to its end; return what it printed.

    Raises:
        CommandError: It failed.
    """
    done = run(command, stdin=stdin)
    if done.code:
        said = (done.complained or done.said).strip()
        raise CommandError(f"{' '.join(command)}: ended with {done.code}: {said}")
    return done.said
