# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh rollout|upgrade|rollback|history``: what goes through a mesh in waves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.actions import run_action
from ktcp_ops.cli.ansible import load_all
from ktcp_ops.cli.answer import Answer, Output, OutputOption, give_each
from ktcp_ops.cli.options import Check, Inventories, Limit, MeshName, from_fields
from ktcp_ops.cli.show import print_result
from ktcp_ops.errors import ExitCode, UsageError
from ktcp_ops.mesh.journal import history
from ktcp_ops.mesh.journal.journal import Journal, Run
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.rollout import request, waves
from ktcp_ops.mesh.rollout.campaign import Rules
from ktcp_ops.mesh.rollout.request import STEPS, Request

Waves = Annotated[
    str,
    typer.Option(
        "--waves",
        metavar="STEPS",
        help="How many relays each wave may have: numbers, or shares of all relays; the last is "
        "repeated. `off`: all at once, without a gate.",
    ),
]
Canary = Annotated[
    str | None, typer.Option("--canary", metavar="NAME", help="The relay of the first wave.")
]
Budget = Annotated[
    int,
    typer.Option(
        "--max-failures",
        min=0,
        metavar="N",
        help="How many relays may fail or be unreachable, in all, before the run stops.",
    ),
]
Pause = Annotated[
    float, typer.Option("--pause", min=0, help="Seconds between a wave and its gate.")
]
Undo = Annotated[
    bool,
    typer.Option("--undo/--no-undo", help="Whether a wave that fails is rolled back."),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the latest run where it stopped.")
]
Deadline = Annotated[
    int,
    typer.Option(
        "--deadline",
        min=0,
        metavar="SECONDS",
        help="How long to wait for live splits to end before a module is reloaded, which resets "
        "those that are left. 0: do not wait.",
    ),
]


ROLLOUT = """Bring the mesh to its hosts in waves: module, configuration, steering.

    Runs playbooks/site.yml, as ansible-playbook would, first on one relay, then on a tenth of
    them, then on the rest, and never on both relays of a pair at once: those that follow each
    other on a path, or are listed in `pairs`. The mesh's edges come last. Running it again
    changes only what differs. Only a new module touches live splits.

    After each wave a gate asks whether its relays, and their partners that were changed
    before, are healthy and connected. When more relays are bad than --max-failures allows, the
    run stops with exit code 5, and its last wave is rolled back.

    --resume goes on after Ctrl-C, a crash or a stop. `mesh history` shows all runs. With --check
    nothing is changed and the report says what would be.

    Several meshes of an inventory are changed one after the other, in the order of their names,
    each in waves of its own; after one that does not end well, none is begun. --canary and
    --resume are about one mesh, which --mesh names.

    The report has a line for each host: ok, changed, failed or unreachable, with the task
    that failed and why. Exit code 1 if a host failed, 4 if one was unreachable, 3 if the mesh
    is invalid (then no host was touched).
    """

UPGRADE = """Bring this version of the module to the relays, and nothing else, in waves.

    Runs playbooks/upgrade.yml. Each relay builds the module first. If another one is loaded,
    it drains, loads the new one, applies its own configuration and takes new flows again. The
    module that ran before is kept for `mesh rollback`.

    Waves, gate, budget, --resume, exit codes and the order of several meshes are those of
    `mesh rollout`.
    """

ROLLBACK = """Return the relays to the module that ran before this one, in waves.

    Runs playbooks/rollback.yml. Each relay has kept that module, and builds it again only for
    kernels that came later. The relay drains, loads it, applies its configuration and takes
    new flows again. It keeps the present module in turn. A relay that has kept none fails, and
    is not changed. The next `mesh rollout` or `mesh upgrade` brings this version again.

    Changes of the inventory are not undone; for that, roll out the former inventory. Waves,
    gate, budget, --resume, exit codes and the order of several meshes are those of `mesh rollout`.
    """


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of a command that goes through the mesh in waves."""

    inventory_names: Inventories
    limit: Limit = None
    check: Check = False
    steps: Waves = STEPS
    canary: Canary = None
    budget: Budget = 0
    pause: Pause = 0
    undo: Undo = True
    resume: Resume = False
    deadline: Deadline = 60
    output: OutputOption = Output.TEXT


def command(action: str, text: str) -> Callable[..., None]:
    """Make the command of an action; ``text`` is its help."""

    def run(asked: Asked) -> None:
        bring(action, asked)

    run.__doc__ = text
    return from_fields(Asked, run)


def bring(action: str, asked: Asked) -> None:
    """Bring a change to the mesh, print its outcome, and end with its exit code."""
    wanted = Request(
        action=action,
        inventories=asked.inventory_names,
        rules=Rules(budget=asked.budget, undo=asked.undo, pause=asked.pause),
        steps=asked.steps,
        canary=asked.canary,
        limit=asked.limit,
        deadline_s=asked.deadline,
    )
    if asked.check:
        run_action(
            action,
            asked.inventory_names,
            limit=asked.limit,
            check=True,
            output=asked.output,
            options=wanted.variables,
        )
        return
    waves.parse_steps(asked.steps)
    meshes = load_all(asked.inventory_names, asked.limit)
    if len(meshes) > 1 and (asked.canary or asked.resume):
        option = "--canary" if asked.canary else "--resume"
        raise UsageError(f"{option}: is about one mesh, and there are several; name it with --mesh")

    def brought(mesh: Mesh) -> Answer:
        run = request.carry_out(
            wanted,
            engine=workers.make_engine(),
            reporter=console.Progress(),
            say=console.print_note,
            mesh=mesh,
            resume=asked.resume,
        )
        return outcome(run)

    give_each(asked.output, {mesh.name: partial(brought, mesh) for mesh in meshes}, careful=True)


CHANGES = {
    action: command(action, text)
    for action, text in (("rollout", ROLLOUT), ("upgrade", UPGRADE), ("rollback", ROLLBACK))
}


def show_history(
    inventory_names: Inventories,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="Show all that is known of one run.")
    ] = None,
    mesh_name: MeshName = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show who changed the mesh from this host, when, and how it ended; the latest first.

    A line for each run: what was done to how many relays, by whom, and how it ended: done,
    failed, stopped by a gate, interrupted, or crashed. With --run, that run's waves and hosts.

    The journal is in KTCP_STATE_DIR, else in ~/.local/state/ktcp, with a file for each run.
    Files that cannot be read are named on stderr, and the exit code is 1 then. Of several meshes
    each has its own journal; runs from before there were several are under `all`.
    """
    journals = {
        name: journal
        for name, journal in Journal.of(inventory_names).with_meshes().items()
        if mesh_name in (None, name) and (run_id is None or journal.has(run_id))
    }
    if not journals and run_id is not None:
        raise UsageError(f"--run: {run_id}: not in the journal; `mesh history` lists its runs")
    if not journals:
        raise UsageError(f"--mesh {mesh_name}: has no run in the journal; `mesh history` shows all")
    give_each(output, {name: partial(told, own, run_id) for name, own in journals.items()})


def told(journal: Journal, run_id: str | None) -> Answer:
    """Tell all runs of a journal, or one."""
    runs, problems = journal.runs()
    runs = [run for run in runs if run_id in (None, run.id)]
    return Answer(
        code=ExitCode.FAILED if problems else ExitCode.OK,
        data={"problems": problems, "runs": [history.to_data(run) for run in runs]},
        show=partial(print_runs, runs) if run_id is None else partial(print_one, runs[0]),
        remarks=problems,
    )


def print_runs(runs: Sequence[Run]) -> None:
    """Print runs of the journal, each on a line."""
    if runs:
        console.print_table(history.COLUMNS, [history.row(run) for run in runs])


def print_one(run: Run) -> None:
    """Print all that is known of a run."""
    for line in history.text(run):
        console.print_line(line)
    print_result(run.result())


def outcome(run: Run) -> Answer:
    """Make the answer about a run that has ended."""
    result = run.result()
    return Answer(
        code=ExitCode(run.exit_code or 0),
        data={"command": run.action, "check": False, **history.to_data(run), **result.to_data()},
        show=partial(print_result, result),
        remarks=[run.reason] if run.reason else [],
    )
