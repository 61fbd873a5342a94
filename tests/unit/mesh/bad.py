# SPDX-License-Identifier: GPL-2.0-only
"""Bad inventories, and in sentences.txt all that is said about each.

To record the file anew:

python -m tests.unit.mesh.bad
"""

from collections.abc import Iterator
from pathlib import Path

from ktcp_ops.errors import InvalidMeshError
from ktcp_ops.mesh.inventory.reader import read_all
from ktcp_ops.mesh.model.description import Description
from tests.unit.mesh.conftest import KEY, RELAYS, make_description, two_descriptions
from tests.unit.mesh.test_reader import CASES, HOSTS, KEYS

RECORD = Path(__file__).with_name("sentences.txt")


def inventories() -> dict[str, list[Description]]:
    """The bad inventories by their names; each is the small valid mesh with something spoilt."""
    return {
        **{f"mesh: {name}": [make_description(spoil)] for name, spoil, *_ in CASES},
        **{f"hosts: {name}": [make_description(relays=relays)] for name, relays, *_ in HOSTS},
        **{f"keys: {part}": [make_description(keys=keys)] for keys, part in KEYS},
        **{f"meshes: {name}": pair for name, pair in meshes().items()},
    }


def meshes() -> dict[str, list[Description]]:
    """Two meshes of one inventory that are not apart, or of which one is spoilt."""
    of_lab = {"rc": {"ktcp_address": "8.8.8.1"}, "rs": RELAYS["rs"]}
    of_prod = {"pc": {"ktcp_address": "8.8.8.1"}, "ps": RELAYS["rs"]}
    both = {"pc": {"ktcp_address": "10.78.2.1"}, "ps": {"ktcp_address": "10.78.2.2"}, **RELAYS}
    via = ["10.77.2.1", "fd77::1"]
    return {
        "a relay of two": two_descriptions(prod={"relays": both}),
        "one host by two names": two_descriptions(lab={"relays": of_lab}, prod={"relays": of_prod}),
        "an edge of two": two_descriptions(
            lambda mesh: mesh.update(edges={"office": {"relay": "rc", "via": via}}),
            lambda mesh: mesh.update(edges={"office": {"relay": "pc", "via": via}}),
            lab={"hosts": ("client", "office", "rc", "rs")},
            prod={"hosts": ("client", "office", "pc", "ps")},
        ),
        "an edge that is another's relay": two_descriptions(
            lambda mesh: mesh.update(edges={"ps": {"relay": "rc", "via": via}}),
            lab={"hosts": ("client", "ps", "rc", "rs")},
        ),
        "a key of two": two_descriptions(prod={"keys": {"1": KEY[::-1], "7": KEY}}),
        "a relay of none": two_descriptions(lab={"strays": ("rx",)}, prod={"strays": ("rx",)}),
        "no relay": two_descriptions(prod={"relays": {}}),
        "a group with an odd name": two_descriptions(prod={"group": "a/b"}),
        "mistakes of both": two_descriptions(
            lambda mesh: mesh.update(key=2), lambda mesh: mesh.update(key=3)
        ),
    }


def sentences(descriptions: list[Description]) -> tuple[str, ...]:
    """What is said about an inventory; nothing, if it is valid."""
    try:
        read_all(descriptions)
    except InvalidMeshError as error:
        return error.problems
    return ()


def record() -> str:
    """All inventories' names, each with its sentences below it."""
    return "\n".join(
        "".join(f"{line}\n" for line in (f"# {name}", *sentences(descriptions)))
        for name, descriptions in inventories().items()
    )


def recorded() -> Iterator[tuple[str, tuple[str, ...]]]:
    """The names and sentences in the file."""
    for block in RECORD.read_text(encoding="utf-8").split("\n\n"):
        head, *lines = block.splitlines()
        yield head.removeprefix("# "), tuple(lines)


if __name__ == "__main__":
    RECORD.write_text(record(), encoding="utf-8")
