# SPDX-License-Identifier: GPL-2.0-only
"""Bad inventories, and in sentences.txt all that is said about each.

To record the file anew:

python -m tests.unit.mesh.bad
"""

from collections.abc import Iterator
from pathlib import Path

from ktcp_ops.errors import InvalidMeshError
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.description import Description
from tests.unit.mesh.conftest import make_description
from tests.unit.mesh.test_reader import CASES, HOSTS, KEYS

RECORD = Path(__file__).with_name("sentences.txt")


def inventories() -> dict[str, Description]:
    """The bad inventories by their names; each is the small valid mesh with something spoilt."""
    return {
        **{f"mesh: {name}": make_description(spoil) for name, spoil, *_ in CASES},
        **{f"hosts: {name}": make_description(relays=relays) for name, relays, *_ in HOSTS},
        **{f"keys: {part}": make_description(keys=keys) for keys, part in KEYS},
    }


def sentences(description: Description) -> tuple[str, ...]:
    """What is said about an inventory; nothing, if it is valid."""
    try:
        read(description)
    except InvalidMeshError as error:
        return error.problems
    return ()


def record() -> str:
    """All inventories' names, each with its sentences below it."""
    return "\n".join(
        "".join(f"{line}\n" for line in (f"# {name}", *sentences(description)))
        for name, description in inventories().items()
    )


def recorded() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names and sentences in the file."""
    for block in RECORD.read_text(encoding="utf-8").split("\n\n"):
        head, *lines = block.splitlines()
        yield head.removeprefix("# "), tuple(lines)


if __name__ == "__main__":
    RECORD.write_text(record(), encoding="utf-8")
