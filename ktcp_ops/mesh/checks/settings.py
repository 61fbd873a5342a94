# SPDX-License-Identifier: GPL-2.0-only
"""Whether ports and settings of a mesh fit together, and leave ssh its port."""

from collections.abc import Iterator

from ktcp_ops.mesh.checks.subject import Problem, Subject, at

SSH = 22


def ports_differ(subject: Subject) -> Iterator[Problem]:
    """Two listeners cannot share a port."""
    ports = subject.mesh.ports
    if ports.client == ports.relay:
        yield Problem(at("ports"), f"client and relay are both {ports.client}; change one of them")


def settings_fit(subject: Subject) -> Iterator[Problem]:
    """A far leg that starts at the SYN needs a ready thread."""
    settings = subject.mesh.settings
    if settings.early_syn and settings.thread_pool is False:
        yield Problem(
            at("settings", "early_syn"),
            "is on and needs thread_pool, which is off; switch thread_pool on, or early_syn off",
        )


def listeners_spare_ssh(subject: Subject) -> Iterator[Problem]:
    """A listener on the port of ssh would shut everybody out, or fail to listen."""
    mesh = subject.mesh
    taken = {SSH: "where ssh listens"}
    for name, relay in sorted(mesh.relays.items()):
        if relay.ansible_port:
            taken.setdefault(relay.ansible_port, f"where Ansible reaches {name}")
    for field, port in mesh.ports:
        if port in taken:
            yield Problem(at("ports", field), f"{port} is {taken[port]}; choose another")
