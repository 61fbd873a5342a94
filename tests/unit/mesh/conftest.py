# SPDX-License-Identifier: GPL-2.0-only
"""A small valid mesh, for tests to spoil."""

import copy
from collections.abc import Callable
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


@pytest.fixture
def describe() -> Describe:
    return make_description


@pytest.fixture
def mesh() -> Mesh:
    return read(make_description())
