# SPDX-License-Identifier: GPL-2.0-only
"""Sets of prefixes that rules look up (ipset ``hash:net``).

A set's name ends in a digest of its contents: a new list of prefixes is a new set, and the rules
switch to it in one commit.
"""

import hashlib
from collections.abc import Iterable
from typing import TypedDict

from ktcp_ops.mesh.model.prefix import encloses, place
from ktcp_ops.mesh.model.values import Network

SET_LENGTH = 31
"""The longest name of a set that ipset takes."""
DIGEST_LENGTH = 8


class AddressSet(TypedDict):
    """Named prefixes, as ipset writes them; one followed by ``nomatch`` is an exception."""

    name: str
    entries: list[str]


class Sets:
    """The sets of a relay, by family; equal sets are stored once."""

    def __init__(self) -> None:
        self.found: dict[int, dict[str, AddressSet]] = {4: {}, 6: {}}

    def put(self, found: AddressSet, version: int) -> str:
        """Store a set and give its name."""
        self.found[version][found["name"]] = found
        return found["name"]

    def add(self, label: str, version: int, entries: Iterable[str]) -> str:
        """Store a set with these entries and give its name."""
        return self.put(address_set(label, version, entries), version)

    def sources(self, label: str, version: int, sources: Iterable[Network]) -> str | None:
        """Store the set of some sources and give its name; empty: all, None: none of the family."""
        listed = list(sources)
        if not listed:
            return ""
        own = collapsed(net for net in listed if net.version == version)
        return self.add(label, version, own) if own else None

    def listed(self, version: int) -> list[AddressSet]:
        """Give the sets of a family by name."""
        return [self.found[version][name] for name in sorted(self.found[version])]


def address_set(label: str, version: int, entries: Iterable[str]) -> AddressSet:
    """Make a set, whose name ends in a digest of its entries."""
    held = list(entries)
    digest = hashlib.sha256("\n".join(held).encode()).hexdigest()[:DIGEST_LENGTH]
    ending = f".v{version}.{digest}"
    return {"name": label[: SET_LENGTH - len(ending)] + ending, "entries": held}


def collapsed(networks: Iterable[Network]) -> list[str]:
    """Write networks as entries, without those that lie in others."""
    kept: list[Network] = []
    for net in sorted(set(networks), key=place):
        if not kept or not encloses(kept[-1], net):
            kept.append(net)
    return [entry for net in kept for entry in entries_of(net)]


def entries_of(network: Network) -> list[str]:
    """Write a network as ipset does, which takes no prefix of length 0, but its two halves."""
    halves = network.subnets() if network.prefixlen == 0 else (network,)
    return [
        str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)
        for net in halves
    ]
