# SPDX-License-Identifier: GPL-2.0-only
"""Whether a mesh has relays, each with addresses and memory of its own."""

from collections.abc import Iterator

from ktcp_ops.mesh.checks import memory
from ktcp_ops.mesh.checks.subject import Problem, Subject, at
from ktcp_ops.mesh.model.description import key_path
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.relay.tunnel import Address


def group_has_relays(subject: Subject) -> Iterator[Problem]:
    """A mesh has relays."""
    if not subject.mesh.relays:
        group, mesh = subject.mesh.relays_group, subject.mesh.name
        missing = f"the inventory has no host in group {group}; add the relays to it"
        if mesh:
            missing = f"group {mesh} has no host that is in group {group}; add the relays to both"
        yield Problem(at("relays_group"), f"{missing}, or name another group")


def relays_have_addresses(subject: Subject) -> Iterator[Problem]:
    """A relay that others connect to, or where flows enter, has an address of its own."""
    needed = {name for _, path in subject.paths for course in path.courses for name in course}
    needed |= {name for _, path in subject.paths for name in path.exits}
    needed |= {name for pair in subject.mesh.pairs or () for name in pair}
    if subject.mesh.pairs is None and len(subject.mesh.relays) > 1:
        needed |= set(subject.mesh.relays)
    owners: dict[object, str] = {}
    for name, relay in sorted(subject.mesh.relays.items()):
        own = [address for address in (relay.ktcp_address, relay.ktcp_address6) if address]
        if not own and name in needed and name not in subject.unreadable.relays:
            yield Problem(
                key_path("hostvars", name, "ktcp_address"),
                "is missing; set it to the address on which the other relays reach this one",
            )
        for address in own:
            variable = "ktcp_address" if address.version == 4 else "ktcp_address6"
            if address in owners:
                yield Problem(
                    key_path("hostvars", name, variable),
                    f"{address} is also the address of {owners[address]}; give each relay its own",
                )
            owners.setdefault(address, name)


def pools_fit_memory(subject: Subject) -> Iterator[Problem]:
    """The pools leave half of a relay's memory to splits and everything else."""
    mesh = subject.mesh
    if {"pool", "thread_pool", "pairs"} & subject.unreadable.sections:
        return
    for name, relay in sorted(mesh.relays.items()):
        if relay.ktcp_memory_mib is None:
            continue
        needed, peers = memory.pools_at_rest(mesh, name) >> 20, memory.neighbours(mesh, name)
        if needed * 2 > relay.ktcp_memory_mib:
            yield Problem(
                key_path("hostvars", name, "ktcp_memory_mib"),
                f"is {relay.ktcp_memory_mib}, and the pools of this relay (peers: {peers}) take "
                f"{needed} MiB, more than half of it; lower high of ktcp_mesh.pool or "
                "ktcp_mesh.thread_pool, list pairs, or give the relay more memory",
            )


def relay_addresses(mesh: Mesh) -> Iterator[tuple[str, Address]]:
    """Give the addresses of all relays, each with the relay's name."""
    for name, relay in sorted(mesh.relays.items()):
        for address in (relay.ktcp_address, relay.ktcp_address6):
            if address:
                yield name, address
