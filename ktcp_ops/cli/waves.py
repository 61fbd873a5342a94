# SPDX-License-Identifier: GPL-2.0-only
"""``ktcp-ops mesh rollout|upgrade|rollback|history``: what goes through a mesh in waves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any

import typer

from ktcp_ops import console
from ktcp_ops.cli import mesh as commands
from ktcp_ops.cli.ansible import load, with_options
from ktcp_ops.cli.answer import Output, OutputOption, give
from ktcp_ops.cli.mesh import Check, Inventories, Limit
from ktcp_ops.cli.workers import make_engine
from ktcp_ops.errors import ExitCode, KtcpError, UsageError
from ktcp_ops.mesh import history, rollout, waves
from ktcp_ops.mesh.campaign import Campaign, Rules, resumable
from ktcp_ops.mesh.journal import Journal, Run
from ktcp_ops.mesh.model import Mesh

STEPS = "1,10%,100%"

Waves = Annotated[
    str,
    typer.Option(
        "--waves",
        metavar="STEPS",
        help="How many relays each wave may have, a number or a share of all; the last one is "
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
    typer.Option(
        "--undo/--no-undo", help="Whether a wave that fails is rolled back to what it was before."
    ),
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
        help="How long live splits may take to end before a module is loaded anew, which resets "
        "those that are left. 0: they are not waited for.",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for; the journal has ``more`` too."""

    action: str
    inventories: list[str]
    output: Output
    rules: Rules
    steps: str
    canary: str | None
    limit: str | None
    deadline: int
    more: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that its playbooks take."""
        return {"ktcp_module_drain_deadline": self.deadline}


ROLLOUT = """Bring the mesh to its hosts in waves: module, configuration, steering.

    Runs playbooks/site.yml, as ansible-playbook would, first on one relay, then on a tenth of
    them, then on the rest, and never on both ends of a pair at once: of relays that follow each
    other on a path, or are listed in `pairs`. Running it again changes only what differs, and
    what needs no new module touches no live split.

    After each wave a gate asks whether its relays, and their partners that were changed
    before, are healthy and connected. When more relays are bad than --max-failures allows, the
    run stops with exit code 5, and its last wave is rolled back.

    --resume goes on after Ctrl-C, a crash or a stop. `mesh history` shows all runs. With --check
    nothing is changed and the report says what would be.

    The report has a line for each host: ok, changed, failed or unreachable, with the task
    that failed and why. Exit code 1 if a host failed, 4 if one was unreachable, 3 if the mesh
    is invalid (then no host was touched).
    """

UPGRADE = """Bring this version of the module to the relays, and nothing else, in waves.

    Runs playbooks/upgrade.yml. Each relay builds the module first, and only if another one
    is loaded does it drain, load the new one, apply its own configuration and take new flows
    again. The module that ran before is kept for `mesh rollback`.

    Waves, gate, budget, --resume and exit codes are those of `mesh rollout`.
    """

ROLLBACK = """Return the relays to the module that ran before this one, in waves.

    Runs playbooks/rollback.yml. Each relay has kept that module: it is not built again, but
    for kernels that came later. The relay drains, loads it, applies its configuration and takes
    new flows again. It keeps the present module in exchange. A relay that has kept none fails,
    unchanged. The next `mesh rollout` or `mesh upgrade` brings this version again.

    What the inventory says is not undone; for that, roll the former inventory out. Waves,
    gate, budget, --resume and exit codes are those of `mesh rollout`.
    """


def command(action: str) -> Callable[..., None]:
    """Make the command of an action."""

    def run(  # noqa: PLR0913 - an option each
        *,
        inventory_names: Inventories,
        limit: Limit = None,
        check: Check = False,
        steps: Waves = STEPS,
        canary: Canary = None,
        budget: Budget = 0,
        pause: Pause = 0,
        undo: Undo = True,
        resume: Resume = False,
        deadline: Deadline = 60,
        output: OutputOption = Output.TEXT,
    ) -> None:
        request = Request(
            action=action,
            inventories=inventory_names,
            output=output,
            rules=Rules(budget=budget, undo=undo, pause=pause),
            steps=steps,
            canary=canary,
            limit=limit,
            deadline=deadline,
        )
        if check:
            options = request.variables
            commands.run_action(
                action, inventory_names, limit=limit, check=True, output=output, options=options
            )
        else:
            carry_out(request, resume=resume)

    return run


def show_history(
    inventory_names: Inventories,
    run_id: Annotated[
        str | None, typer.Option("--run", metavar="ID", help="All that is known of one run.")
    ] = None,
    output: OutputOption = Output.TEXT,
) -> None:
    """Show who changed the mesh from this host, when, and what came of it; the latest first.

    A line a run: what was done to how many relays, by whom, and how it ended: done, failed,
    stopped by a gate, interrupted, or crashed. With --run the waves and hosts of that one.

    The journal is in KTCP_STATE_DIR, else in ~/.local/state/ktcp, a file a run. Files that
    cannot be read are named on stderr, and exit code 1 says that there are some.
    """
    runs, problems = Journal.of(inventory_names).runs()
    if run_id is not None:
        runs = [run for run in runs if run.id == run_id]
        if not runs:
            raise UsageError(f"--run: {run_id}: not in the journal; `mesh history` lists its runs")
    code = ExitCode.FAILED if problems else ExitCode.OK
    data = {"problems": problems, "runs": [history.to_data(run) for run in runs]}
    show = partial(print_runs, runs) if run_id is None else partial(print_one, runs[0])
    give(output, code, data, show, remarks=problems)


def print_runs(runs: Sequence[Run]) -> None:
    """Print runs of the journal, a line each."""
    if runs:
        console.print_table(history.COLUMNS, [history.row(run) for run in runs])


def print_one(run: Run) -> None:
    """Print all that is known of a run."""
    for line in history.text(run):
        console.print_line(line)
    commands.print_result(run.result())


def carry_out(request: Request, *, resume: bool) -> None:
    """Bring a change to the mesh, print what came of it, and end with its exit code."""
    steps = waves.parse_steps(request.steps)
    mesh = load(request.inventories)
    journal = Journal.of(request.inventories)
    run = resumed(request, journal, mesh) if resume else planned(request, mesh, steps)
    if run is None:
        raise KtcpError("no host was selected; see --limit and the inventory")
    finish(go_through(request, journal, mesh, run), request.output)


def go_through(request: Request, journal: Journal, mesh: Mesh, run: Run) -> Run:
    """Bring a run through the waves that it has left."""
    gated = bool(run.options["gated"])
    rules = request.rules if gated else Rules(budget=len(mesh.relays), gated=False, undo=False)
    campaign = Campaign(
        engine=make_engine(),
        reporter=console.Progress(),
        say=console.print_note,
        mesh=mesh,
        inventories=request.inventories,
        journal=journal,
        run=run,
        rules=rules,
        variables=request.variables,
    )
    return campaign.carry_out()


def planned(request: Request, mesh: Mesh, steps: tuple[waves.Step, ...]) -> Run | None:
    """Plan a new run; None when it is about no relay."""
    hosts = list(mesh.relays)
    if request.limit is not None:
        hosts = rollout.hosts_of(request.action, mesh, request.inventories, request.limit)
    found = waves.build(mesh, hosts, steps, request.canary)
    if not found:
        return None
    return Run.begin(
        request.action,
        mesh=mesh,
        inventories=request.inventories,
        limit=request.limit,
        waves=found,
        options={
            "waves": request.steps,
            "gated": bool(steps),
            "deadline": request.deadline,
            **request.more,
        },
    )


def resumed(request: Request, journal: Journal, mesh: Mesh) -> Run:
    """Find the run to go on with.

    Raises:
        UsageError: when there is none, or options would change its waves.
    """
    if request.limit or request.canary or request.steps != STEPS:
        raise UsageError("--resume: the waves are those of the run; leave out options about them")
    return resumable(journal, request.action, mesh)


def finish(run: Run, output: Output) -> None:
    """Print what came of a run, and end with its exit code."""
    result = run.result()
    data = {"command": run.action, "check": False, **history.to_data(run), **result.to_data()}
    show = partial(commands.print_result, result)
    remarks = [run.reason] if run.reason else []
    give(output, ExitCode(run.exit_code or 0), data, show, remarks=remarks)


def register(app: typer.Typer) -> None:
    """Add the commands to those of ``ktcp-ops mesh``."""
    texts = {"rollout": ROLLOUT, "upgrade": UPGRADE, "rollback": ROLLBACK}
    for action, text in texts.items():
        app.command(name=action, help=text)(with_options(action, command(action)))
    app.command(name="history")(show_history)
