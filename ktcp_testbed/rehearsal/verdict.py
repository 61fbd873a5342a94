# SPDX-License-Identifier: GPL-2.0-only
"""Judges a rehearsal: in which wave the rollout would stop, and why.

A wave fails when a relay refuses its files, when the rollout's own gate would find a relay without
a connection to a peer, when a download breaks, when a new flow is not served, or when it is not
split though all relays of its path have been changed. While a path waits for relays of later waves,
its flows may pass by plain routing; that is only remarked.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ktcp_ops.errors import ExitCode, KtcpError
from ktcp_ops.mesh.observation.status import RelayStatus
from ktcp_ops.mesh.relay import procfs
from ktcp_ops.mesh.relay.tunnel import over
from ktcp_ops.mesh.rollout import gate
from ktcp_ops.mesh.rollout.waves import Wave
from ktcp_testbed.rehearsal.checks import Check
from ktcp_testbed.rehearsal.job import Job
from ktcp_testbed.rehearsal.observed import Applied, Download, Flow, Observed


@dataclass(frozen=True, kw_only=True)
class WaveReport:
    """A wave: what a rollout would stop for, and what else there is to know."""

    number: int
    relays: Wave
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RelayReport:
    """What was changed on a relay, and in which wave; None: it is not changed."""

    relay: str
    wave: int | None
    applied: Applied


@dataclass(frozen=True, kw_only=True)
class PathReport:
    """How a path was before the change and after the last wave, and its download meanwhile."""

    check: Check
    before: Flow
    after: Flow
    download: Download | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """A rehearsal, up to the wave in which the rollout would stop."""

    waves: tuple[WaveReport, ...]
    relays: tuple[RelayReport, ...]
    paths: tuple[PathReport, ...]
    left_out_relays: tuple[str, ...]
    left_out_paths: tuple[str, ...]
    assumed: int
    guest_s: float

    @property
    def stopped(self) -> WaveReport | None:
        """The wave in which the rollout would stop."""
        return next((wave for wave in self.waves if wave.problems), None)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code: that of a rollout that a gate stops."""
        return ExitCode.GATE if self.stopped else ExitCode.OK


def judge(job: Job, seen: Observed) -> Report:
    """Judge what the guest has told.

    Raises:
        KtcpError: The state before the change is refused already.
    """
    refused = [
        f"{relay}: {line}"
        for (stage, relay), applied in seen.applied.items()
        for line in applied.problems
        if stage == 0
    ]
    if refused:
        told = "\n".join(refused)
        raise KtcpError(f"the mesh as it was before the change is refused already\n{told}")
    judged = Judge(job, seen)
    waves = []
    for number in range(1, len(job.selection.waves) + 1):
        waves.append(judged.wave(number))
        if waves[-1].problems:
            break
    return Report(
        waves=tuple(waves),
        relays=tuple(judged.relays(len(waves))),
        paths=tuple(judged.path(check, len(waves)) for check in job.checks),
        left_out_relays=job.selection.relays,
        left_out_paths=job.selection.paths,
        assumed=job.assumed,
        guest_s=seen.guest_s,
    )


class Judge:
    """The rules by which one rehearsal is judged."""

    def __init__(self, job: Job, seen: Observed) -> None:
        self.job = job
        self.seen = seen
        self.mesh = over(job.selection.after)
        states = {relay: peers for (stage, relay), peers in seen.peers.items() if stage == 0}
        self.links = gate.links(
            [
                RelayStatus(relay=name, state=procfs.State(peers=states[name]))
                if name in states
                else RelayStatus(relay=name, state=None)
                for name in self.mesh.relays
            ]
        )

    def wave(self, number: int) -> WaveReport:
        """Judge a wave."""
        relays = self.job.selection.waves[number - 1]
        changed = {name for wave in self.job.selection.waves[:number] for name in wave}
        problems = [*self.refusals(number, relays), *self.gate(number, relays, changed)]
        remarks: list[str] = []
        for check in self.job.checks:
            problems += self.broken(number, check)
            found, is_bad = self.flow(number, check, changed)
            if found:
                (problems if is_bad else remarks).append(found)
        return WaveReport(
            number=number, relays=relays, problems=tuple(problems), remarks=tuple(remarks)
        )

    def refusals(self, number: int, relays: Wave) -> Iterator[str]:
        """What the relays' programs complained about."""
        for name in relays:
            yield from (f"{name}: {line}" for line in self.seen.applied[number, name].problems)

    def gate(self, number: int, relays: Wave, changed: set[str]) -> Iterator[str]:
        """The peers for which the gate would stop the rollout."""
        if not self.mesh.pool.high:
            return
        asked = gate.question(self.mesh, relays, changed, self.links)
        for name in asked.hosts:
            spared = {*asked.absent, *asked.excused.get(name, ())}
            for peer in self.seen.peers.get((number, name), ()):
                if not peer.ready and peer.endpoint not in spared:
                    other = self.job.endpoints.get(peer.endpoint, "nobody")
                    yield f"{name}: no connection to {other}, {peer.endpoint}"

    def broken(self, number: int, check: Check) -> Iterator[str]:
        """The download of a path, if it broke in this wave."""
        now = self.seen.downloads.get((number, check.name))
        former = self.seen.downloads.get((number - 1, check.name))
        if now and now.error and not (former and former.error):
            how = "split" if now.split else "routed"
            yield f"path {check.name}: a {how} download broke: {now.error}"

    def flow(self, number: int, check: Check, changed: set[str]) -> tuple[str, bool]:
        """What is to be said of a new flow of a path, and whether it is a problem."""
        now, start = self.seen.flows[number, check.name], self.seen.flows[0, check.name]
        complete = bool(check.way) and set(check.way) <= changed
        if not now.served:
            # Nobody but the relays can serve a service, so it begins and ends with them.
            awaited = complete or (start.served and not (check.service and not check.way))
            absent = check.service and not awaited
            said = f"path {check.name}: new flows fail: {now.error}"
            return ("" if absent else said), awaited
        if now.split or not check.way:
            return "", False
        if complete:
            return f"path {check.name}: new flows pass by plain routing and are not split", True
        waiting = ", ".join(name for name in check.way if name not in changed)
        said = f"path {check.name}: new flows pass by plain routing until {waiting} is changed"
        return (said if start.split else ""), False

    def relays(self, last: int) -> Iterator[RelayReport]:
        """What was changed on each relay, up to a wave."""
        waves = self.job.selection.waves[:last]
        when = {name: number for number, wave in enumerate(waves, start=1) for name in wave}
        for name in self.job.scene.relays:
            number = when.get(name)
            applied = self.seen.applied[number, name] if number else Applied()
            yield RelayReport(relay=name, wave=number, applied=applied)

    def path(self, check: Check, last: int) -> PathReport:
        """How a path was, and is after a wave."""
        return PathReport(
            check=check,
            before=self.seen.flows[0, check.name],
            after=self.seen.flows[last, check.name],
            download=self.seen.downloads.get((last, check.name)),
        )
