# SPDX-License-Identifier: GPL-2.0-only
"""Whether the pre-shared keys of a mesh are there, and differ."""

from collections.abc import Iterator

from ktcp_ops.mesh.checks.subject import Problem, Subject
from ktcp_ops.mesh.model.description import key_path


def key_exists(subject: Subject) -> Iterator[Problem]:
    """Relays authenticate with a key that all of them have."""
    key = subject.mesh.key
    unreadable = subject.unreadable.keys
    if {"key", "keys"} & subject.unreadable.sections or str(key) in unreadable:
        return
    if any(not number.isdigit() for number in unreadable):  # the mesh's key may be among them
        return
    if len(subject.mesh.relays) > 1 and key not in subject.mesh.keys:
        known = ", ".join(map(str, sorted(subject.mesh.keys)))
        have = f"only {known}" if known else "nothing"
        yield Problem(
            key_path("ktcp_keys", str(key)),
            f"is missing: ktcp_mesh.key names it and ktcp_keys has {have}; "
            "add it, made with `openssl rand -hex 32`",
        )


def keys_differ(subject: Subject) -> Iterator[Problem]:
    """Each number has another key; a rotation between equal keys would change nothing."""
    owners: dict[str, int] = {}
    for number, key in sorted(subject.mesh.keys.items()):
        first = owners.setdefault(key, number)
        if first != number:
            yield Problem(
                key_path("ktcp_keys", str(number)),
                f"is the same key as number {first}, so going from one to the other changes "
                "nothing; make a new one with `openssl rand -hex 32`",
            )
