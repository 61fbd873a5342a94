# SPDX-License-Identifier: GPL-2.0-only
"""What a rollout would change on a relay, and what that does to live splits.

The plan is compared with what the relay's module says. Steering and files are not in procfs:
a dry run of the rollout shows what changes there.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ktcp_ops import __version__
from ktcp_ops.errors import ExitCode, worst
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import status
from ktcp_ops.mesh.observation.status import RelayStatus
from ktcp_ops.mesh.relay.plan import Node, plan
from ktcp_ops.mesh.relay.procfs import State, listener_line
from ktcp_ops.mesh.rollout import actions
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult

VALUES = ("settings", "thread_pool")
"""Files whose lines can be changed but not removed: values that the mesh does not set stay."""

RELOADING = {
    "ktcp_module: Install the source",
    "ktcp_module: Build and install the module for every kernel",
    "ktcp_module: Restart the service, which loads the new module",
}
"""Tasks that may install another module than the loaded one; the module is reloaded then."""


@dataclass(frozen=True)
class Change:
    """A line that one file of ``/proc/net/ktcp`` would gain (``+``) or lose (``-``)."""

    file: str
    sign: str
    line: str


@dataclass(frozen=True, kw_only=True)
class RelayChanges:
    """What would change on one relay.

    Attributes:
        lines: the lines of procfs that would change.
        tasks: tasks of the rollout that would change something, by a dry run.
        module: the module's version now and after a rollout, if they differ or none is loaded.
        splits: live splits, None if the relay could not be asked.
        reason: why it could not be asked, or why the dry run did not finish there: then more
            may change than is known.
    """

    relay: str
    lines: tuple[Change, ...] = ()
    tasks: tuple[str, ...] = ()
    module: tuple[str | None, str] | None = None
    splits: int | None = None
    reason: str = ""

    @property
    def drifted(self) -> bool | None:
        """Whether a rollout would change anything; None if that is not known."""
        found = bool(self.lines or self.tasks or self.module)
        return found or (None if self.reason else False)

    @property
    def effect(self) -> str:
        """What a rollout does to live splits."""
        if self.splits is None or (self.reason and self.module is None):
            return f"unknown: {self.reason}"
        if not self.drifted:
            return "nothing would change"
        if self.module is None and not RELOADING & set(self.tasks):
            return f"the {self.splits} live splits go on"
        again = "is" if self.module else "may be"
        if not self.splits:
            return f"the module {again} reloaded; there is no live split"
        return f"the module {again} reloaded, which resets the {self.splits} live splits"


def compare(node: Node, status: RelayStatus, host: HostResult | None) -> RelayChanges:
    """Compute what would change on a relay; ``host`` is its outcome in the dry run."""
    tasks = host.changed_tasks if host else ()
    state = State() if status.absent else status.state
    if state is None:
        why = status.reason.splitlines()[0]
        return RelayChanges(relay=status.relay, reason=f"it was not asked: {why}")
    loaded = state.version.get("module")
    return RelayChanges(
        relay=status.relay,
        lines=tuple(differences(node, state)),
        tasks=tasks,
        module=None if loaded == __version__ else (loaded, __version__),
        splits=state.stats.get("splits_active", 0),
        reason=why_incomplete(host),
    )


def why_incomplete(host: HostResult | None) -> str:
    """Say why a dry run does not tell all that would change; empty if it does."""
    if host is None:
        return "there was no dry run"
    if host.state in (HostState.OK, HostState.CHANGED):
        return ""
    why = (host.message or "no reason given").splitlines()[0]
    return f"the dry run is {host.state}: {why}"


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a rollout would change on all the relays that were to be asked.

    Attributes:
        asked: the run that read their state.
        tried: the dry run, None if the first run was interrupted.
    """

    asked: RunResult
    tried: RunResult | None
    relays: tuple[RelayChanges, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of both runs; a relay that is not known in full is a failure."""
        codes = [run.exit_code for run in (self.asked, self.tried) if run]
        unknown = any(relay.reason for relay in self.relays)
        return worst(*codes, ExitCode.FAILED if unknown else ExitCode.OK)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Messages beside those about what would change: failed tasks, and the runs' own."""
        runs = [run for run in (self.asked, self.tried) if run]
        failed = [host for host in (self.tried.hosts if self.tried else ()) if host.failed_task]
        said = [f"{host.host}: {host.failed_task}: {host.message}" for host in failed]
        return tuple(dict.fromkeys([*said, *(remark for run in runs for remark in run.remarks)]))


def ask(
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    relays: Sequence[str],
) -> Survey:
    """Ask relays for their state, do a dry run of a rollout, and compare with the plan."""
    nodes, limit = plan(mesh), ",".join(relays)
    asked, states = status.fetch(
        engine=engine,
        reporter=reporter,
        mesh=mesh,
        inventories=inventories,
        limit=limit,
        hosts=relays,
    )
    tried = None
    if not asked.canceled:
        job = actions.job("rollout", mesh, inventories, limit=limit, hosts=relays, check=True)
        tried = engine.run(job, reporter)
    known = {state.relay: state for state in states}
    hosts = {host.host: host for host in (tried.hosts if tried else ())}
    unasked = "the run did not come to it"
    return Survey(
        asked=asked,
        tried=tried,
        relays=tuple(
            compare(
                nodes[name],
                known.get(name, RelayStatus(relay=name, state=None, reason=unasked)),
                hosts.get(name),
            )
            for name in relays
        ),
    )


def differences(node: Node, state: State) -> Iterator[Change]:
    """Compare what a relay has to hold with what it holds, file by file."""
    held = lines(state)
    for file, wanted in node["conf"].items():
        now = held[file]
        if file not in VALUES:
            yield from (Change(file, "-", line) for line in now if line not in set(wanted))
        yield from (Change(file, "+", line) for line in wanted if line not in set(now))
        if file == "exits" and now != wanted and sorted(now) == sorted(wanted):
            yield Change(file, "+", "(the same rules in another order)")


def lines(state: State) -> dict[str, list[str]]:
    """Write a relay's state as the plan writes it."""
    return {
        "settings": [f"{name} {value}" for name, value in state.settings.items()],
        "thread_pool": [f"{name} {value}" for name, value in state.thread_pool.items()],
        "listeners": [
            listener_line(kind, port, state.interception) for kind, port in state.listeners.items()
        ],
        "peers": [
            f"add {peer.endpoint} low {peer.low} high {peer.high} key {peer.key}"
            for peer in state.peers
        ],
        "routes": [route.line for route in state.routes],
        "exits": [rule.rule for rule in state.exits],
    }


def text(changes: RelayChanges) -> Iterator[str]:
    """Write what would change on a relay, a line each, the effect first."""
    incomplete = bool(changes.reason) and changes.reason not in changes.effect
    yield f"{changes.relay}: {changes.effect}{f' ({changes.reason})' if incomplete else ''}"
    if changes.module:
        now, then = changes.module
        yield f"  {'module':<12} {now or 'none'} -> {then}"
    for change in changes.lines:
        yield f"  {change.file:<12} {change.sign} {change.line}"
    for task in changes.tasks:
        yield f"  {'task':<12} {task}"


def to_data(changes: RelayChanges) -> dict[str, Any]:
    """Give a relay's changes as JSON data."""
    return {
        "drifted": changes.drifted,
        "effect": changes.effect,
        "module": list(changes.module) if changes.module else None,
        "lines": [vars(change) for change in changes.lines],
        "tasks": list(changes.tasks),
        "splits": changes.splits,
        "reason": changes.reason or None,
    }


def any_drifted(relays: Sequence[RelayChanges]) -> bool:
    """Tell whether a rollout would change anything anywhere, as far as is known."""
    return any(relay.drifted for relay in relays)
