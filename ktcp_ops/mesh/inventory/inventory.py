# SPDX-License-Identifier: GPL-2.0-only
"""Reads the inventories that a user names into a checked mesh."""

from collections.abc import Sequence

from ktcp_ops.errors import InvalidMeshError
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.description import Description
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run import inventory


def load(inventories: Sequence[str]) -> Mesh:
    """Read inventories with Ansible and give their mesh.

    Raises:
        UsageError: for an inventory that does not exist.
        InvalidMeshError: when it cannot be read, or describes no mesh or an invalid one.
    """
    exported = inventory.export(inventories).get("ktcp_description")
    if exported is None:
        named = ", ".join(inventories)
        raise InvalidMeshError(
            [f"{named}: mesh.ktcp.yml: is missing; add it with the line `plugin: ktcp_mesh`."]
        )
    return read(Description.from_data(exported))
