# SPDX-License-Identifier: GPL-2.0-only
"""A small valid mesh, for tests to spoil."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.description import Description
from ktcp_ops.mesh.model.mesh import Mesh

KEY = "0123456789abcdef" * 4

MESH: dict[str, Any] = {
    "relays_group": "relays",
    "ports": {"client": 5557, "relay": 5565},
    "pairs": "full_mesh",
    "thread_pool": {"low": 32, "high": 256},
    "settings": {"engine": "threads", "early_syn": False},
    "key": 1,
    "paths": [
        {
            "name": "web",
            "ingress": "rc",
            "via": ["rs"],
            "destinations": ["10.77.3.0/24", "fd77:0:0:3::/64"],
            "ports": [80],
            "probe": {"from": "client", "url": "http://10.77.3.2/10k"},
        }
    ],
    "exits": {
        "rs": [{"allow": "10.77.3.0/24", "ports": "1-65535"}, {"allow": "fd77:0:0:3::/64"}],
    },
}

RELAYS: dict[str, dict[str, Any]] = {
    "rc": {"ktcp_address": "10.77.2.1"},
    "rs": {"ktcp_address": "10.77.2.2"},
}

Describe = Callable[..., Description]
Spoil = Callable[[dict[str, Any]], None]


def make_description(
    spoil: Spoil | None = None,
    *,
    relays: dict[str, dict[str, Any]] | None = None,
    keys: Any = None,  # noqa: ANN401 - also what is no mapping
) -> Description:
    """Describe the small mesh after ``spoil`` has changed it."""
    mesh = copy.deepcopy(MESH)
    if spoil:
        spoil(mesh)
    relays = copy.deepcopy(RELAYS) if relays is None else relays
    return Description(
        mesh=mesh,
        keys={"1": KEY} if keys is None else keys,
        relays=relays,
        hosts=tuple(sorted({*relays, "client", "server"})),
        source="inventories/test/mesh.ktcp.yml",
        origins={
            "ktcp_mesh": "group_vars/all/mesh.yml:1",
            "ktcp_mesh.paths": "group_vars/all/mesh.yml:20",
            "ktcp_mesh.paths[0].via": "group_vars/all/mesh.yml:23",
            "ktcp_keys": "group_vars/all/keys.yml:1",
            "hostvars.rc.ktcp_address": "hosts.yml:4",
        },
    )


def two_descriptions(
    of_lab: Spoil | None = None, of_prod: Spoil | None = None, **more: dict[str, Any]
) -> list[Description]:
    """Describe meshes lab and prod of one inventory: the small mesh twice, with other hosts.

    ``more`` are other fields of ``Description``, by the mesh.
    """
    names = {"rc": "pc", "rs": "ps"}

    def renamed(mesh: dict[str, Any]) -> None:
        mesh["paths"][0].update(ingress="pc", via=["ps"])
        mesh["exits"] = {names[name]: rules for name, rules in mesh["exits"].items()}
        if of_prod:
            of_prod(mesh)

    relays = {names[name]: variables for name, variables in copy.deepcopy(RELAYS).items()}
    pair = (
        make_description(of_lab),
        make_description(renamed, relays=relays, keys={"1": KEY[::-1]}),
    )
    return [
        replace(description, **{**named(description, group), **more.get(group, {})})
        for group, description in zip(("lab", "prod"), pair, strict=True)
    ]


def named(description: Description, group: str) -> dict[str, Any]:
    """The fields of a description that say which of several meshes it is."""
    return {
        "group": group,
        "alone": False,
        "source": f"inventories/test/mesh.ktcp.yml (mesh {group})",
        "origins": {key: at.replace("all", group) for key, at in description.origins.items()},
    }


def one_mesh(load: Callable[[Sequence[str]], Mesh]) -> Callable[..., tuple[Mesh, ...]]:
    """What reads inventories that have one mesh each."""

    def load_all(names: Sequence[str], _name: str | None = None) -> tuple[Mesh, ...]:
        return (load(names),)

    return load_all


@pytest.fixture
def describe() -> Describe:
    return make_description


@pytest.fixture
def mesh() -> Mesh:
    return read(make_description())
