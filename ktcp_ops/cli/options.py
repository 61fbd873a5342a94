# SPDX-License-Identifier: GPL-2.0-only
"""The options that several commands of ``ktcp-ops mesh`` have, and options as one object."""

import functools
from collections.abc import Callable
from dataclasses import MISSING, fields
from inspect import Parameter, Signature
from typing import Annotated, Any, ClassVar, Protocol, TypeVar

import typer


class AnyDataclass(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Asked = TypeVar("Asked", bound=AnyDataclass)


def from_fields(asked: type[Asked], command: Callable[[Asked], None]) -> Callable[..., None]:
    """Make a command from a function whose options are the fields of one object."""

    @functools.wraps(command)
    def run(**values: Any) -> None:  # noqa: ANN401 - each field has its own
        command(asked(**values))

    # inspect.signature() takes it from any function, but no function is declared to have one.
    run.__signature__ = Signature(  # type: ignore[attr-defined]
        [
            Parameter(
                field.name,
                Parameter.KEYWORD_ONLY,
                default=Parameter.empty if field.default is MISSING else field.default,
                annotation=field.type,
            )
            for field in fields(asked)
        ]
    )
    run.__annotations__ = {field.name: field.type for field in fields(asked)} | {"return": None}
    return run


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
MeshName = Annotated[
    str | None,
    typer.Option(
        "--mesh",
        metavar="NAME",
        help="Only this mesh, if several groups of the inventory set ktcp_mesh: its group.",
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
