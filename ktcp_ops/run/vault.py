# SPDX-License-Identifier: GPL-2.0-only
"""Reads and writes files that ``ansible-vault`` has encrypted, with Ansible's own program.

Ansible finds the passwords as usual. Decrypted text passes through pipes only.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ktcp_ops.errors import UsageError
from ktcp_ops.run.environment import ansible_environment

HEADER = "$ANSIBLE_VAULT;"


def raw(path: Path) -> str:
    """Read a file as it is, line ends too."""
    return path.read_bytes().decode("utf-8")


def read(path: Path) -> str:
    """Read a file; if it is encrypted, decrypt it.

    Raises:
        UsageError: with Ansible's words, when it cannot be decrypted.
    """
    text = raw(path)
    return call(path, "decrypt", text) if text.startswith(HEADER) else text


def write(path: Path, text: str) -> None:
    """Write a file in one step; one that is encrypted stays so, under the same vault id.

    Raises:
        UsageError: with Ansible's words, when it cannot be encrypted.
    """
    path = path.resolve()
    before = raw(path)
    if before.startswith(HEADER):
        label = before.splitlines()[0].split(";")[3:]
        named = ("--encrypt-vault-id", label[0].strip()) if label else ()
        text = call(path, "encrypt", text, *named)
    put(path, text)


def put(path: Path, text: str) -> None:
    """Replace a file's text in one step; its mode stays."""
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", newline="", delete=False
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new = Path(file.name)
    new.chmod(path.stat().st_mode & 0o7777)
    new.replace(path)


def call(path: Path, action: str, text: str, *options: str) -> str:
    """Give what ``ansible-vault`` makes of a text."""
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "vault", action, *options, "--output", "-", "-"],
        env={**os.environ, **ansible_environment()},
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["Ansible gave no reason"]
        raise UsageError(f"{path}: cannot {action} it: {said[-1]}")
    return done.stdout
