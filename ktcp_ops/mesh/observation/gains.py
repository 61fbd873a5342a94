# SPDX-License-Identifier: GPL-2.0-only
"""What each path gains, by the model: its way through relays compared with plain routing.

The legs between relays have to be known. If a client's or a target's leg is unknown it counts as
0, which leaves out the same time with and without relays. The routed path is assumed to be as
long as the one through the relays, unless it was measured.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ktcp_ops.mesh.model import distance
from ktcp_ops.mesh.model.mesh import Mesh, Path
from ktcp_ops.mesh.observation.probe import milliseconds, spell
from ktcp_ops.model import Estimate, Improvements, Legs, routed, split

SIZE = 1_000_000
"""Bytes of the download whose throughput is predicted."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A path's legs, in microseconds, and how long a download takes; None is unknown."""

    path: str
    relays: tuple[str, ...]
    auto: bool
    client_us: int | None
    relays_us: int | None
    target_us: int | None
    routed_us: int | None
    routed: Estimate | None = None
    split: Estimate | None = None


def predict(mesh: Mesh) -> Iterator[Gain]:
    """Predict every path of a mesh."""
    improvements = improvements_of(mesh)
    for path in mesh.paths:
        yield gain(mesh, path, improvements)


def improvements_of(mesh: Mesh) -> Improvements:
    """Tell what is switched on; by the module's default, everything is."""
    settings = mesh.settings
    return Improvements(
        early_syn=settings.early_syn is not False,
        conn_pool=settings.conn_pool is not False and mesh.pool.high > 0,
        turbo=settings.turbo is not False,
    )


def gain(mesh: Mesh, path: Path, improvements: Improvements) -> Gain:
    """Predict one path."""
    latency = mesh.latency
    client, between, target, around = (
        distance.to_client(latency, path),
        distance.over(latency, path.relays),
        distance.to_target(latency, path, path.exit),
        distance.routed(latency, path),
    )
    known: dict[str, Any] = {
        "path": path.name,
        "relays": path.relays,
        "auto": bool(path.exits),
        "client_us": client,
        "relays_us": between,
        "target_us": target,
        "routed_us": around,
    }
    if between is None:
        return Gain(**known)
    legs = Legs(client=seconds(client), relays=(seconds(between),), server=seconds(target))
    whole = legs.end_to_end if around is None else seconds(around)
    plain = Legs(client=whole)
    return Gain(**known, routed=routed(plain, SIZE), split=split(legs, SIZE, improvements))


def seconds(rtt_us: int | None) -> float:
    """Convert a round-trip time to seconds, for the model; an unknown one is 0."""
    return (rtt_us or 0) / 1_000_000


COLUMNS = (
    "PATH",
    "WAY",
    "CLIENT_MS",
    "RELAYS_MS",
    "TARGET_MS",
    "ROUTED_MS",
    "TTFB_ROUTED",
    "TTFB",
    "SOONER",
    "MBIT_ROUTED",
    "MBIT",
    "FASTER",
)


def row(found: Gain) -> list[str]:
    """Write a path's line: its legs, then milliseconds to the first byte, then Mbit/s."""
    legs = [found.client_us, found.relays_us, found.target_us, found.routed_us]
    way = spell(found.relays) + " (auto)" * found.auto
    start = [found.path, way, *map(milliseconds, legs)]
    if found.routed is None or found.split is None:
        return [*start, *["-"] * (len(COLUMNS) - len(start))]
    return [
        *start,
        f"{found.routed.first_byte * 1000:.1f}",
        f"{found.split.first_byte * 1000:.1f}",
        ratio(found.routed.first_byte, found.split.first_byte),
        f"{throughput(found.routed):.1f}",
        f"{throughput(found.split):.1f}",
        ratio(throughput(found.split), throughput(found.routed)),
    ]


def throughput(estimate: Estimate) -> float:
    """Give Mbit/s of the download, from its SYN to its last byte; 0 where that takes no time."""
    return SIZE * 8 / estimate.total / 1e6 if estimate.total else 0.0


def ratio(one: float, other: float) -> str:
    """Write how many times one is the other."""
    return f"{one / other:.2f}" if other else "-"


def to_data(gained: Sequence[Gain]) -> dict[str, Any]:
    """Give the predictions as JSON data, by path; times of the model are seconds."""
    return {found.path: asdict(found) for found in gained}
