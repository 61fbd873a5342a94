# SPDX-License-Identifier: GPL-2.0-only
"""The options of every command that runs Ansible, and the log of what Ansible says."""

import functools
import inspect
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli.options import MeshName
from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.inventory import inventory, selection
from ktcp_ops.mesh.journal.log import Log
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.run.options import Options

USUAL = Options()
chosen: ContextVar[Options] = ContextVar("options", default=USUAL)
log: ContextVar[Log | None] = ContextVar("log", default=None)
named: ContextVar[str | None] = ContextVar("named", default=None)
"""The mesh that the user named, of an inventory with several."""

MEMORY = Path("/dev/shm")
"""Files in it are on no disk."""


Extra = Annotated[
    list[str] | None,
    typer.Option(
        "--extra-vars",
        "-e",
        metavar="VARIABLES",
        help="Variables for the playbooks, as for ansible-playbook. They do not change the mesh, "
        "which comes from the inventory.",
    ),
]


def options(
    *,
    verbose: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", count=True, help="Show Ansible's output; -vvv shows more of it."
        ),
    ] = 0,
    diff: Annotated[bool, typer.Option("--diff", help="Show on stderr how files change.")] = False,
    forks: Annotated[
        int | None, typer.Option("--forks", "-f", min=1, help="How many hosts at a time.")
    ] = None,
    extra: Extra = None,
    ask_become: Annotated[
        bool,
        typer.Option("--ask-become-pass", "-K", help="Ask for the password of sudo."),
    ] = False,
    ask_vault: Annotated[
        bool, typer.Option("--ask-vault-pass", "-J", help="Ask for the password of the vault.")
    ] = False,
) -> Options:
    """Make an object of the options; commands get this function's signature."""
    return Options(
        verbosity=verbose,
        diff=diff,
        forks=forks,
        variables=tuple(extra or ()),
        ask_become=ask_become,
        ask_vault=ask_vault,
    )


def with_options(name: str, command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --mesh and the options of ``options``, and a log named at its end."""
    own, more = inspect.signature(command), inspect.signature(options)
    keyword = inspect.Parameter.KEYWORD_ONLY
    mesh = inspect.Parameter("mesh_name", keyword, default=None, annotation=MeshName)

    @functools.wraps(command)
    def run(**values: Any) -> None:  # noqa: ANN401 - each command has its own
        named.set(values.pop(mesh.name))
        wanted = options(**{key: values.pop(key) for key in more.parameters})
        book = Log(name, console.print_note, verbose=wanted.verbosity > 0, diff=wanted.diff)
        chosen.set(wanted)
        log.set(book)
        console.drawn.set(not (wanted.verbosity or wanted.diff))
        try:
            with passwords(wanted):
                command(**values)
        finally:
            if book.path:
                console.print_note(f"log: {book.path}")

    every = [*own.parameters.values(), mesh, *more.parameters.values()]
    run.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[parameter.replace(kind=keyword) for parameter in every]
    )
    annotations = {**command.__annotations__, mesh.name: MeshName, **options.__annotations__}
    run.__annotations__ = {**annotations, "return": None}
    return run


def load(inventories: Sequence[str]) -> Mesh:
    """Read the mesh that a command is about, if it is about one: the only one, or that named.

    Raises:
        UsageError: when there are several, and none was named.
    """
    mesh = inventory.the_one(inventories, inventory.load_all(inventories, named.get()))
    learn([mesh])
    return mesh


def load_all(inventories: Sequence[str], limit: str | None = None) -> tuple[Mesh, ...]:
    """Read the meshes that a command is about: all with a host within the limit, or that named.

    Raises:
        UsageError: for a limit that selects no host of several meshes.
    """
    meshes = inventory.load_all(inventories, named.get())
    learn(meshes)
    return selection.within(meshes, inventories, limit)


def learn(meshes: Iterable[Mesh]) -> None:
    """Tell the log the keys of meshes, so that none is written there."""
    book = log.get()
    if book:
        book.learn(key for mesh in meshes for key in mesh.keys.values())


@contextmanager
def passwords(wanted: Options) -> Iterator[None]:
    """Ask for passwords, and keep them for Ansible in files in memory while the body runs."""
    asked = {
        "ANSIBLE_VAULT_PASSWORD_FILE": "Vault password" if wanted.ask_vault else "",
        "ANSIBLE_BECOME_PASSWORD_FILE": "BECOME password" if wanted.ask_become else "",
    }
    before = {name: os.environ.get(name) for name in asked}
    base = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ktcp-passwords-", dir=base) as directory:
        try:
            for name, question in asked.items():
                if question:
                    path = Path(directory) / name
                    path.touch(mode=0o600)
                    path.write_text(console.ask_secret(f"{question}: ") + "\n", encoding="utf-8")
                    os.environ[name] = str(path)
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def refuse_for_workers(wanted: Options) -> None:
    """Refuse options that cannot reach workers.

    Raises:
        UsageError: naming the option and what to do instead.
    """
    if wanted.ask_become:
        raise UsageError(
            "-K: does not reach workers; set ansible_become_password in a vaulted file"
        )
    if any(text.startswith("@") for text in wanted.variables):
        raise UsageError("-e @FILE: does not reach workers; write the variables themselves")
