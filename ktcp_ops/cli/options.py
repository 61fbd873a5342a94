# SPDX-License-Identifier: GPL-2.0-only
"""The options that several commands of ``ktcp-ops mesh`` have."""

from typing import Annotated

import typer

Inventories = Annotated[
    list[str],
    typer.Option(
        "--inventory",
        "-i",
        metavar="INVENTORY",
        help="Ansible inventory: a file, or a directory with hosts, group_vars and mesh.ktcp.yml. "
        "Can be given several times.",
    ),
]
Limit = Annotated[
    str | None,
    typer.Option(
        "--limit",
        metavar="PATTERN",
        help="Only these hosts: an Ansible pattern like rc or 'relays:!rs'.",
    ),
]
Relays = Annotated[
    list[str] | None,
    typer.Option("--relay", metavar="NAME", help="Only this relay. Can be given several times."),
]
Check = Annotated[
    bool, typer.Option("--check", help="Change nothing; report what would be changed.")
]
