# SPDX-License-Identifier: GPL-2.0-only
"""A change that is brought to the mesh wave by wave, and stopped before it does harm.

Each wave is one run of the change's playbook. Then the gate asks its relays, and their
partners that were changed before, whether all is well. One budget counts the bad relays of the
whole run: those that failed, were not reached, or that the gate found unhealthy. When more are
bad than it allows, the wave is rolled back and the rest of the mesh stays as it was. Edges are
the last wave of a rollout, which has no gate and is not rolled back.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ktcp_ops.errors import UsageError
from ktcp_ops.mesh.journal.journal import BAD, Journal, Outcome, Run, WaveState, fingerprint
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import status
from ktcp_ops.mesh.rollout import actions, gate
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult

GATE_TIMEOUT_S = 60
"""Time for pools to fill: a peer that was down is tried again every ten seconds."""


@dataclass(frozen=True, kw_only=True)
class Rules:
    """When a change stops, and what happens then.

    Attributes:
        budget: how many relays may be bad.
        gated: whether waves are followed by a gate.
        undo: whether the wave that breaks the budget is rolled back.
        pause: seconds between a wave and its gate.
    """

    budget: int = 0
    gated: bool = True
    undo: bool = True
    pause: float = 0


@dataclass(kw_only=True)
class Campaign:
    """One change on its way through the mesh; ``run`` says how far it is."""

    engine: Engine
    reporter: Reporter
    say: Callable[[str], None]
    mesh: Mesh
    inventories: Sequence[str]
    journal: Journal
    run: Run
    rules: Rules
    variables: Mapping[str, Any] = field(default_factory=dict)

    def carry_out(self) -> Run:
        """Go through the waves that are left; give the run when it has ended.

        Whatever ends it, the journal says how far it got.
        """
        with self.journal.alone():
            self.note(self.run)
            try:
                self.go_through()
            except KeyboardInterrupt:
                self.interrupt()
        return self.run

    def go_through(self) -> None:
        """Change wave after wave until all are done or one breaks the budget."""
        before = self.look() if self.rules.gated else {}
        for number in range(len(self.run.waves)):
            if not self.run.ended and self.run.left(number):
                self.change(number, before)
        if not self.run.ended:
            self.note(self.run.finished(Outcome.FAILED if self.run.bad else Outcome.DONE))

    def look(self) -> gate.Links:
        """Ask all relays before any is changed: too many may be bad already."""
        left = [host for number in range(len(self.run.waves)) for host in self.run.left(number)]
        hosts = self.relays_of(left)
        if not hosts:
            return {}
        result, statuses = status.fetch(
            engine=self.engine,
            reporter=self.reporter,
            mesh=self.mesh,
            inventories=self.inventories,
            limit=",".join(hosts),
            hosts=hosts,
        )
        gone = only_bad(outcomes(result, hosts))
        if result.canceled:
            self.interrupt()
        elif len(gone) > self.rules.budget:
            reason = f"{named(gone)} cannot be asked, and no relay was changed"
            self.say(f"{self.run.action}: stopped: {reason}")
            self.note(self.run.with_hosts(gone).finished(Outcome.STOPPED, reason))
        return gate.links(statuses)

    def change(self, number: int, before: gate.Links) -> None:
        """Change the relays of a wave that are left, ask the gate, and decide how to go on."""
        action, hosts = self.run.action, self.run.left(number)
        title = f"{action}: wave {number + 1} of {len(self.run.waves)}"
        self.say(f"{title}: {', '.join(hosts)}")
        self.note(self.run.with_wave(number, WaveState.RUNNING))
        result = self.play(action, title, hosts)
        self.note(self.run.with_hosts(outcomes(result, hosts)))
        canceled = result.canceled
        if self.rules.gated and self.is_within_budget and not canceled:
            canceled = self.ask(number, before)
        if canceled:
            self.interrupt()
        elif self.is_within_budget:
            self.note(self.run.with_wave(number, WaveState.DONE))
        else:
            self.stop(number)

    def ask(self, number: int, before: gate.Links) -> bool:
        """Let the gate ask the relays of a wave; tell whether the user interrupted it."""
        well = [name for name in self.relays_of(self.run.hosts) if name not in self.run.bad]
        wave = [name for name in self.run.waves[number].hosts if name in well]
        asked = gate.question(self.mesh, wave, well, before)
        if not wave:
            return False
        if self.rules.pause:
            self.say(f"{self.run.action}: {self.rules.pause:g} s until the gate")
            time.sleep(self.rules.pause)
        title = f"{self.run.action}: gate {number + 1} of {len(self.run.waves)}"
        variables = {
            "ktcp_gate_timeout": GATE_TIMEOUT_S,
            "ktcp_gate_absent": list(asked.absent),
            "ktcp_gate_excused": {host: list(lost) for host, lost in asked.excused.items()},
        }
        result = self.play("gate", title, asked.hosts, variables)
        ill = {
            host: replace(
                self.run.hosts[host],
                state=bad.state,
                failed_task=bad.failed_task,
                message=f"the gate: {bad.message}",
            )
            for host, bad in only_bad(outcomes(result, asked.hosts)).items()
        }
        self.note(self.run.with_hosts(ill))
        return result.canceled

    def stop(self, number: int) -> None:
        """End a run that has too many bad relays; roll the wave back if that is wanted."""
        bad = self.run.bad
        reason = f"wave {number + 1}: bad relays: {named(bad)}; allowed: {self.rules.budget}"
        self.say(f"{self.run.action}: stopped: {reason}")
        self.note(self.run.with_wave(number, WaveState.FAILED, reason))
        if self.rules.undo and self.relays_of(self.run.waves[number].hosts):
            self.take_back(number)
        self.note(self.run.finished(Outcome.STOPPED, self.run.waves[number].reason))

    def take_back(self, number: int) -> None:
        """Bring the relays of a wave back to what they were before the run."""
        wave = self.run.waves[number]
        title = f"{self.run.action}: rolling wave {number + 1} back"
        self.say(title)
        result = self.play("undo", title, wave.hosts)
        stuck = {
            host: f"{bad.message}" for host, bad in only_bad(outcomes(result, wave.hosts)).items()
        }
        if result.canceled:
            stuck["the rest"] = "interrupted"
        if stuck:
            told = "; ".join(f"{host}: {message}" for host, message in stuck.items())
            reason = f"{wave.reason}; not rolled back: {told}"
            self.note(self.run.with_wave(number, WaveState.FAILED, reason))
            return
        changed = {host: self.run.hosts[host] for host in wave.hosts if host in self.run.hosts}
        taken = {
            host: replace(found, message="rolled back with its wave")
            for host, found in changed.items()
            if found.state not in BAD
        }
        run = self.run.with_hosts(taken)
        self.note(run.with_wave(number, WaveState.UNDONE, f"{wave.reason}; rolled back"))

    def play(
        self, action: str, title: str, hosts: Sequence[str], more: Mapping[str, Any] | None = None
    ) -> RunResult:
        """Run the playbook of an action over some relays."""
        options = {**self.variables, "ktcp_undo_run": self.run.id, **(more or {})}
        job = actions.job(
            action,
            self.mesh,
            self.inventories,
            limit=",".join(hosts),
            hosts=hosts,
            options=options,
            title=title,
        )
        return self.engine.run(job, self.reporter)

    def relays_of(self, hosts: Iterable[str]) -> list[str]:
        """Leave out the edges, which have no module: no gate asks them and no undo knows them."""
        return [name for name in hosts if name not in self.mesh.edges]

    @property
    def is_within_budget(self) -> bool:
        """Whether no more relays are bad than the budget allows."""
        return len(self.run.bad) <= self.rules.budget

    def interrupt(self) -> None:
        """End a run that the user has interrupted."""
        self.note(self.run.finished(Outcome.INTERRUPTED, "interrupted; --resume goes on with it"))

    def note(self, run: Run) -> None:
        """Write to the journal how far the run is."""
        self.run = run
        self.journal.write(run)


def outcomes(result: RunResult, hosts: Sequence[str]) -> dict[str, HostResult]:
    """Give each relay's outcome; a relay without a good one counts as failed.

    If Ansible ended early, no outcome counts as good. If the user ended it, only relays with an
    outcome are given.
    """
    told = {host.host: host for host in result.hosts if host.host in hosts}
    if result.canceled:
        return told
    known = told if result.complete else only_bad(told)
    message = result.complaint or "Ansible said nothing about it"
    return {
        host: known.get(host, HostResult(host=host, state=HostState.FAILED, message=message))
        for host in hosts
    }


def only_bad(hosts: Mapping[str, HostResult]) -> dict[str, HostResult]:
    """Keep only the bad relays."""
    return {name: host for name, host in hosts.items() if host.state in BAD}


def named(hosts: Mapping[str, object] | Sequence[str]) -> str:
    """Name relays; of many only the first, and how many more there are."""
    names = sorted(hosts)
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def resumable(journal: Journal, action: str, mesh: Mesh) -> Run:
    """Find the run to resume: the latest of the mesh, if it is not done.

    Raises:
        UsageError: when there is none, or the mesh has changed since.
    """
    runs, problems = journal.runs()
    if problems:
        raise UsageError("\n".join(problems))
    if not runs or runs[0].outcome is Outcome.DONE or runs[0].action != action:
        last = f"the last run is {runs[0].action} {runs[0].id}, {runs[0].outcome}" if runs else ""
        raise UsageError(f"--resume: no {action} to go on with; {last or 'the journal is empty'}")
    if runs[0].fingerprint != fingerprint(mesh):
        raise UsageError(
            f"--resume: the mesh has changed since {runs[0].id} began; run without --resume"
        )
    return runs[0].again()
