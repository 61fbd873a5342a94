# SPDX-License-Identifier: GPL-2.0-only
"""Whether the meshes of one inventory are apart: no host and no key is in two of them."""

import re
from collections.abc import Iterator, Mapping, Sequence

from ktcp_ops.mesh.checks.relays import relay_addresses
from ktcp_ops.mesh.model.description import Description, key_path
from ktcp_ops.mesh.model.mesh import Mesh

GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""What can be the name of a mesh: of a directory, and a part of names of groups."""


def sentences(descriptions: Sequence[Description], meshes: Mapping[str, Mesh]) -> Iterator[str]:
    """Say what is wrong with several meshes of one inventory.

    Args:
        descriptions: all of them.
        meshes: those that could be read, by name.
    """
    sound = [(each, meshes[each.name]) for each in descriptions if each.name in meshes]
    yield from odd_names(descriptions)
    yield from strays(descriptions)
    yield from shared_relays(descriptions)
    yield from shared_edges(descriptions, sound)
    yield from shared_addresses(sound)
    yield from shared_keys(sound)


def sentence(description: Description, key: str, text: str, *, at: str = "") -> str:
    """Make a sentence about a key; ``at`` is another key that knows the file."""
    return f"{description.where(at or key)}: {key}: {text}."


def odd_names(descriptions: Sequence[Description]) -> Iterator[str]:
    """The name of a group becomes the name of a directory, and a part of other groups' names."""
    for each in descriptions:
        if not GROUP.fullmatch(each.group):
            yield sentence(
                each,
                "ktcp_mesh",
                f"is set for group {each.group!r}, so this is the name of a mesh; give the group "
                "a name of letters, digits, dots, - and _",
            )


def strays(descriptions: Sequence[Description]) -> Iterator[str]:
    """A host of the relays' group is in a mesh, or a playbook would find nothing for it to do."""
    names = ", ".join(each.name for each in descriptions)
    seen: set[str] = set()
    for each in descriptions:
        for host in each.strays:
            if host not in seen:
                yield (
                    f"{each.where(address_of(host)).removesuffix(f' (mesh {each.name})')}: "
                    f"{key_path('hostvars', host)}: is in the group of relays, but in none of the "
                    f"groups that are meshes ({names}); add it to one of them, or take it out of "
                    "the group of relays."
                )
            seen.add(host)


def address_of(host: str) -> str:
    """Name the key of a host that most likely says where the host is written."""
    return key_path("hostvars", host, "ktcp_address")


def shared_relays(descriptions: Sequence[Description]) -> Iterator[str]:
    """A host has one module, one set of files and one ``ktcp_node``: it is in one mesh."""
    owners: dict[str, str] = {}
    for each in descriptions:
        for host in each.relays:
            owner = owners.setdefault(host, each.name)
            if owner != each.name:
                yield sentence(
                    each,
                    key_path("hostvars", host),
                    f"is a relay of two meshes, {owner} and {each.name}, and a host can only be "
                    "in one; take it out of one of these two groups",
                    at=address_of(host),
                )


def shared_edges(
    descriptions: Sequence[Description], sound: Sequence[tuple[Description, Mesh]]
) -> Iterator[str]:
    """An edge is of one mesh, too, and is no relay of another."""
    owners = {host: (each.name, "a relay") for each in descriptions for host in each.relays}
    for each, mesh in sound:
        for host in mesh.edges:
            owner, what = owners.setdefault(host, (each.name, "an edge"))
            if owner != each.name:
                yield sentence(
                    each,
                    key_path("ktcp_mesh", "edges", host),
                    f"is {what} of mesh {owner}, and a host can only be in one; name another "
                    "host, or remove it from one of the two",
                )


def shared_addresses(sound: Sequence[tuple[Description, Mesh]]) -> Iterator[str]:
    """An address of the Internet is one host's, whatever names the host has in two meshes.

    Private addresses may well be used twice, by networks that know nothing of each other.
    """
    owners: dict[object, tuple[str, str]] = {}
    for each, mesh in sound:
        for host, address in relay_addresses(mesh):
            owner, first = owners.setdefault(address, (each.name, host))
            if address.is_global and owner != each.name and first != host:
                variable = "ktcp_address" if address.version == 4 else "ktcp_address6"
                yield sentence(
                    each,
                    key_path("hostvars", host, variable),
                    f"{address} is also the address of {first} in mesh {owner}, and a host can "
                    "only be in one mesh; remove one of the two, or correct its address",
                )


def shared_keys(sound: Sequence[tuple[Description, Mesh]]) -> Iterator[str]:
    """A relay lets in whoever proves a key that it holds, so each mesh has keys of its own."""
    owners: dict[str, str] = {}
    for each, mesh in sound:
        for number, secret in sorted(mesh.keys.items()):
            owner = owners.setdefault(secret, each.name)
            if owner != each.name:
                yield sentence(
                    each,
                    key_path("ktcp_keys", str(number)),
                    f"is also a key of mesh {owner}, so relays of either mesh could send flows "
                    f"into the other; set ktcp_keys for group {each.name}, with a key of its own, "
                    "made with `openssl rand -hex 32`",
                )
