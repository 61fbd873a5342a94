# SPDX-License-Identifier: GPL-2.0-only
"""Measures round-trip times, between relays and at the ends of paths, and loss between relays.

Relays tell what TCP measured on their connections, else they ping; exits connect to targets.
The hosts where probes start ping ingress and target: no relay splits a ping.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ktcp_ops.errors import ExitCode, worst
from ktcp_ops.mesh.inventory.selection import about
from ktcp_ops.mesh.model.distance import over, target_of
from ktcp_ops.mesh.model.latency import MILLION, RTT_MAX_US, Ends, Latency, ends
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.model.values import Endpoint
from ktcp_ops.mesh.model.ways import choose
from ktcp_ops.mesh.observation.status import variables
from ktcp_ops.mesh.relay import tunnel
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import RunResult

MEASURE_TASK = "Measure round-trip times"


@dataclass(frozen=True)
class RoundTrip:
    """What a host measured: to a relay by its name, to a target by its address.

    Attributes:
        rtt_us: None if there was no answer.
        how: by pool, ping or tcp.
        sent: packets or segments of which we know what became of them; 0 if of too few.
        lost: how many of them were lost.
    """

    source: str
    destination: str
    rtt_us: int | None
    how: str
    sent: int = 0
    lost: int = 0

    @property
    def loss_ppm(self) -> int | None:
        """How many of a million are lost, None if unknown."""
        return round(self.lost * MILLION / self.sent) if self.sent else None


@dataclass(frozen=True)
class Choice:
    """The way of a path with ``via: auto``, now and before; None if there is none."""

    path: str
    relays: tuple[str, ...] | None
    before: tuple[str, ...] | None
    rtt_us: int | None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The outcome of measuring a mesh.

    Attributes:
        result: the run in which hosts measured.
        choices: the ways of the auto paths that follow from it.
        latency: what is known now.
        saved: whether that was written to the latency file.
    """

    result: RunResult
    found: tuple[RoundTrip, ...]
    choices: list[Choice]
    latency: Latency
    saved: bool

    @property
    def exit_code(self) -> ExitCode:
        """The run's exit code; a run that measured nothing is a failure."""
        return worst(self.result.exit_code, ExitCode.OK if self.found else ExitCode.FAILED)


def measure(
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    limit: str | None = None,
    fresh: bool = False,
    check: bool = False,
) -> Measurement:
    """Have the hosts measure, choose ways, and write both down unless ``check`` is set."""
    result, found = fetch(
        engine=engine,
        reporter=reporter,
        mesh=mesh,
        inventories=inventories,
        limit=limit,
        fresh=fresh,
    )
    latency = update(mesh, found)
    saved = bool(found) and not check and not result.canceled
    if saved:
        latency.save()
    return Measurement(
        result=result,
        found=found,
        choices=choices(mesh, latency),
        latency=latency,
        saved=saved,
    )


def fetch(
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    limit: str | None = None,
    fresh: bool = False,
) -> tuple[RunResult, tuple[RoundTrip, ...]]:
    """Have the hosts measure; with ``fresh`` they ping even where a pool knows the time."""
    job = Job(
        title="probe",
        playbook=playbook("probe.yml"),
        inventories=resolve(inventories),
        limit=limit,
        variables={**variables(mesh), "ktcp_round_trips": wanted(mesh), "ktcp_fresh": fresh},
        keep=frozenset({MEASURE_TASK}),
    )
    result = engine.run(about(mesh, job), reporter)
    return result, tuple(round_trips(mesh, result))


def wanted(mesh: Mesh) -> dict[str, list[str]]:
    """Say what hosts measure besides their peers, in the form that ``rtt.py`` reads."""
    found: dict[str, set[str]] = {}
    for path in mesh.paths:
        target = target_of(path)
        if target:
            for name in path.possible_exits:
                found.setdefault(name, set()).add(f"target {target}")
        if path.probe:
            ingress = mesh.relays[path.ingress]
            places = [ingress.ktcp_address or ingress.ktcp_address6]
            places += [target.address] if target else []
            asked = found.setdefault(path.probe.host, set())
            asked |= {f"host {place}" for place in places if place}
    return {host: sorted(lines) for host, lines in sorted(found.items())}


def round_trips(mesh: Mesh, result: RunResult) -> Iterator[RoundTrip]:
    """Read what the hosts measured."""
    names = {}
    for relay in (*mesh.relays.values(), *tunnel.over(mesh).relays.values()):
        for address in (relay.ktcp_address, relay.ktcp_address6):
            if address:
                names[str(address)] = relay.name
                names[str(Endpoint(address, mesh.ports.relay))] = relay.name
    targets = {str(target): str(target.address) for target in map(target_of, mesh.paths) if target}
    for host, output in sorted(result.outputs.get(MEASURE_TASK, {}).items()):
        for where, rtt_us, how, sent, lost in json.loads(str(output.get("stdout") or "[]")):
            known = rtt_us is None or 1 <= rtt_us <= RTT_MAX_US
            counted = (sent, lost) if 0 <= lost <= sent else (0, 0)
            destination = names.get(where) or targets.get(where, where)
            yield RoundTrip(host, destination, rtt_us if known else None, how, *counted)


def update(mesh: Mesh, found: Sequence[RoundTrip]) -> Latency:
    """Update what was known, and choose the ways of auto paths by it.

    Of the two directions the shorter time counts, since a busy host only adds to it, and the
    larger loss, since data flows both ways. Legs that no host could be asked about keep their
    time; legs without an answer lose it. A leg keeps its loss as long as it has a time and no
    other loss is measured.
    """
    rtts: dict[Ends, list[int]] = {}
    losses: dict[Ends, list[int]] = {}
    for trip in found:
        leg = ends(trip.source, trip.destination)
        rtts.setdefault(leg, []).extend([] if trip.rtt_us is None else [trip.rtt_us])
        if trip.loss_ppm is not None:
            losses.setdefault(leg, []).append(trip.loss_ppm)
    times = {leg: min(heard) for leg, heard in rtts.items() if heard}
    times |= {leg: rtt for leg, rtt in mesh_legs(mesh, mesh.latency.rtts) if leg not in rtts}
    shares = {leg: max(heard) for leg, heard in losses.items()}
    shares = dict(mesh_legs(mesh, mesh.latency.losses)) | shares
    latency = replace(
        mesh.latency,
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
        rtts=nested(times),
        losses=nested({leg: loss for leg, loss in shares.items() if loss and leg in times}),
    )
    return replace(latency, ways=choose(mesh, latency))


def mesh_legs(mesh: Mesh, known: Mapping[str, Mapping[str, int]]) -> Iterator[tuple[Ends, int]]:
    """Give what is known of legs, if both ends are still in the mesh."""
    targets = {str(target.address) for target in map(target_of, mesh.paths) if target}
    present = {*mesh.relays, *targets, *(path.probe.host for path in mesh.paths if path.probe)}
    for one, others in known.items():
        for other, value in others.items():
            if one in present and other in present:
                yield (one, other), value


def nested(legs: Mapping[Ends, int]) -> dict[str, dict[str, int]]:
    """Order what is known of legs by their first ends."""
    found: dict[str, dict[str, int]] = {}
    for (one, other), value in legs.items():
        found.setdefault(one, {})[other] = value
    return found


def choices(mesh: Mesh, latency: Latency) -> list[Choice]:
    """Compare the ways of auto paths with those before."""
    return [
        Choice(
            path=path.name,
            relays=latency.ways.get(path.name),
            before=path.relays if path.via is not None else None,
            rtt_us=over(latency, latency.ways.get(path.name, ())),
        )
        for path in mesh.paths
        if path.exits
    ]


COLUMNS = ("FROM", "TO", "RTT_MS", "BY", "LOSS")
CHOICE_COLUMNS = ("PATH", "WAY", "RTT_MS", "BEFORE")


def row(trip: RoundTrip) -> list[str]:
    """Write a line of the table."""
    how, rtt = trip.how or "no answer", milliseconds(trip.rtt_us)
    return [trip.source, trip.destination, rtt, how, percent(trip)]


def choice_row(choice: Choice) -> list[str]:
    """Write an auto path's line of the table."""
    same = choice.relays == choice.before
    before = "the same" if same else spell(choice.before)
    return [choice.path, spell(choice.relays), milliseconds(choice.rtt_us), before]


def spell(relays: Sequence[str] | None) -> str:
    """Write a way; a dash for none."""
    return ",".join(relays or ()) or "-"


def milliseconds(rtt_us: int | None) -> str:
    """Write a round-trip time; a dash if it is unknown."""
    return "-" if rtt_us is None else f"{rtt_us / 1000:.3f}"


def percent(trip: RoundTrip) -> str:
    """Write the loss, and of how many it is a share; a dash if it is unknown."""
    return f"{trip.lost / trip.sent:.2%} of {trip.sent}" if trip.sent else "-"


def to_data(found: Sequence[RoundTrip], chosen: Sequence[Choice]) -> dict[str, Any]:
    """Give it as JSON data."""
    return {
        "round_trips": [{**vars(trip), "loss_ppm": trip.loss_ppm} for trip in found],
        "ways": {choice.path: vars(choice) for choice in chosen},
    }
