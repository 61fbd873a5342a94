# SPDX-License-Identifier: GPL-2.0-only
"""The files of an inventory that hold the keys and say which one is used, edited in place.

Only single items are set or removed, so comments stay, and a file that is encrypted as a whole
stays encrypted. If the text cannot be edited like this, the operator is told what to write.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ktcp_ops.errors import KtcpError, UsageError
from ktcp_ops.mesh.keys import rotation
from ktcp_ops.mesh.keys.variable import CannotEditError, drop, holder, put
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run import vault
from ktcp_ops.run.inventory import resolve, yaml_files

Load = Callable[[], Mesh]


@dataclass(frozen=True)
class Edit:
    """A file, and the text that it is to have."""

    path: Path
    text: str


def edit(inventories: Sequence[str], mesh: Mesh, wanted: Mesh) -> list[Edit]:
    """Compute what to write where, so that the inventory says ``wanted``; nothing is written.

    Raises:
        UsageError: saying what to write, when the files cannot be edited.
    """
    changes: dict[str, Callable[[str], str]] = {
        "ktcp_keys": lambda text: with_keys(text, mesh, wanted),
        "ktcp_mesh": lambda text: put(text, "ktcp_mesh", "key", str(wanted.key)),
    }
    texts = readable(inventories, mesh) if changed(mesh, wanted) else []
    return [
        edited(inventories, texts, variable, changes[variable])
        for variable in changed(mesh, wanted)
    ]


def changed(mesh: Mesh, wanted: Mesh) -> list[str]:
    """Name the variables that differ between two meshes."""
    keys = ["ktcp_keys"] if mesh.keys != wanted.keys else []
    return keys + (["ktcp_mesh"] if mesh.key != wanted.key else [])


def places(inventories: Sequence[str], mesh: Mesh) -> dict[str, str]:
    """Name the file of each variable, or say that it is not in just one."""
    texts = readable(inventories, mesh)
    found = {}
    for variable in ("ktcp_keys", "ktcp_mesh"):
        paths = [str(path) for path, text in texts if is_there(text, variable)]
        found[variable] = paths[0] if len(paths) == 1 else f"{variable}: write it yourself"
    return found


def edited(
    inventories: Sequence[str],
    files: Sequence[tuple[Path, str]],
    variable: str,
    change: Callable[[str], str],
) -> Edit:
    """Find the one file that has a variable, and change its text."""
    texts = {path: text for path, text in files if is_there(text, variable)}
    try:
        path = the_one(list(texts))
        return Edit(path, change(texts[path]))
    except CannotEditError as error:
        named = ", ".join(map(str, texts)) or ", ".join(inventories)
        advice = {
            "ktcp_keys": "Add the next key yourself, under the next number, or remove the old one",
            "ktcp_mesh": "Write the number of the new key into `key` yourself",
        }
        raise UsageError(
            f"{named}: {variable} can't be edited: {error}. {advice[variable]}; then run this "
            "again, which goes on from there"
        ) from error


def the_one(paths: Sequence[Path]) -> Path:
    """Give the only file of some.

    Raises:
        CannotEditError: when there are several, or none.
    """
    if len(paths) != 1:
        raise CannotEditError(f"{len(paths) or 'no'} files have it at their top level")
    return paths[0]


def readable(inventories: Sequence[str], mesh: Mesh) -> list[tuple[Path, str]]:
    """Read the YAML files that may be about a mesh, without those that no password opens."""
    found: dict[Path, str] = {}
    places = [place for place in resolve(inventories) if "," not in place]
    for place in places:
        for path in yaml_files(Path(place)):
            if mesh.name and not is_about(path, mesh.name):
                continue
            try:
                found.setdefault(path, vault.read(path))
            except (OSError, UnicodeError, UsageError):
                continue
    return list(found.items())


def is_about(path: Path, group: str) -> bool:
    """Tell whether a file has the variables of a group: those of the other meshes are elsewhere."""
    places = [number for number, part in enumerate(path.parts) if part == "group_vars"]
    below = path.parts[places[-1] + 1] if places else ""
    return group in (below, below.removesuffix(path.suffix))


def is_there(text: str, variable: str) -> bool:
    """Tell whether a text has a variable at its top level, in whatever form."""
    try:
        return holder(text, variable) is not None
    except CannotEditError:
        return True


def with_keys(text: str, mesh: Mesh, wanted: Mesh) -> str:
    """Add and remove keys in a text, so that it has the wanted ones."""
    for number in sorted(set(wanted.keys) - set(mesh.keys)):
        node = holder(text, "ktcp_keys")
        values = [value for _, value in node.value] if node else []
        if any(isinstance(value, yaml.ScalarNode) and value.tag == "!vault" for value in values):
            raise CannotEditError("its keys are encrypted one by one")
        text = put(text, "ktcp_keys", str(number), f'"{wanted.keys[number]}"')
    for number in sorted(set(mesh.keys) - set(wanted.keys)):
        text = drop(text, "ktcp_keys", str(number))
    return text


def bring(inventories: Sequence[str], edits: Sequence[Edit], wanted: Mesh, load: Load) -> Mesh:
    """Write edits, read the mesh again and give it; if it is not the wanted one, undo them.

    Raises:
        KtcpError: when the mesh is not the wanted one after that.
    """
    before = {change.path: vault.raw(change.path) for change in edits}
    try:
        for change in edits:
            vault.write(change.path, change.text)
        mesh = load()
        agree(inventories, mesh, wanted)
    except BaseException:
        for path, text in before.items():
            vault.put(path, text)
        raise
    return mesh


def agree(inventories: Sequence[str], mesh: Mesh, wanted: Mesh) -> None:
    """Check that a mesh is the wanted one.

    Raises:
        KtcpError: when it is not.
    """
    if not rotation.is_same(mesh, wanted):
        raise KtcpError(
            f"{', '.join(inventories)}: something in it overrides what was written, or has "
            "changed meanwhile, so the files were put back as they were; see where ktcp_keys and "
            "ktcp_mesh are set"
        )
