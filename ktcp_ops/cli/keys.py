# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh keys rotate``: from one pre-shared key to the next without a gap."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli import mesh as commands
from ktcp_ops.cli import waves as rollouts
from ktcp_ops.cli.ansible import load, with_options
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.cli.mesh import Inventories
from ktcp_ops.cli.waves import STEPS, Canary, Deadline, Pause, Request, Undo, Waves
from ktcp_ops.errors import ExitCode, KtcpError, UsageError
from ktcp_ops.mesh import history, key_files, rotation, waves
from ktcp_ops.mesh.campaign import Rules
from ktcp_ops.mesh.journal import Journal, Outcome, Run
from ktcp_ops.mesh.model import Mesh
from ktcp_ops.mesh.rotation import ACTION, Phase, Rotation

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Change the key that relays prove to each other.",
)


@dataclass(frozen=True)
class Step:
    """A phase that is to come, and what it does, for people."""

    phase: Phase
    text: str


def rotate(  # noqa: PLR0913 - an option each
    *,
    inventory_names: Inventories,
    until: Annotated[
        Phase, typer.Option("--until", help="Stop after this phase; run it again to go on.")
    ] = Phase.REMOVE,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing and ask no host; say what is to come.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False,
    steps: Waves = STEPS,
    canary: Canary = None,
    pause: Pause = 0,
    undo: Undo = True,
    deadline: Deadline = 60,
    output: OutputOption = Output.TEXT,
) -> None:
    """Go over to a new pre-shared key, in three rollouts that leave no gap.

    add: a fresh key is written into ktcp_keys beside the one in use, and rolled out. use: its
    number becomes ktcp_mesh.key, and that is rolled out. remove: the old key is taken out of
    ktcp_keys, and that is rolled out. A relay accepts every key that it holds, so at each moment
    every two relays share the one that each proves, and live splits go on.

    The files that hold these variables are edited in place: comments stay, and a file that
    ansible-vault has encrypted stays encrypted. Where keys are encrypted one by one, or the
    variables stand elsewhere, it says what to write, and goes on when it is run again.

    Waves and gate are those of `mesh rollout`, with two differences: all relays are meant, and
    none may fail, for one that missed a phase would be cut off by the next. A phase that ends
    otherwise ends the command (exit codes as there). Run it again to go on: the inventory
    and the journal say where it stands, and waves that are done are left alone.

    It asks first, unless --yes or --check is given.
    """
    request = Request(
        action=ACTION,
        inventories=inventory_names,
        output=output,
        rules=Rules(undo=undo, pause=pause),
        steps=steps,
        canary=canary,
        limit=None,
        deadline=deadline,
    )
    wanted = waves.parse_steps(steps)
    mesh, journal = load(inventory_names), Journal.of(inventory_names)
    found = rotation.standing(mesh, journal.runs()[0])
    phases = found.phases[: list(Phase).index(until) - list(Phase).index(found.phases[0]) + 1]
    if not phases:
        raise UsageError(f"--until {until}: this phase is done; {found.phases[0]} is next")
    ahead = foreseen(inventory_names, mesh, Rotation(found.key, phases), wanted)
    if check:
        data = {"command": ACTION, "check": True, "key": found.key, "phases": list(phases)}
        give(output, ExitCode.OK, data, partial(print_steps, ahead))
        return
    if not yes:
        confirm(ahead, mesh)
    runs = []
    for step in ahead:
        mesh = bring(inventory_names, journal, step, mesh, found.key)
        run = carry_out(request, journal, step, mesh, found.key)
        runs.append(run)
        if run.outcome is not Outcome.DONE:
            break
    finish(runs, found.key, output)


def foreseen(
    names: Sequence[str], mesh: Mesh, rotated: Rotation, steps: Sequence[waves.Step]
) -> list[Step]:
    """Compute the phases to come, and see that what the first one writes can be written.

    Raises:
        UsageError: when it cannot.
    """
    number = len(waves.build(mesh, list(mesh.relays), steps))
    places = key_files.places(names)
    now, ahead, secret = mesh, [], secrets.token_hex(32)
    key_files.edit(names, mesh, rotation.after(mesh, rotated.phases[0], rotated.key, secret))
    for phase in rotated.phases:
        then = rotation.after(now, phase, rotated.key, secret)
        written = [places[variable] for variable in key_files.changed(now, then)]
        into = f" ({', '.join(written)})" if written else ""
        text = f"{phase}: {rotation.meaning(phase, rotated.key)}{into}"
        ahead.append(Step(phase, f"{text}; {len(mesh.relays)} relays in {number} waves"))
        now = then
    return ahead


def print_steps(ahead: Sequence[Step]) -> None:
    """Print phases, a line each."""
    for step in ahead:
        console.print_line(step.text)


def confirm(ahead: Sequence[Step], mesh: Mesh) -> None:
    """Say what is to come, and ask whether it is to be.

    Raises:
        UsageError: when the answer is no, or nobody can be asked.
    """
    for step in ahead:
        console.print_note(step.text)
    if not console.confirm(f"Change the key of all {len(mesh.relays)} relays like this?"):
        raise UsageError("nothing was changed; --yes goes on without a question")


def bring(names: Sequence[str], journal: Journal, step: Step, now: Mesh, key: int) -> Mesh:
    """Bring the inventory into a phase, and give its mesh then."""
    then = rotation.after(now, step.phase, key, secrets.token_hex(32))
    with journal.alone():
        edits = key_files.edit(names, now, then)
        mesh = key_files.bring(names, edits, then, lambda: load(names)) if edits else now
    console.print_note(f"{ACTION}: {step.text}")
    return mesh


def carry_out(request: Request, journal: Journal, step: Step, mesh: Mesh, key: int) -> Run:
    """Roll a phase out, or go on with its rollout."""
    run = rotation.begun(journal.runs()[0], step.phase, mesh, key)
    if run is None:
        more: dict[str, str | int] = {"phase": str(step.phase), "key": key}
        run = rollouts.planned(replace(request, more=more), mesh, waves.parse_steps(request.steps))
    if run is None:
        raise KtcpError("the mesh has no relay")
    return rollouts.go_through(request, journal, mesh, run)


def finish(runs: Sequence[Run], key: int, output: Output) -> None:
    """Print what came of the phases, and end with the exit code of the last."""
    last = runs[-1]
    data = {
        "command": ACTION,
        "check": False,
        "key": key,
        "phases": [history.to_data(run) for run in runs],
    }
    remarks = [last.reason] if last.reason else []
    give(output, ExitCode(last.exit_code or 0), data, partial(print_runs, runs), remarks=remarks)


def print_runs(runs: Sequence[Run]) -> None:
    """Print phases, a line each, and the hosts of one that did not end well."""
    rows: list[tuple[Any, ...]] = [
        (str(run.options["phase"]), str(run.options["key"]), str(run.outcome), run.id)
        for run in runs
    ]
    console.print_table(("PHASE", "KEY", "OUTCOME", "RUN"), rows)
    if runs[-1].outcome is not Outcome.DONE:
        commands.print_result(runs[-1].result())


def register(mesh: typer.Typer) -> None:
    """Add the commands to those of ``ktcp-ops mesh``."""
    app.command(name="rotate")(with_options("keys", rotate))
    mesh.add_typer(app, name="keys")
