# SPDX-License-Identifier: GPL-2.0-only
"""The options of ``ktcp-ops mesh`` that say who runs Ansible: this host, or workers."""

from contextvars import ContextVar
from typing import Annotated

import typer

from ktcp_ops.cli import ansible
from ktcp_ops.errors import UsageError
from ktcp_ops.run.engine import Engine, LocalEngine
from ktcp_ops.run.workers import Worker, WorkersEngine

chosen: ContextVar[tuple[Worker, ...]] = ContextVar("chosen", default=())


def choose(
    workers: Annotated[
        str,
        typer.Option(
            "--workers",
            envvar="KTCP_WORKERS",
            metavar="LOGIN,...",
            help="Hosts that run Ansible in place of this one, named as for ssh: "
            "ops@node1,ops@node2. Each gets a share of the mesh's hosts.",
        ),
    ] = "",
    command: Annotated[
        str,
        typer.Option(
            "--worker-command",
            envvar="KTCP_WORKER_COMMAND",
            metavar="COMMAND",
            help="The shell command that starts a worker on such a host.",
        ),
    ] = "ansible-runner worker",
) -> None:
    """Remember which hosts run Ansible.

    Raises:
        UsageError: for a name that is empty, an option to ssh, or given twice.
    """
    logins = [login.strip() for login in workers.split(",")] if workers.strip() else []
    wrong = [login for login in logins if not login or login.startswith("-")]
    wrong += sorted({login for login in logins if logins.count(login) > 1})
    if wrong:
        raise UsageError(
            "\n".join(f"--workers: {login!r}: write each login once: a@b,c@d" for login in wrong)
        )
    chosen.set(tuple(Worker.by_ssh(login, command) for login in logins))


def make_engine() -> Engine:
    """Choose what runs Ansible.

    Raises:
        UsageError: for options that do not reach workers.
    """
    options, log = ansible.chosen.get(), ansible.log.get()
    if not chosen.get():
        return LocalEngine(options, log)
    ansible.refuse_for_workers(options)
    return WorkersEngine(chosen.get(), options, log)
