# SPDX-License-Identifier: GPL-2.0-only
"""The state of the relays: fetched in one run, and summed up in a line for each relay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from ktcp_ops.errors import ExitCode, worst
from ktcp_ops.mesh.inventory.selection import about
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.relay import procfs
from ktcp_ops.mesh.relay.tunnel import over
from ktcp_ops.run.engine import Engine
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.inventory import resolve
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostState, RunResult

Address = IPv4Address | IPv6Address

READ_TASK = "Read /proc/net/ktcp"
"""The task of ``playbooks/tasks/procfs.yml`` whose output is the state; a moment follows."""

READ_FILES = tuple(name for name in procfs.FILES if name != "splits")
"""Without the splits: a busy relay has ten thousand, and ``stats`` counts them."""


@dataclass(frozen=True, kw_only=True)
class RelayStatus:
    """One relay: its state, or why there is none.

    Attributes:
        taken: when it was read, by the relay's own clock.
        absent: it was asked, and has no module.
        strangers: endpoints of its peers that the inventory does not know.
    """

    relay: str
    state: procfs.State | None
    reason: str = ""
    taken: datetime | None = None
    absent: bool = False
    strangers: tuple[str, ...] = ()

    @property
    def ready(self) -> int:
        """Connections to all peers that wait to be used."""
        return sum(peer.ready for peer in self.state.peers) if self.state else 0

    @property
    def connecting(self) -> int:
        """Connections to all peers that are being made."""
        return sum(peer.connecting for peer in self.state.peers) if self.state else 0


def fetch(
    *,
    engine: Engine,
    reporter: Reporter,
    mesh: Mesh,
    inventories: Sequence[str],
    limit: str | None,
    hosts: Sequence[str] = (),
) -> tuple[RunResult, tuple[RelayStatus, ...]]:
    """Read the state of every relay, or of those within ``limit``, which ``hosts`` may name.

    Raises:
        UsageError: for an inventory that does not exist, or a limit that selects no relay.
    """
    job = Job(
        title="status",
        playbook=playbook("status.yml"),
        inventories=resolve(inventories),
        limit=limit,
        hosts=tuple(hosts),
        variables=variables(mesh),
        keep=frozenset({f"{READ_TASK} now"}),
    )
    result = engine.run(about(mesh, job), reporter)
    return result, statuses(mesh, result, "now")


def exit_code(result: RunResult, relays: Sequence[RelayStatus]) -> ExitCode:
    """Give the exit code of asking relays: one without a state is a failure."""
    unknown = any(relay.state is None for relay in relays)
    return worst(result.exit_code, ExitCode.FAILED if unknown else ExitCode.OK)


def variables(mesh: Mesh) -> dict[str, Any]:
    """Give the extra variables that our playbooks about a mesh take."""
    groups = {"ktcp_relays_group": mesh.relays_group}
    if mesh.name:
        groups = dict(zip(("ktcp_relays_group", "ktcp_edges_group"), mesh.own_groups, strict=True))
    return {**groups, "ktcp_procfs_files": list(READ_FILES)}


def statuses(mesh: Mesh, result: RunResult, moment: str) -> tuple[RelayStatus, ...]:
    """Read the states at a moment from a run; a relay that took no part is left out."""
    outputs = result.outputs.get(f"{READ_TASK} {moment}", {})
    known = addresses(mesh)
    told = (
        relay_status(host.host, host.state, host.message, outputs.get(host.host))
        for host in result.hosts
        if host.host in mesh.relays
    )
    return tuple(replace(status, strangers=strangers(status, known)) for status in told)


def addresses(mesh: Mesh) -> frozenset[Address]:
    """Give the addresses at which relays reach each other, with and without a tunnel."""
    relays = [relay for some in (mesh, over(mesh)) for relay in some.relays.values()]
    own = (address for relay in relays for address in (relay.ktcp_address, relay.ktcp_address6))
    return frozenset(address for address in own if address)


def strangers(status: RelayStatus, known: Collection[Address]) -> tuple[str, ...]:
    """Name a relay's peers that the inventory does not have: removed there, or mistyped."""
    peers = status.state.peers if status.state else ()
    return tuple(
        peer.endpoint
        for peer in peers
        if ip_address(peer.endpoint.rpartition(":")[0].strip("[]")) not in known
    )


def relay_status(
    name: str, state: HostState, message: str | None, output: Mapping[str, Any] | None
) -> RelayStatus:
    """Make the status of a relay from what was read there."""
    if state is HostState.UNREACHABLE or output is None or "stdout" not in output:
        return RelayStatus(relay=name, state=None, reason=message or "it could not be asked")
    texts = procfs.split_files(str(output["stdout"]))
    if not texts:
        reason = "the module is not loaded"
        return RelayStatus(relay=name, state=None, reason=reason, absent=True)
    try:
        taken = datetime.fromisoformat(str(output["end"])) if output.get("end") else None
        return RelayStatus(relay=name, state=procfs.parse(texts), taken=taken)
    except procfs.ProcfsError as error:
        return RelayStatus(relay=name, state=None, reason=error.message)


COLUMNS = (
    "RELAY",
    "VERDICT",
    "MODULE",
    "PEERS",
    "SPLITS",
    "OPENED",
    "FAILED",
    "UP",
    "DOWN",
    "NOTE",
)

UNITS = ("B", "kB", "MB", "GB", "TB", "PB")

THOUSAND = 1000


def verdict(status: RelayStatus) -> str:
    """Give the one word about a relay: what it does for new flows."""
    if status.state is None:
        return "no module" if status.absent else "unknown"
    if status.state.draining:
        return "draining"
    return "ok" if all(peer.state == "up" for peer in status.state.peers) else "degraded"


def human(count: int) -> str:
    """Write a number of bytes for people, to three digits."""
    value = float(count)
    for unit in UNITS:
        if value < THOUSAND or unit == UNITS[-1]:
            break
        value /= THOUSAND
    return f"{value:.0f} {unit}" if unit == "B" or value >= THOUSAND / 10 else f"{value:.1f} {unit}"


def row(status: RelayStatus) -> list[str]:
    """Write a relay's line of the short table; up is towards the target."""
    state = status.state
    if state is None:
        return [status.relay, verdict(status), *["-"] * (len(COLUMNS) - 3), status.reason]
    count = state.stats.get
    up = sum(peer.state == "up" for peer in state.peers)
    return [
        status.relay,
        verdict(status),
        state.version.get("module", "?"),
        f"{up}/{len(state.peers)} up",
        f"{count('splits_active', 0)}",
        f"{count('splits_opened_total', 0)}",
        f"{count('splits_failed_total', 0)}",
        human(count("bytes_up_total", 0)),
        human(count("bytes_down_total", 0)),
        "; ".join(notes(status, state)),
    ]


def notes(status: RelayStatus, state: procfs.State) -> list[str]:
    """Say what is unusual about a relay."""
    found = ["draining"] if state.draining else []
    found += [f"{endpoint} is not in the inventory" for endpoint in status.strangers]
    found += [f"{peer.endpoint} is {peer.state}" for peer in state.peers if peer.state != "up"]
    return found + ([state.last_error] if state.last_error else [])


WIDE_COLUMNS = (
    "RELAY",
    "MODULE",
    "LISTENERS",
    "PEERS",
    "READY",
    "CONNECTING",
    "SPLITS",
    "OPENED",
    "FAILED",
    "HIT%",
    "EARLY%",
    "UP",
    "DOWN",
    "NOTE",
)


def wide_row(status: RelayStatus) -> list[str]:
    """Write a relay's line of the wide table; bytes are exact, up is towards the target."""
    state = status.state
    if state is None:
        return [status.relay, *["-"] * (len(WIDE_COLUMNS) - 2), status.reason]
    listeners = ",".join(f"{kind}:{port}" for kind, port in sorted(state.listeners.items()))
    count = state.stats.get
    opened, hits = count("splits_opened_total", 0), count("pool_hits_total", 0)
    return [
        status.relay,
        state.version.get("module", "?"),
        listeners or "-",
        str(len(state.peers)),
        str(status.ready),
        str(status.connecting),
        str(count("splits_active", 0)),
        str(opened),
        str(count("splits_failed_total", 0)),
        share(hits, hits + count("pool_misses_total", 0)),
        share(count("early_syn_met_total", 0), opened),
        str(count("bytes_up_total", 0)),
        str(count("bytes_down_total", 0)),
        "; ".join(notes(status, state)),
    ]


def share(part: int, whole: int) -> str:
    """Write a share in percent; a dash if the whole is nothing."""
    return f"{100 * part / whole:.1f}" if whole else "-"


PEER_COLUMNS = (
    "RELAY",
    "PEER",
    "STATE",
    "LOW",
    "HIGH",
    "READY",
    "CONNECTING",
    "HIT%",
    "FAILURES",
    "UP",
    "DOWN",
)


def peer_rows(status: RelayStatus) -> list[list[str]]:
    """Write a line for each peer of a relay: its pool, and the bytes over legs to it."""
    return [
        [
            status.relay,
            peer.endpoint,
            peer.state,
            str(peer.low),
            str(peer.high),
            str(peer.ready),
            str(peer.connecting),
            share(peer.hits, peer.hits + peer.misses),
            str(peer.failures),
            str(peer.bytes_up),
            str(peer.bytes_down),
        ]
        for peer in (status.state.peers if status.state else ())
    ]


def to_data(status: RelayStatus) -> dict[str, Any]:
    """Give a relay's status as JSON data."""
    state = status.state
    if state is None:
        return {"state": None, "reason": status.reason}
    return {
        "state": {
            "version": dict(state.version),
            "settings": dict(state.settings),
            "thread_pool": dict(state.thread_pool),
            "listeners": dict(state.listeners),
            "interception": state.interception if "client" in state.listeners else None,
            "peers": [vars(peer) for peer in state.peers],
            "routes": [vars(route) for route in state.routes],
            "exits": [vars(rule) for rule in state.exits],
            "draining": state.draining,
            "stats": dict(state.stats),
            "last_error": state.last_error or None,
        },
        "ready": status.ready,
        "connecting": status.connecting,
        "strangers": list(status.strangers),
        "reason": None,
    }
