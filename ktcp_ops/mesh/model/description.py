# SPDX-License-Identifier: GPL-2.0-only
"""What an inventory says about a mesh, unchecked, and where it says so.

The inventory plugin builds it and passes it to ``ktcp-ops`` as data, so that both check the very
same data. Nothing here knows Ansible, and nothing here validates.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

RELAY_VARIABLES = (
    "ktcp_address",
    "ktcp_address6",
    "ktcp_inside_interface",
    "ktcp_interception",
    "ktcp_memory_mib",
    "ktcp_tunnel_address",
    "ansible_port",
    "ansible_host",
)
"""The variables of a relay that the mesh needs."""


@dataclass(frozen=True, kw_only=True)
class Description:
    """One mesh as found in an inventory.

    Attributes:
        mesh: the variable ``ktcp_mesh``, or None if no group or host sets it.
        keys: the variable ``ktcp_keys`` (secret), or None.
        relays: the hosts of the relays' group, each with its ``RELAY_VARIABLES`` that are set.
        hosts: the name of every host of the inventory.
        source: the inventory, as the user named it.
        group: the group that sets ``ktcp_mesh``.
        alone: whether the inventory has no other mesh.
        strays: hosts of the relays' group that are in none of the inventory's several meshes.
        latency: the file for measured round-trip times, which need not exist; empty for none.
        origins: key path -> ``file`` or ``file:line``, as far as known.
    """

    mesh: Any
    keys: Any = field(repr=False)
    relays: Mapping[str, Mapping[str, Any]]
    hosts: tuple[str, ...]
    source: str
    group: str = "all"
    alone: bool = True
    strays: tuple[str, ...] = ()
    latency: str = ""
    origins: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The mesh's name, by which it is told from the inventory's other ones; empty if alone."""
        return "" if self.alone else self.group

    def where(self, key: str) -> str:
        """Give the file (and line) of a key path, or else of its nearest parent that has one."""
        while key:
            if key in self.origins:
                return self.origins[key]
            cut = max(key.rfind("."), key.rfind("["))
            key = key[: max(cut, 0)]
        return self.source

    def to_data(self) -> dict[str, Any]:
        """Give it as JSON data, to pass it from Ansible's process to ours."""
        return asdict(self)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> "Description":
        """Restore what ``to_data`` gave; JSON has turned tuples into lists."""
        lists = {name: tuple(data[name]) for name in ("hosts", "strays")}
        return cls(**{**data, **lists})


def key_path(*parts: str | int) -> str:
    """Spell a path into nested data, like ``ktcp_mesh.paths[0].via``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
