# SPDX-License-Identifier: GPL-2.0-only
"""A first inventory: the example's commented files, with a key of its own."""

import secrets
from pathlib import Path

from ktcp_ops.errors import UsageError
from ktcp_ops.run.environment import collection_root

EXAMPLE = "inventories/example"
COPIED = ("hosts.yml", "mesh.ktcp.yml", "group_vars/all/mesh.yml")
KEYS = "group_vars/all/keys.yml"
KEYS_TEXT = """\
---
# The keys by which relays know each other: 32 random bytes each, in hexadecimal. Whoever has them
# can use your relays, so encrypt this file before it goes anywhere:
#     ansible-vault encrypt {path}
ktcp_keys:
  1: "{key}"
"""


def texts(directory: Path) -> dict[str, str]:
    """Give the files of a new inventory: their path in it -> text, with a fresh key."""
    example = collection_root() / EXAMPLE
    found = {name: without_schema((example / name).read_text("utf-8")) for name in COPIED}
    key = secrets.token_hex(32)
    return {**found, KEYS: KEYS_TEXT.format(path=directory / KEYS, key=key)}


def without_schema(text: str) -> str:
    """Leave out the line that names our schema: its path is right for the example only."""
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("# yaml-language-server:"))


def write(directory: Path) -> list[Path]:
    """Write a new inventory; only their owner can read its keys.

    Raises:
        UsageError: when the directory exists and is not empty, or cannot be written.
    """
    try:
        if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
            raise UsageError(f"{directory}: exists already; name another directory")
        written = []
        for name, text in texts(directory).items():
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600 if name == KEYS else 0o644, exist_ok=False)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise UsageError(f"{directory}: {error}") from error
    return written
