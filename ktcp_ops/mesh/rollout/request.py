# SPDX-License-Identifier: GPL-2.0-only
"""A change of the mesh as a user asks for it: planned in waves, or resumed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ktcp_ops.errors import KtcpError, UsageError
from ktcp_ops.mesh.journal.journal import Journal, Run
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.rollout import actions, waves
from ktcp_ops.mesh.rollout.campaign import Campaign, Rules, resumable
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.reporter import Reporter

STEPS = "1,10%,100%"
"""The sizes of waves, unless the user asks for others."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        steps: the sizes of waves, as ``waves.parse_steps`` takes them.
        canary: the relay of the first wave.
        limit: an Ansible pattern of the relays to change.
        deadline_s: how long splits may take to end before a module is reloaded.
        more: options that only the journal needs.
    """

    action: str
    inventories: Sequence[str]
    rules: Rules
    steps: str = STEPS
    canary: str | None = None
    limit: str | None = None
    deadline_s: int = 0
    more: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def variables(self) -> dict[str, Any]:
        """The variables that its playbooks take."""
        return {"ktcp_module_drain_deadline": self.deadline_s}


def carry_out(
    request: Request,
    *,
    engine: Engine,
    reporter: Reporter,
    say: Callable[[str], None],
    mesh: Mesh,
    resume: bool,
) -> Run:
    """Bring a change to the mesh, or resume the latest run.

    Raises:
        UsageError: for options that are not valid, or when there is no run to resume.
        KtcpError: when no relay is selected.
    """
    journal = Journal.of(request.inventories, mesh.name)
    run = resumed(request, journal, mesh) if resume else planned(request, mesh)
    return go_through(
        request, run, engine=engine, reporter=reporter, say=say, mesh=mesh, journal=journal
    )


def planned(request: Request, mesh: Mesh) -> Run:
    """Plan a new run.

    Raises:
        UsageError: for options that are not valid.
        KtcpError: when no relay is selected.
    """
    steps = waves.parse_steps(request.steps)
    hosts = list(mesh.relays)
    if request.limit is not None:
        hosts = actions.hosts_of(request.action, mesh, request.inventories, request.limit)
    found = waves.build(mesh, hosts, steps, request.canary)
    if not found:
        raise KtcpError("no host was selected; see --limit and the inventory")
    if request.action == "rollout":
        found += edge_wave(request, mesh)
    return Run.begin(
        request.action,
        mesh=mesh,
        inventories=request.inventories,
        limit=request.limit,
        waves=found,
        options={
            "waves": request.steps,
            "gated": bool(steps),
            "deadline": request.deadline_s,
            **request.more,
        },
    )


def edge_wave(request: Request, mesh: Mesh) -> tuple[waves.Wave, ...]:
    """Give the last wave of a rollout: edges, whose relays have to be there before.

    Raises:
        KtcpError: with Ansible's words, when it cannot tell what the limit selects.
    """
    edges = tuple(actions.edges_of(mesh, request.inventories, request.limit))
    return (edges,) if edges else ()


def resumed(request: Request, journal: Journal, mesh: Mesh) -> Run:
    """Find the run to resume.

    Raises:
        UsageError: when there is none, or options would change its waves.
    """
    if request.limit or request.canary or request.steps != STEPS:
        raise UsageError("--resume: the run has its waves already; leave out options about waves")
    return resumable(journal, request.action, mesh)


def go_through(
    request: Request,
    run: Run,
    *,
    engine: Engine,
    reporter: Reporter,
    say: Callable[[str], None],
    mesh: Mesh,
    journal: Journal,
) -> Run:
    """Carry out the waves that a run has left."""
    gated = bool(run.options["gated"])
    rules = request.rules if gated else Rules(budget=len(mesh.relays), gated=False, undo=False)
    campaign = Campaign(
        engine=engine,
        reporter=reporter,
        say=say,
        mesh=mesh,
        inventories=request.inventories,
        journal=journal,
        run=run,
        rules=rules,
        variables=request.variables,
    )
    return campaign.carry_out()
