# SPDX-License-Identifier: GPL-2.0-only
"""How much of a relay's memory its full pools take while there is no traffic."""

from ktcp_ops.mesh.model.mesh import Mesh

THREAD_BYTES = 32 << 10
"""A ready thread: 16 KiB of stack, and its task with all that belongs to it."""
CONNECTION_BYTES = 4 << 10
"""A connection that waits: socket, inode, timers, the module's record; no data."""
THREADS_HIGH = 256
"""The module's default for the upper watermark of threads."""


def pools_at_rest(mesh: Mesh, name: str) -> int:
    """Give the bytes that full pools of a relay take.

    Each pair of relays has two pools: a relay keeps its own connections, and parks the other's.
    """
    threads = mesh.thread_pool.high if mesh.thread_pool else THREADS_HIGH
    connections = 2 * mesh.pool.high * neighbours(mesh, name)
    return threads * THREAD_BYTES + connections * CONNECTION_BYTES


def neighbours(mesh: Mesh, name: str) -> int:
    """Count the relays that a relay keeps connections to."""
    if mesh.pairs is None:
        return len(mesh.relays) - 1
    return sum(name in pair for pair in mesh.pair_set)
