# SPDX-License-Identifier: GPL-2.0-only
"""Reads the inventories that a user names into a checked mesh."""

from collections.abc import Sequence

from ktcp_ops.errors import InvalidMeshError, UsageError
from ktcp_ops.mesh.inventory.reader import read_all
from ktcp_ops.mesh.model.description import Description
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run import inventory


def load(inventories: Sequence[str], name: str | None = None) -> Mesh:
    """Read inventories with Ansible and give their only mesh, or of several the one with a name.

    Raises:
        UsageError: for an inventory that does not exist, or a name that is needed or unknown.
        InvalidMeshError: as of ``load_all``.
    """
    return the_one(inventories, load_all(inventories, name))


def the_one(inventories: Sequence[str], meshes: Sequence[Mesh]) -> Mesh:
    """Give the only mesh of some.

    Raises:
        UsageError: when there are several.
    """
    mesh, *others = meshes
    if others:
        raise UsageError(
            f"{', '.join(inventories)}: has several meshes, and this is about one: add "
            f"--mesh {' or --mesh '.join(each.name for each in meshes)}"
        )
    return mesh


def load_all(inventories: Sequence[str], name: str | None = None) -> tuple[Mesh, ...]:
    """Read inventories with Ansible and give their meshes, or only the one with a name.

    Raises:
        UsageError: for an inventory that does not exist, or a name that no mesh has.
        InvalidMeshError: when it cannot be read, or describes no mesh or an invalid one.
    """
    exported = inventory.export(inventories).get("ktcp_descriptions")
    if exported is None:
        named = ", ".join(inventories)
        raise InvalidMeshError(
            [f"{named}: mesh.ktcp.yml: is missing; add it with the line `plugin: ktcp_mesh`."]
        )
    descriptions = [Description.from_data(data) for data in exported]
    meshes = read_all(descriptions)
    if name is None:
        return meshes
    groups = [description.group for description in descriptions]
    if name not in groups:
        raise UsageError(f"--mesh {name}: there is no such mesh; write {' or '.join(groups)}")
    return (meshes[groups.index(name)],)
