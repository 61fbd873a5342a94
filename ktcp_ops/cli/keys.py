# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh keys rotate``: from one pre-shared key to the next without a gap."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli import workers
from ktcp_ops.cli.ansible import load, with_options
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.cli.options import Inventories, from_fields
from ktcp_ops.cli.show import print_result
from ktcp_ops.cli.waves import Canary, Deadline, Pause, Undo, Waves
from ktcp_ops.errors import ExitCode, UsageError
from ktcp_ops.mesh.journal import history
from ktcp_ops.mesh.journal.journal import Outcome, Run
from ktcp_ops.mesh.keys import key_change
from ktcp_ops.mesh.keys.key_change import KeyChange, Step
from ktcp_ops.mesh.keys.rotation import ACTION, Phase
from ktcp_ops.mesh.rollout.campaign import Rules
from ktcp_ops.mesh.rollout.request import STEPS, Request

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Change the key that relays prove to each other.",
)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of ``rotate``."""

    inventory_names: Inventories
    until: Annotated[
        Phase, typer.Option("--until", help="Stop after this phase; run it again to go on.")
    ] = Phase.REMOVE
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing and ask no host; show the steps.")
    ] = False
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask first.")] = False
    steps: Waves = STEPS
    canary: Canary = None
    pause: Pause = 0
    undo: Undo = True
    deadline: Deadline = 60
    output: OutputOption = Output.TEXT

    def request(self) -> Request:
        """Make the request, without the phase."""
        return Request(
            action=ACTION,
            inventories=self.inventory_names,
            rules=Rules(undo=self.undo, pause=self.pause),
            steps=self.steps,
            canary=self.canary,
            deadline_s=self.deadline,
        )


def rotate(asked: Asked) -> None:
    """Change to a new pre-shared key, in three rollouts that leave no gap.

    add: a fresh key is written into ktcp_keys beside the one in use, and rolled out. use: its
    number becomes ktcp_mesh.key, and that is rolled out. remove: the old key is taken out of
    ktcp_keys, and that is rolled out. A relay accepts every key that it holds, so at each moment
    any two relays both hold the key that each of them proves, and live splits go on.

    The files that hold these variables are edited in place: comments stay, and a file that
    ansible-vault has encrypted stays encrypted. If keys are encrypted one by one, or the
    variables are set elsewhere, it says what to write, and goes on when it is run again.

    Waves and gate are those of `mesh rollout`, with two differences: it changes all relays, and
    none may fail, because a relay that missed a phase would be cut off by the next. If one
    fails, the command ends with that phase, and with the exit codes of `mesh rollout`. Run it
    again to go on: the inventory and the journal say where it stands, and waves that are done
    are left alone.

    It asks first, unless --yes or --check is given. Of several meshes it is about one, which
    --mesh names: its keys are in the group_vars of its group.
    """
    change = key_change.foresee(asked.request(), asked.until, load)
    if asked.check:
        give_steps(change, asked.output)
        return
    if not asked.yes:
        confirm(change)
    runs = key_change.carry_out(
        change,
        engine=workers.make_engine(),
        reporter=console.Progress(),
        say=console.print_note,
        load=load,
    )
    finish(runs, change.key, asked.output)


def give_steps(change: KeyChange, output: Output) -> None:
    """Print the steps to come."""
    phases = [step.phase for step in change.steps]
    data = {"command": ACTION, "check": True, "key": change.key, "phases": phases}
    give(output, ExitCode.OK, data, partial(print_steps, change.steps))


def print_steps(ahead: Sequence[Step]) -> None:
    """Print phases, a line each."""
    for step in ahead:
        console.print_line(step.text)


def confirm(change: KeyChange) -> None:
    """Print the steps to come, and ask whether to take them.

    Raises:
        UsageError: when the answer is no, or nobody can be asked.
    """
    for step in change.steps:
        console.print_note(step.text)
    if not console.confirm(f"Change the key of all {len(change.mesh.relays)} relays like this?"):
        raise UsageError("nothing was changed; --yes goes on without asking")


def finish(runs: Sequence[Run], key: int, output: Output) -> None:
    """Print the outcome of the phases, and end with the exit code of the last."""
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
        print_result(runs[-1].result())


app.command(name="rotate")(with_options("keys", from_fields(Asked, rotate)))
