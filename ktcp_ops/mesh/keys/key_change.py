# SPDX-License-Identifier: GPL-2.0-only
"""Carries out a rotation of keys: in each phase, edits the inventory and rolls it out."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.journal.journal import Journal, Outcome, Run
from ktcp_ops.mesh.keys import key_files, rotation
from ktcp_ops.mesh.keys.rotation import ACTION, Phase
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.rollout import request, waves
from ktcp_ops.mesh.rollout.request import Request
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.reporter import Reporter

Load = Callable[[Sequence[str]], Mesh]
"""Reads the mesh from its inventories."""


@dataclass(frozen=True)
class Step:
    """A phase that is to come, and what it does, for people."""

    phase: Phase
    text: str


@dataclass(frozen=True, kw_only=True)
class KeyChange:
    """What is to come: ``steps`` that make ``key`` the only one of the mesh."""

    asked: Request
    mesh: Mesh
    key: int
    steps: tuple[Step, ...]


def foresee(asked: Request, until: Phase, load: Load) -> KeyChange:
    """Compute the phases to come, and check that the first one can edit the inventory.

    Raises:
        UsageError: when it cannot, or when phase ``until`` is done already.
    """
    sizes = waves.parse_steps(asked.steps)
    mesh = load(asked.inventories)
    found = rotation.standing(mesh, Journal.of(asked.inventories, mesh.name).runs()[0])
    phases = found.phases[: list(Phase).index(until) - list(Phase).index(found.phases[0]) + 1]
    if not phases:
        raise UsageError(f"--until {until}: this phase is done; {found.phases[0]} is next")
    number = len(waves.build(mesh, list(mesh.relays), sizes))
    said = f"{len(mesh.relays)} relays in {number} waves"
    steps = [
        Step(phase, f"{text}; {said}")
        for phase, text in zip(
            phases, meanings(asked.inventories, mesh, found.key, phases), strict=True
        )
    ]
    return KeyChange(asked=asked, mesh=mesh, key=found.key, steps=tuple(steps))


def meanings(names: Sequence[str], mesh: Mesh, key: int, phases: Sequence[Phase]) -> list[str]:
    """Say what phases do to the inventory.

    Raises:
        UsageError: when the first one cannot edit the inventory.
    """
    places = key_files.places(names, mesh)
    now, texts, secret = mesh, [], secrets.token_hex(32)
    key_files.edit(names, mesh, rotation.after(mesh, phases[0], key, secret))
    for phase in phases:
        then = rotation.after(now, phase, key, secret)
        written = [places[variable] for variable in key_files.changed(now, then)]
        into = f" ({', '.join(written)})" if written else ""
        texts.append(f"{phase}: {rotation.meaning(phase, key)}{into}")
        now = then
    return texts


def carry_out(
    change: KeyChange,
    *,
    engine: Engine,
    reporter: Reporter,
    say: Callable[[str], None],
    load: Load,
) -> list[Run]:
    """Go through the phases until one fails; give the run of each.

    Raises:
        UsageError: when the inventory cannot be edited.
        KtcpError: when the edited inventory is not the mesh that was meant, or has no relay.
    """
    asked, mesh, runs = change.asked, change.mesh, list[Run]()
    journal = Journal.of(asked.inventories, mesh.name)
    for step in change.steps:
        mesh = edit(asked.inventories, journal, step, mesh, change.key, load)
        say(f"{ACTION}: {step.text}")
        run = request.go_through(
            asked,
            begun(asked, journal, step.phase, mesh, change.key),
            engine=engine,
            reporter=reporter,
            say=say,
            mesh=mesh,
            journal=journal,
        )
        runs.append(run)
        if run.outcome is not Outcome.DONE:
            break
    return runs


def edit(
    names: Sequence[str],
    journal: Journal,
    step: Step,
    now: Mesh,
    key: int,
    load: Load,
) -> Mesh:
    """Edit the inventory for a phase, and give its mesh after that."""
    then = rotation.after(now, step.phase, key, secrets.token_hex(32))
    with journal.alone():
        edits = key_files.edit(names, now, then)
        return key_files.bring(names, edits, then, lambda: load(names)) if edits else now


def begun(asked: Request, journal: Journal, phase: Phase, mesh: Mesh, key: int) -> Run:
    """Give the run of a phase: the one to resume, else a new one."""
    more: dict[str, str | int] = {"phase": str(phase), "key": key}
    run = rotation.begun(journal.runs()[0], phase, mesh, key)
    return run or request.planned(replace(asked, more=more), mesh)
