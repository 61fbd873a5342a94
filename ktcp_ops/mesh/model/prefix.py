# SPDX-License-Identifier: GPL-2.0-only
"""Prefixes, and which of them lie in which."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from ktcp_ops.mesh.model.values import Network

T = TypeVar("T")


def place(network: Network) -> tuple[int, int, int]:
    """Give a key that sorts each network behind those that enclose it."""
    return network.version, int(network.network_address), network.prefixlen


def encloses(outer: Network, inner: Network) -> bool:
    """Tell whether all of ``inner`` lies in ``outer``."""
    return (
        outer.version == inner.version
        and outer.prefixlen <= inner.prefixlen
        and int(inner.network_address) >> (inner.max_prefixlen - outer.prefixlen)
        == int(outer.network_address) >> (outer.max_prefixlen - outer.prefixlen)
    )


def nest(entries: Iterable[T], network: Callable[[T], Network]) -> Iterator[tuple[T, Sequence[T]]]:
    """Give each of sorted entries with those that enclose it, the widest first.

    The latter are one list, which changes when the next entry is asked for.
    """
    enclosing: list[T] = []
    for entry in entries:
        while enclosing and not encloses(network(enclosing[-1]), network(entry)):
            enclosing.pop()
        yield entry, enclosing
        enclosing.append(entry)
