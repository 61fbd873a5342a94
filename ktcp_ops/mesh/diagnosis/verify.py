# SPDX-License-Identifier: GPL-2.0-only
"""Whether each path works, and if not, which hop is to blame.

The relays are looked at, the probes are downloaded, and the relays are looked at again.
``judge`` walks a path in the order of its bytes and stops at the first thing that explains
the outcome: first what is not set up, then what the counters say happened meanwhile.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ktcp_ops.errors import ExitCode, worst
from ktcp_ops.mesh.model.mesh import Mesh, Path
from ktcp_ops.mesh.observation.status import READ_TASK, RelayStatus, statuses, variables
from ktcp_ops.mesh.relay.plan import assign_marks, endpoint, exit_lines, leg, route
from ktcp_ops.mesh.relay.procfs import State
from ktcp_ops.mesh.relay.tunnel import over
from ktcp_ops.mesh.rollout import actions
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult

FETCH_TASK = "Fetch the probes"
PROBE_TIMEOUT_S = 20


@dataclass(frozen=True, kw_only=True)
class Download:
    """How the download of a probe went; times in seconds."""

    url: str
    status: int | None
    error: str | None
    bytes: int
    first_byte_s: float | None
    total_s: float


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A path's outcome: fine, or the hop that fails and why."""

    path: str
    ok: bool
    hop: str = ""
    reason: str = ""
    download: Download | None = None


@dataclass(frozen=True)
class Fault:
    """The first hop that explains why a path does not work."""

    hop: str
    reason: str


@dataclass(frozen=True)
class Evidence:
    """The relays before and after the downloads, by name."""

    before: Mapping[str, RelayStatus]
    after: Mapping[str, RelayStatus]

    def state(self, relay: str) -> State | None:
        """Give a relay's state after the downloads."""
        return self.after[relay].state if relay in self.after else None

    def grown(self, relay: str, counter: str) -> int:
        """Give by how much a counter grew during the downloads."""
        now, then = self.state(relay), self.before.get(relay)
        old = then.state.stats.get(counter, 0) if then and then.state else 0
        return now.stats.get(counter, 0) - old if now else 0


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The outcome of checking every host, and of downloading through every path.

    Attributes:
        downloads: None if the checks were interrupted.
    """

    checks: RunResult
    downloads: RunResult | None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def runs(self) -> tuple[RunResult, ...]:
        """The runs that took place."""
        return (self.checks, *([self.downloads] if self.downloads else []))

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of all runs and verdicts."""
        failed = any(not verdict.ok for verdict in self.verdicts)
        codes = (run.exit_code for run in self.runs)
        return worst(*codes, ExitCode.FAILED if failed else ExitCode.OK)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Messages about the runs themselves, not about a host or a path."""
        return tuple(dict.fromkeys(remark for run in self.runs for remark in run.remarks))

    def to_data(self) -> dict[str, Any]:
        """Give it as JSON data."""
        return {
            "checks": self.checks.to_data(),
            "downloads": self.downloads.to_data() if self.downloads else None,
            "paths": {verdict.path: to_data(verdict) for verdict in self.verdicts},
        }


def check(
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    limit: str | None = None,
) -> Verification:
    """Check every host, then download through every path.

    With ``limit``, check its relays, and the paths that begin at them over all their relays.

    Raises:
        UsageError: for an inventory that does not exist, or a limit that selects no relay.
    """
    begin = None if limit is None else set(actions.hosts_of("verify", mesh, inventories, limit))
    checked = actions.run(
        "verify", engine=engine, reporter=reporter, mesh=mesh, inventories=inventories, limit=limit
    )
    if checked.canceled:
        return Verification(checks=checked, downloads=None)
    if begin is not None:
        mesh = mesh.model_copy(update={"paths": [p for p in mesh.paths if p.ingress in begin]})
    fetched, verdicts = fetch(engine=engine, reporter=reporter, mesh=mesh, inventories=inventories)
    return Verification(checks=checked, downloads=fetched, verdicts=verdicts)


def fetch(
    *, engine: Engine, reporter: Reporter, mesh: Mesh, inventories: Sequence[str]
) -> tuple[RunResult, tuple[Verdict, ...]]:
    """Download every probe and judge every path."""
    moments = ("before", "after")
    job = Job(
        title="verify: downloads",
        playbook=playbook("fetch.yml"),
        inventories=resolve(inventories),
        hosts=tuple(sorted({*mesh.relays, *probes(mesh)})),
        variables={
            **variables(mesh),
            "ktcp_probes": probes(mesh),
            "ktcp_probe_timeout": PROBE_TIMEOUT_S,
        },
        keep=frozenset({FETCH_TASK, *(f"{READ_TASK} {moment}" for moment in moments)}),
        # The relays are looked at before any download begins and after the last one.
        together=True,
    )
    result = engine.run(job, reporter)
    before, after = ({s.relay: s for s in statuses(mesh, result, moment)} for moment in moments)
    found = downloads(result.outputs.get(FETCH_TASK, {}))
    evidence = Evidence(before, after)
    return result, tuple(judge(over(mesh), path, evidence, found) for path in mesh.paths)


def probes(mesh: Mesh) -> dict[str, list[str]]:
    """Give the URLs that each host is to download, in the order of the paths."""
    wanted: dict[str, list[str]] = {}
    for path in mesh.paths:
        if path.probe:
            wanted.setdefault(path.probe.host, []).append(path.probe.url)
    return wanted


def downloads(outputs: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], Download]:
    """Read what the probes printed, by host and URL."""
    found = {}
    for host, output in outputs.items():
        for item in json.loads(str(output.get("stdout") or "[]")):
            known = {name: item.get(name) for name in Download.__annotations__}
            found[host, str(item["url"])] = Download(**known)
    return found


def judge(
    mesh: Mesh, path: Path, evidence: Evidence, found: Mapping[tuple[str, str], Download]
) -> Verdict:
    """Give the verdict on one path."""
    download = found.get((path.probe.host, path.probe.url)) if path.probe else None
    blame = next(setup_faults(mesh, path, evidence), None)
    if blame is None and path.probe:
        blame = next(traffic_faults(path, path.probe.host, evidence, download), None)
    return Verdict(
        path=path.name,
        ok=blame is None,
        hop=blame.hop if blame else "",
        reason=blame.reason if blame else "" if path.probe else "set up; it has no probe to fetch",
        download=download,
    )


def setup_faults(mesh: Mesh, path: Path, evidence: Evidence) -> Iterator[Fault]:
    """Find what differs from the plan, from the ingress to the exit."""
    for place, name in enumerate(path.relays):
        state = evidence.state(name)
        if state is None:
            reason = evidence.after[name].reason if name in evidence.after else "it was not asked"
            yield Fault(name, reason)
            continue
        kind, port = ("relay", mesh.ports.relay) if place else ("client", mesh.ports.client)
        if state.listeners.get(kind) != port:
            yield Fault(name, f"the {kind} listener on port {port} is not up")
        elif not place and state.interception != mesh.relays[name].ktcp_interception:
            wanted = mesh.relays[name].ktcp_interception
            yield Fault(name, f"its client listener is for {state.interception}, not {wanted}")
        if state.draining:
            yield Fault(name, "it is draining and takes no new split")
        if not place:
            yield from route_faults(mesh, path, state)
        if name != path.exit:
            yield from peer_faults(mesh, name, path.relays[place + 1], state)
        elif not set(exit_lines(mesh, name)) <= {rule.rule for rule in state.exits}:
            yield Fault(name, "its exit list differs from the mesh's")


def route_faults(mesh: Mesh, path: Path, state: State) -> Iterator[Fault]:
    """Find out whether the ingress knows the way of the path."""
    marks = assign_marks([other for other in mesh.paths if other.ingress == path.ingress])
    mark, way = marks[path.way], path.way
    wanted = route(mesh, path.ingress, way, mark)
    known = {each.mark: each for each in state.routes}.get(mark)
    if known is None:
        yield Fault(path.ingress, f"it has no route for mark {mark:#x}")
    elif known.via != wanted.via:
        yield Fault(path.ingress, f"its route for mark {mark:#x} goes another way")
    elif known.backup != wanted.backup:
        yield Fault(path.ingress, f"its route for mark {mark:#x} has other backups")
    elif known.target != wanted.target:
        yield Fault(path.ingress, f"its route for mark {mark:#x} ends at another target")
    elif (known.proxy, known.transparent) != (way.proxy, way.transparent):
        yield Fault(path.ingress, f"its route for mark {mark:#x} shows the client in another way")


def peer_faults(mesh: Mesh, name: str, following: str, state: State) -> Iterator[Fault]:
    """Find out whether the next relay of the path is a peer of this one, and up."""
    peer = leg_text(mesh, name, following)
    known = next((each for each in state.peers if each.endpoint == peer), None)
    if known is None:
        yield Fault(name, f"{following} ({peer}) is not among its peers")
    elif known.state != "up":
        yield Fault(following, f"{name} sees it as {known.state}; new flows go another way")


def leg_text(mesh: Mesh, one: str, other: str) -> str:
    """Write the endpoint at which a relay reaches another one."""
    return endpoint(leg(mesh.relays[one], mesh.relays[other]), mesh.ports.relay)


def traffic_faults(
    path: Path, host: str, evidence: Evidence, download: Download | None
) -> Iterator[Fault]:
    """Explain a download that failed, or that did not go through the relays."""
    if download is None:
        yield Fault(host, "it could not run the download")
    elif download.error is None:
        for name in path.relays:
            if evidence.grown(name, "splits_opened_total") == 0:
                yield Fault(name, "the download was routed past it and not split; see its steering")
    else:
        yield from leg_faults(path, evidence)
        yield from exit_faults(path, evidence, download.error)


def leg_faults(path: Path, evidence: Evidence) -> Iterator[Fault]:
    """Find what failed between two relays while the download went wrong."""
    for one, other in pairwise(path.relays):
        if any(evidence.grown(name, "handshake_failures_total") for name in (one, other)):
            yield Fault(
                other, f"the handshake between {one} and {other} failed; compare their keys"
            )
        if evidence.grown(one, "connect_failures_total"):
            yield Fault(other, f"{one} could not connect to it; see the firewalls between them")
        if evidence.grown(other, "open_rejected_total"):
            yield Fault(other, "it refused to open the connection; see its peers and keys")


def exit_faults(path: Path, evidence: Evidence, error: str) -> Iterator[Fault]:
    """Find what failed at the exit, or how far the download got."""
    if evidence.grown(path.exit, "exit_denied_total"):
        yield Fault(path.exit, "its exit list denied the target")
    if evidence.grown(path.exit, "connect_failures_total"):
        yield Fault("target", f"{path.exit} could not connect to it: {error}")
    for name in path.relays:
        if not any(evidence.grown(name, f"splits_{word}_total") for word in ("opened", "failed")):
            yield Fault(name, f"the download did not arrive here: {error}")
    yield Fault("target", error)


COLUMNS = ("PATH", "STATE", "FIRST BYTE", "TOTAL", "BYTES", "HOP", "REASON")


def row(verdict: Verdict) -> list[str]:
    """Write a path's line of the table; times are seconds."""
    download = verdict.download
    first = download.first_byte_s if download else None
    return [
        verdict.path,
        "ok" if verdict.ok else "failed",
        "-" if first is None else f"{first:.4f}",
        f"{download.total_s:.4f}" if download else "-",
        str(download.bytes) if download else "-",
        verdict.hop or "-",
        verdict.reason or "-",
    ]


def to_data(verdict: Verdict) -> dict[str, Any]:
    """Give a verdict as JSON data."""
    return {
        "ok": verdict.ok,
        "hop": verdict.hop or None,
        "reason": verdict.reason or None,
        "download": vars(verdict.download) if verdict.download else None,
    }
