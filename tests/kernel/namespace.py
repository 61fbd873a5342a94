# SPDX-License-Identifier: GPL-2.0-only
"""A network namespace: programs run in it, sockets made in it, its /proc/net/ktcp."""

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

_libc = ctypes.CDLL(None, use_errno=True)


class RefusedError(Exception):
    """A write that the kernel refused: its errno, and the text of `last_error`."""

    def __init__(self, file: str, errno: int, reason: str) -> None:
        super().__init__(f"{file}: {os.strerror(errno)}: {reason}")
        self.errno = errno
        self.reason = reason


def _setns(fd: int) -> None:
    # os.setns() is there from Python 3.12 on only.
    if _libc.setns(fd, CLONE_NEWNET):
        errno = ctypes.get_errno()
        raise OSError(errno, f"setns: {os.strerror(errno)}")


@dataclass(frozen=True)
class Namespace:
    """One host of the topology, by its name in `ip netns`."""

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

    @contextmanager
    def sysctl(self, name: str, value: object) -> Iterator[None]:
        """Set another value within this block."""
        old = self.run(["sysctl", "-n", name]).stdout.strip()
        self.run(["sysctl", "-qw", f"{name}={value}"])
        try:
            yield
        finally:
            self.run(["sysctl", "-qw", f"{name}={old}"])

    def raw_socket(self, family: int) -> socket.socket:
        """A socket of this namespace that sends whole IP packets."""
        with self.entered():
            return socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)

    def socket(self, family: int, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket of this namespace, with a timeout; it works from any thread."""
        with self.entered():
            made = socket.socket(family, kind)
        made.settimeout(60)
        return made

    def run(
        self, argv: Sequence[str], *, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run a program here.

        Raises:
            AssertionError: It failed, and `check` is set; the message holds its output.
        """
        # A child is born into the namespace of the thread that makes it.
        with self.entered():
            done = subprocess.run(
                argv,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
        if check and done.returncode:
            raise AssertionError(f"{argv}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def read(self, file: str) -> str:
        """The text of a file of /proc/net/ktcp."""
        with self.entered():
            return (KTCP / file).read_text(encoding="ascii")

    def write(self, file: str, *lines: str) -> None:
        """Write lines to a file of /proc/net/ktcp by one system call.

        Raises:
            RefusedError: The kernel refused.
        """
        self.write_bytes(file, "".join(f"{line}\n" for line in lines).encode())

    def write_bytes(self, file: str, text: bytes) -> None:
        """Write bytes, which need not be lines, by one system call.

        Raises:
            RefusedError: The kernel refused.
        """
        with self.entered():
            fd = os.open(KTCP / file, os.O_WRONLY)
            try:
                written = os.write(fd, text)
            except OSError as error:
                reason = (KTCP / "last_error").read_text(encoding="ascii").rstrip("\n")
                raise RefusedError(file, error.errno or 0, reason) from error
            finally:
                os.close(fd)
        assert written == len(text), f"{file}: {written} of {len(text)} bytes written"

    def lines(self, file: str) -> list[str]:
        """The lines that, written back, give the same state."""
        return [line for line in self.read(file).splitlines() if not line.startswith("#")]

    def comments(self, file: str) -> dict[str, str]:
        """The `# name value` lines."""
        pairs = (
            line[1:].split(maxsplit=1)
            for line in self.read(file).splitlines()
            if line.startswith("#")
        )
        return {pair[0]: pair[1] for pair in pairs}

    def stat(self, counter: str) -> int:
        """A counter of `stats`."""
        values = dict(line.split() for line in self.read("stats").splitlines())
        return int(values[counter])

    def setting(self, name: str) -> str:
        """The value of a setting."""
        return dict(line.split() for line in self.read("settings").splitlines())[name]

    def splits(self) -> list[str]:
        """The lines of `splits`."""
        return self.read("splits").splitlines()
