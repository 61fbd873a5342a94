# SPDX-License-Identifier: GPL-2.0-only
"""Inventory plugin: computes each relay's ``ktcp_node`` from the variable ``ktcp_mesh``.

It only carries data between Ansible and ``ktcp_ops``, which knows what a mesh is.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
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
    from ktcp_ops.mesh.inventory.reader import read_all
    from ktcp_ops.mesh.model.description import RELAY_VARIABLES, Description, key_path
    from ktcp_ops.mesh.model.mesh import Mesh
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
  - Variables C(ktcp_mesh) of several groups are several meshes, each with its group's name. The
    relays of mesh C(NAME) are then also in group C(ktcp_relays_NAME), its edges in
    C(ktcp_edges_NAME).
  - Its file is the last one of an inventory and its name ends in C(ktcp.yml).
options:
  latency:
    description:
      - Name of the file that C(ktcp-ops mesh probe) writes round-trip times to, and by which
        paths with C(via=auto) choose their way; relative to this plugin's file. It may be missing.
        Of several meshes, each has its own, C(latency-NAME.txt).
    type: str
    default: latency.txt
  plugin:
    description: Marks the file as one for this plugin.
    required: true
    choices: [ktcp_mesh, pathway.ktcp.ktcp_mesh]
  export:
    description:
      - Instead of checking the mesh, set C(ktcp_descriptions) on group C(all) to the data that
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
        descriptions = self.describe(path)
        if self.get_option("export"):
            data = [description.to_data() for description in descriptions]
            inventory.set_variable("all", "ktcp_descriptions", data)
            return
        try:
            meshes = read_all(descriptions)
        except InvalidMeshError as invalid:
            raise AnsibleParserError(
                "\n".join(("the mesh is invalid", *invalid.problems))
            ) from None
        inventory.add_group(EDGES)
        for mesh in meshes:
            self.add(mesh)

    def add(self, mesh: Mesh) -> None:
        """Set the variables of a mesh's hosts, and put the hosts into their groups."""
        for name, node in plan(mesh).items():
            self.inventory.set_variable(name, "ktcp_node", node)
        for name, variables in host_variables(mesh).items():
            for variable, value in variables.items():
                self.inventory.set_variable(name, variable, value)
        for name in mesh.edges:
            self.inventory.add_child(EDGES, name)
        for group, hosts in mesh.own_groups.items():
            self.inventory.add_group(group)
            for name in hosts:
                self.inventory.add_child(group, name)

    def describe(self, path: str) -> list[Description]:
        """Collect the data about each mesh from the sources before this one."""
        sources = [*self.inventory.processed_sources, path]
        holders = self.find_holders(sources)
        members = {str(host) for name in holders for host in self.hosts_in(name)}
        return [
            self.describe_one(path, sources, name, variables, members, alone=len(holders) == 1)
            for name, variables in holders.items()
        ]

    def describe_one(
        self,
        path: str,
        sources: Sequence[str],
        holder: str,
        holding: Mapping[str, Any],
        members: Collection[str],
        *,
        alone: bool,
    ) -> Description:
        """Collect the data about the mesh of a group, which holds these variables.

        If it is not alone, its relays are hosts of that group. ``members`` are all meshes' hosts.
        """
        origins: dict[str, str] = {}
        mesh, keys = (
            self.final(holding, name, name, origins) for name in ("ktcp_mesh", "ktcp_keys")
        )
        name = mesh.get("relays_group", "relays") if isinstance(mesh, Mapping) else "relays"
        group = self.hosts_in(str(name))
        own = {str(host) for host in (group if alone else self.hosts_in(holder))}
        strays = [] if alone else [host for host in group if str(host) not in members]
        for host in strays:
            note_address(host, origins)
        return Description(
            mesh=mesh,
            keys=keys,
            relays={
                str(host): self.relay_variables(host, sources, origins)
                for host in group
                if str(host) in own
            },
            hosts=tuple(sorted(str(host) for host in self.inventory.hosts)),
            source=nearest(path) if alone else f"{nearest(path)} (mesh {holder})",
            group=holder,
            alone=alone,
            strays=tuple(map(str, strays)),
            latency=nearest(str(self.latency_file(path, "" if alone else holder))),
            origins=origins,
        )

    def relay_variables(
        self,
        host: Any,  # noqa: ANN401
        sources: Sequence[str],
        origins: dict[str, str],
    ) -> dict[str, Any]:
        """Collect the variables of a relay that the mesh needs."""
        variables = self.host_variables(host, sources)
        return {
            variable: self.final(
                variables, variable, key_path("hostvars", str(host), variable), origins
            )
            for variable in RELAY_VARIABLES
            if variables.get(variable) is not None
            and not (variable == "ansible_host" and is_template(variables[variable]))
        }

    def latency_file(self, path: str, mesh: str) -> Path:
        """Name the file of a mesh's round-trip times; of several meshes each has its own."""
        file = Path(path).absolute().parent / str(self.get_option("latency"))
        # A name with a slash is refused later.
        name = f"{file.stem}-{mesh}{file.suffix}".replace("/", "_")
        return file.with_name(name) if mesh else file

    def hosts_in(self, group: str) -> list[Any]:
        """Give the hosts of a group, also those of its children, by name; there may be none."""
        found = self.inventory.groups.get(group)
        return sorted(found.get_hosts() if found else [], key=lambda host: str(host.name))

    def find_holders(self, sources: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """Find the groups with ``ktcp_mesh``, each with its variables; without any, give ``all``.

        Raises:
            AnsibleParserError: when ``all`` has it, and another group, too.
        """
        groups = self.inventory.groups
        general = self.group_variables([groups["all"]], sources)
        found = {
            str(name): variables
            for name, group in sorted(groups.items())
            if name != "all"
            and "ktcp_mesh" in (variables := self.group_variables([group], sources))
        }
        if "ktcp_mesh" in general and found:
            raise AnsibleParserError(
                f"ktcp_mesh is set for group all and for {', '.join(found)}; keep it in "
                "group_vars/all if there is one mesh, else move it from there to a group of its own"
            )
        if not found:
            return {"all": general}
        return {name: combine_vars(general, own) for name, own in found.items()}

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


def note_address(host: Any, origins: dict[str, str]) -> None:  # noqa: ANN401
    """Remember file and line of the address of a host whose variables nobody needs."""
    key = key_path("hostvars", str(host), "ktcp_address")
    note_origins(host.get_vars().get("ktcp_address"), key, origins)


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
