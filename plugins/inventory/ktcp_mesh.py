# SPDX-License-Identifier: GPL-2.0-only
"""Inventory plugin: computes each relay's ``ktcp_node`` from the variable ``ktcp_mesh``.

It only carries data between Ansible and ``ktcp_ops``, which knows what a mesh is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.helpers import get_group_vars
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible.utils.vars import combine_vars
from ansible.vars.plugins import get_vars_from_inventory_sources

try:
    import ktcp_ops  # noqa: F401 - only checked here, used below
except ImportError:  # a checkout that is not installed: the package is beside the plugins
    sys.path.append(str(Path(__file__).resolve().parents[2]))

try:
    from ktcp_ops.errors import InvalidMeshError
    from ktcp_ops.mesh.inventory.reader import read
    from ktcp_ops.mesh.model.description import RELAY_VARIABLES, Description, key_path
    from ktcp_ops.mesh.relay.edge import host_variables
    from ktcp_ops.mesh.relay.plan import plan
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

DOCUMENTATION = r"""
name: ktcp_mesh
short_description: Computes the configuration of each KTCP relay of a mesh
description:
  - Reads the variables C(ktcp_mesh) and C(ktcp_keys) and the relays' C(ktcp_address),
    C(ktcp_address6), C(ktcp_inside_interface), C(ktcp_interception), C(ktcp_memory_mib),
    C(ktcp_tunnel_address), C(ansible_port) and C(ansible_host) from the inventory sources before
    it, checks them as a whole, and sets C(ktcp_node) on each relay.
  - If the mesh has tunnels or edges, sets C(ktcp_wireguard_interface) and C(ktcp_edge_routes) on
    their hosts. The mesh's edges are in group C(ktcp_edges).
  - Its file is the last one of an inventory and its name ends in C(ktcp.yml).
options:
  latency:
    description:
      - Name of the file that C(ktcp-ops mesh probe) writes round-trip times to, and by which
        paths with C(via=auto) choose their way; relative to this plugin's file. It may be missing.
    type: str
    default: latency.txt
  plugin:
    description: Marks the file as one for this plugin.
    required: true
    choices: [ktcp_mesh, pathway.ktcp.ktcp_mesh]
  export:
    description:
      - Instead of checking the mesh, set C(ktcp_description) on group C(all) to the data that
        was found, secrets included. For C(ktcp-ops), which checks it itself.
    type: bool
    default: false
    env:
      - name: KTCP_MESH_EXPORT
"""

EXAMPLES = r"""
# inventories/mine/mesh.ktcp.yml, beside hosts.yml and group_vars/all/mesh.yml
plugin: ktcp_mesh
"""

EDGES = "ktcp_edges"


class InventoryModule(BaseInventoryPlugin):  # type: ignore[misc]  # Ansible ships no types
    """Adds no host, and no group except that of the edges: earlier sources have the others."""

    NAME = "ktcp_mesh"

    def verify_file(self, path: str) -> bool:
        """Tell by its name whether a file is for this plugin."""
        return bool(super().verify_file(path)) and path.endswith(("ktcp.yml", "ktcp.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:  # noqa: ANN401
        """Set ``ktcp_node`` on each relay, or refuse the mesh with every error in it."""
        super().parse(inventory, loader, path, cache=cache)
        self._read_config_data(path)
        if MISSING is not None:
            raise AnsibleParserError(
                f"{path}: {MISSING}; install ktcp-ops for {sys.executable}, which runs Ansible"
            )
        description = self.describe(path)
        if self.get_option("export"):
            inventory.set_variable("all", "ktcp_description", description.to_data())
            return
        try:
            mesh = read(description)
        except InvalidMeshError as invalid:
            raise AnsibleParserError(
                "\n".join(("the mesh is invalid", *invalid.problems))
            ) from None
        for name, node in plan(mesh).items():
            inventory.set_variable(name, "ktcp_node", node)
        for name, variables in host_variables(mesh).items():
            for variable, value in variables.items():
                inventory.set_variable(name, variable, value)
        inventory.add_group(EDGES)
        for name in mesh.edges:
            inventory.add_child(EDGES, name)

    def describe(self, path: str) -> Description:
        """Collect the data about the mesh from the sources before this one."""
        sources = [*self.inventory.processed_sources, path]
        origins: dict[str, str] = {}
        holder = self.find_mesh_holder(sources)
        mesh, keys = (
            self.final(holder, name, name, origins) for name in ("ktcp_mesh", "ktcp_keys")
        )
        name = mesh.get("relays_group", "relays") if isinstance(mesh, Mapping) else "relays"
        group = self.inventory.groups.get(str(name))
        relays: dict[str, dict[str, Any]] = {}
        for host in sorted(group.get_hosts() if group else [], key=lambda host: str(host.name)):
            variables = self.host_variables(host, sources)
            relays[str(host.name)] = {
                variable: self.final(
                    variables, variable, key_path("hostvars", str(host.name), variable), origins
                )
                for variable in RELAY_VARIABLES
                if variables.get(variable) is not None
                and not (variable == "ansible_host" and is_template(variables[variable]))
            }
        return Description(
            mesh=mesh,
            keys=keys,
            relays=relays,
            hosts=tuple(sorted(str(host) for host in self.inventory.hosts)),
            source=nearest(path),
            latency=nearest(str(Path(path).absolute().parent / self.get_option("latency"))),
            origins=origins,
        )

    def find_mesh_holder(self, sources: Sequence[str]) -> Mapping[str, Any]:
        """Find the variables with ``ktcp_mesh``: those of ``all``, or of the one group with it."""
        groups = self.inventory.groups
        holder = self.group_variables([groups["all"]], sources)
        if "ktcp_mesh" in holder:
            return holder
        found = {
            str(name): variables
            for name, group in sorted(groups.items())
            if "ktcp_mesh" in (variables := self.group_variables([group], sources))
        }
        if len(found) > 1:
            raise AnsibleParserError(
                f"groups {', '.join(found)} each set ktcp_mesh; keep one, best in group_vars/all"
            )
        return combine_vars(holder, *found.values()) if found else holder

    def group_variables(self, groups: Iterable[Any], sources: Sequence[str]) -> dict[str, Any]:
        """Merge the variables of groups, from the inventory and from group_vars."""
        own = get_group_vars(groups)
        files = get_vars_from_inventory_sources(self.loader, sources, groups, "all")
        return dict(combine_vars(own, files))

    def host_variables(self, host: Any, sources: Sequence[str]) -> dict[str, Any]:  # noqa: ANN401
        """Merge the variables of a host and its groups, the host's last."""
        own = combine_vars(self.group_variables(host.get_groups(), sources), host.get_vars())
        files = get_vars_from_inventory_sources(self.loader, sources, [host], "all")
        return dict(combine_vars(own, files))

    def final(
        self, variables: Mapping[str, Any], name: str, key: str, origins: dict[str, str]
    ) -> Any:  # noqa: ANN401 - what YAML holds
        """Evaluate and decrypt a variable; note the file and line that its parts come from."""
        if name not in variables:
            return None
        note_origins(variables[name], key, origins)
        self.templar.available_variables = variables
        try:
            return plain(self.templar.template(variables[name]))
        except AnsibleError as error:
            where = origins.get(key, "the inventory")
            raise AnsibleParserError(f"{where}: {key}: cannot be evaluated: {error}") from error


def is_template(value: object) -> bool:
    """Tell whether a variable is a template, which perhaps only a play can evaluate."""
    return isinstance(value, str) and "{{" in value


def note_origins(value: Any, key: str, origins: dict[str, str]) -> None:  # noqa: ANN401
    """Remember file and line of a value and of all values in it."""
    origin = origin_of(value)
    if origin:
        origins[key] = origin
    if isinstance(value, Mapping):
        for name, item in value.items():
            note_origins(item, key_path(key, str(name)), origins)
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            note_origins(item, f"{key}[{number}]", origins)


def origin_of(value: Any) -> str | None:  # noqa: ANN401
    """Give ``file:line`` of a value that Ansible's YAML loader made, if it left a trace."""
    try:  # there is no public way to read this tag
        from ansible._internal._datatag._tags import Origin  # noqa: PLC0415
    except ImportError:
        return None
    tag = Origin.get_tag(value)
    if tag is None or not tag.path:
        return None
    return f"{nearest(tag.path)}:{tag.line_num}" if tag.line_num else nearest(tag.path)


def nearest(path: str) -> str:
    """Write a path relative to the working directory if it is below it."""
    here, there = Path.cwd(), Path(path)
    return str(there.relative_to(here)) if there.is_relative_to(here) else str(there)


def plain(value: Any) -> Any:  # noqa: ANN401
    """Copy nested data into plain Python objects, without Ansible's own string types."""
    if isinstance(value, Mapping):
        return {plain(name): plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (int, float):
        if isinstance(value, kind):
            return kind(value)
    return "".join(str(value))
