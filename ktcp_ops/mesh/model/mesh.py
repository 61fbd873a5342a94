# SPDX-License-Identifier: GPL-2.0-only
"""The checked model of a mesh: frozen, typed, complete.

It says what each part may contain by itself. ``checks`` say how the parts must fit together,
and ``reader.read`` reports errors of both kinds at once.
"""

from collections.abc import Callable
from functools import cached_property
from ipaddress import ip_network
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ktcp_ops.mesh.model.latency import Latency
from ktcp_ops.mesh.model.values import (
    Address,
    Address4,
    Address6,
    Endpoint,
    Integer,
    Interface,
    Key,
    KeyId,
    Mark,
    Milliseconds,
    Name,
    Network,
    Pair,
    Port,
    PortRange,
    Ports,
    Prefix,
    ProbeUrl,
    Switch,
    Target,
    literal_address,
)

MAX_HOPS = 8
"""Relays of one path behind its ingress; the limit of the wire format's remaining path."""

MAX_BACKUPS = 3
"""Backups of one path; the limit of the module."""

FULL_MESH = "full_mesh"
AUTO = "auto"

RETURN_MARK = 0x6B74
"""The mark that keeps a target's packets at a transparent path's exit; no path may have it."""


class Frozen(BaseModel):
    """A part of the mesh: immutable, and without fields that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class ListeningPorts(Frozen):
    """Where a relay listens: for redirected clients, and for other relays."""

    client: Port = 5557
    relay: Port = 5565


class Watermarks(Frozen):
    """How many of something are kept ready: refilled below ``low``, shrunk above ``high``."""

    low: int
    high: int

    @model_validator(mode="after")
    def low_is_not_above_high(self) -> Self:
        """A pool with ``low`` above ``high`` would be refilled and shrunk for ever."""
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; lower low or raise high")
        return self


class ThreadPool(Watermarks):
    """Watermarks of a relay's kernel threads."""

    low: Annotated[int, Integer(1, 65536)]
    high: Annotated[int, Integer(1, 65536)]


class ConnectionPool(Watermarks):
    """Watermarks of a relay's connections to one peer."""

    low: Annotated[int, Integer(0, 4096)]
    high: Annotated[int, Integer(0, 4096)]


class Settings(Frozen):
    """The module's settings, by their names in procfs; None leaves the module's default."""

    early_syn: Switch | None = None
    thread_pool: Switch | None = None
    conn_pool: Switch | None = None
    turbo: Switch | None = None
    engine: Literal["threads", "event"] | None = None
    datapath: Literal["copy", "zerocopy"] | None = None
    reuse: Switch | None = None
    buffer_bytes: Annotated[int | None, Integer(4096, 1 << 20)] = None
    turbo_cwnd: Annotated[int | None, Integer(10, 65535)] = None
    relay_buffer_bytes: Annotated[int | None, Integer(65536, 256 << 20)] = None
    early_syn_max: Annotated[int | None, Integer(1, 1 << 20)] = None
    handshake_timeout_ms: Annotated[int | None, Integer(100, 60_000)] = None
    connect_timeout_ms: Annotated[int | None, Integer(100, 120_000)] = None
    peer_timeout_ms: Annotated[int | None, Integer(1000, 60_000)] = None
    peer_hold_ms: Annotated[int | None, Integer(0, 3_600_000)] = None
    keepalive_s: Annotated[int | None, Integer(0, 32767)] = None
    idle_timeout_s: Annotated[int | None, Integer(0, 30 * 86400)] = None
    max_splits: Annotated[int | None, Integer(1, 1 << 20)] = None
    prefix_percent: Annotated[int | None, Integer(1, 100)] = None
    refused_hold_s: Annotated[int | None, Integer(0, 3600)] = None
    mark_mask: Annotated[int | None, Integer(1, 0x7FFFFFFF)] = None


class Probe(Frozen):
    """A download that shows whether a path works."""

    host: Name = Field(alias="from")
    url: ProbeUrl


class Service(Frozen):
    """A port of an ingress that leads to one target."""

    port: Port
    target: Target


class Auto(Frozen):
    """How paths with ``via: auto`` find their way.

    Attributes:
        max_hops: relays behind the ingress, at most.
        min_gain_percent: by how much a round trip has to be shorter for a path to change.
    """

    max_hops: Annotated[int, Integer(1, MAX_HOPS)] = 2
    min_gain_percent: Annotated[int, Integer(0, 99)] = 10


def none_for(word: str, example: str) -> Callable[[object], object]:
    """Make a parser that takes a list, or one word, which becomes None, and nothing else."""

    def parse(value: object) -> object:
        if value == word:
            return None
        if not isinstance(value, list | tuple):
            raise ValueError(  # noqa: TRY004 - pydantic collects ValueError only
                f"{value!r} is neither {word} nor a list; write {word} or {example}"
            )
        return value

    return parse


class Way(NamedTuple):
    """What a mark stands for at an ingress: the relays, and how the last one reaches the target."""

    via: tuple[str, ...] = ()
    target: Endpoint | None = None
    proxy: bool = False
    transparent: bool = False
    backup: tuple[tuple[str, ...], ...] = ()


class Path(Frozen):
    """Which flows of an ingress go through which relays, and how their target sees them.

    Attributes:
        via: the relays behind the ingress, or auto: those with the shortest round trip.
        backup: ways to use in place of ``via``, the best one first; each is used while the first
            relays of those before it are down.
        exits: the relays where an auto path may end, the preferred one first.
        sources: whose flows it takes; none means everybody's.
        client_rtt_ms: from its clients to the ingress, if no probe measures it.
        target_rtt_ms: from its exits to its targets, by exit, if no probe measures it.
    """

    name: Name
    ingress: Name
    # None is auto until ways.resolve() has put the chosen relays in its place.
    via: Annotated[
        tuple[Name, ...] | None,
        BeforeValidator(
            none_for(AUTO, "[...] or lines that begin with a dash"),
            json_schema_input_type=Literal["auto"] | list[Name],
        ),
    ] = ()
    exits: tuple[Name, ...] = ()
    backup: tuple[tuple[Name, ...], ...] = ()
    destinations: tuple[Prefix, ...] = ()
    ports: Ports | None = None
    sources: tuple[Prefix, ...] = ()
    service: Service | None = None
    proxy: Switch = False
    transparent: Switch = False
    mark: Mark | None = None
    probe: Probe | None = None
    client_rtt_ms: Milliseconds | None = None
    target_rtt_ms: dict[Name, Milliseconds] = {}

    @model_validator(mode="after")
    def auto_has_exits(self) -> Self:
        """A path either lists its relays in ``via``, or it is auto and has ``exits``."""
        if self.via is None and not self.exits:
            raise ValueError("has via: auto but no exits; list the relays where it may end")
        if self.via is not None and self.exits:
            raise ValueError(
                "has exits beside a list of relays, whose last is the exit; "
                "remove exits, or write via: auto"
            )
        if self.via is None and self.mark is not None:
            raise ValueError("has via: auto and a mark, which stands for one way; remove mark")
        if self.backup and self.exits:
            raise ValueError("has via: auto and backups; list the relays of the best way in via")
        return self

    @property
    def hops(self) -> tuple[str, ...]:
        """The relays behind the ingress."""
        return self.via or ()

    @property
    def relays(self) -> tuple[str, ...]:
        """Every relay of its first way, from the ingress to the exit."""
        return (self.ingress, *self.hops)

    @property
    def possible_exits(self) -> tuple[str, ...]:
        """Every relay that may be the exit, each once."""
        return self.exits or tuple(dict.fromkeys(course[-1] for course in self.courses))

    @property
    def exit(self) -> str:
        """The relay that connects to the destination."""
        return self.relays[-1]

    @property
    def courses(self) -> tuple[tuple[str, ...], ...]:
        """The relays of its first way and of each backup, all from the ingress on."""
        return tuple((self.ingress, *via) for via in (self.hops, *self.backup))

    @property
    def way(self) -> Way:
        """What its mark stands for."""
        target = self.service.target if self.service else None
        return Way(self.hops, target, self.proxy, self.transparent, self.backup)

    @property
    def targets(self) -> tuple[Network, ...]:
        """Everything that its exit has to reach."""
        return (
            (ip_network(self.service.target.address),) if self.service else ()
        ) + self.destinations

    @property
    def target_ports(self) -> tuple[PortRange, ...] | None:
        """The ports of ``targets``; None means all."""
        if self.service is None:
            return self.ports
        return (PortRange(self.service.target.port, self.service.target.port),)


class ExitRule(Frozen):
    """One rule of a relay's exit list; the first that matches decides, and without one, deny."""

    allow: Prefix | None = None
    deny: Prefix | None = None
    ports: Ports | None = None

    @model_validator(mode="after")
    def has_one_action(self) -> Self:
        """A rule either allows or denies."""
        if (self.allow is None) == (self.deny is None):
            raise ValueError("is not one rule; give it allow or deny, and not both")
        return self

    @property
    def action(self) -> Literal["allow", "deny"]:
        """What happens to a target that matches."""
        return "deny" if self.allow is None else "allow"

    @property
    def prefix(self) -> Network:
        """The targets that the rule is about."""
        network = self.allow if self.allow is not None else self.deny
        if network is None:  # has_one_action refuses such a rule
            raise AssertionError
        return network


class Relay(Frozen):
    """A host of the relays' group.

    Attributes:
        ktcp_address: where other relays reach it; ``ktcp_address6`` the same over IPv6.
        ktcp_inside_interface: where the targets' packets come in, if it is a transparent exit.
        ktcp_interception: how it takes the flows of its paths: the module takes them ahead of
            conntrack, or the packet filter redirects them to it.
        ktcp_memory_mib: its memory; None means that it is not checked whether it is enough.
        ktcp_tunnel_address: its address in the tunnel; None: it is computed from its name.
        ansible_port: where its ssh listens, or a port that leads there; None means 22.
        ansible_host: where Ansible reaches it, if that is written as an address.
    """

    name: Name
    ktcp_address: Address4 | None = None
    ktcp_address6: Address6 | None = None
    ktcp_inside_interface: Interface | None = None
    ktcp_interception: Literal["untracked", "redirect"] = "untracked"
    ktcp_memory_mib: Annotated[int | None, Integer(1, 1 << 30)] = None
    ktcp_tunnel_address: Address | None = None
    ansible_port: Port | None = None
    ansible_host: Annotated[Address | None, BeforeValidator(literal_address)] = None

    def leg_to(self, other: "Relay") -> Address4 | Address6 | None:
        """Give the address to reach ``other``: IPv4 if both have it, else IPv6, else None."""
        if self.ktcp_address and other.ktcp_address:
            return other.ktcp_address
        if self.ktcp_address6 and other.ktcp_address6:
            return other.ktcp_address6
        return None


class Tunnel(Frozen):
    """WireGuard between relays, and from edges to them; each host has its own address there."""

    network: Prefix = ip_network("fd6b:7463:7000::/64")
    port: Port = 51820
    mtu: Annotated[int, Integer(1280, 9000)] = 1420


class Edge(Frozen):
    """A router that sends what its relay's paths take to that relay.

    Attributes:
        by: a route to the relay, or a tunnel.
        via: the addresses at which it reaches the relay; none: those that other relays use.
        networks: what is behind it: the relay sends packets for them into the tunnel.
        address: its address in the tunnel; None: it is computed from its name.
    """

    relay: Name
    by: Literal["route", "wireguard"] = "route"
    via: tuple[Address, ...] = ()
    networks: tuple[Prefix, ...] = ()
    address: Address | None = None


class Mesh(Frozen):
    """A whole mesh. ``pairs`` None means a full mesh."""

    # Empty for the only mesh of an inventory; of several, each has its group's name.
    name: Annotated[str, Field(repr=False)] = ""
    relays_group: Name = "relays"
    ports: ListeningPorts = ListeningPorts()
    pairs: Annotated[
        tuple[Pair, ...] | None,
        BeforeValidator(
            none_for(FULL_MESH, "pairs like [[a, b]]"),
            json_schema_input_type=Literal["full_mesh"] | list[Pair],
        ),
    ] = None
    thread_pool: ThreadPool | None = None
    pool: ConnectionPool = ConnectionPool(low=16, high=64)
    settings: Settings = Settings()
    key: KeyId = 1
    paths: tuple[Path, ...] = ()
    auto: Auto = Auto()
    exits: dict[Name, tuple[ExitRule, ...]] = {}
    encryption: Literal["none", "wireguard"] = "none"
    tunnel: Tunnel = Tunnel()
    edges: dict[Name, Edge] = {}
    relays: dict[Name, Relay] = {}
    keys: dict[KeyId, Key] = Field(default={}, repr=False)
    latency: Latency = Latency()

    @property
    def own_groups(self) -> dict[str, tuple[str, ...]]:
        """The groups that the inventory plugin makes for one of several meshes, and their hosts."""
        if not self.name:
            return {}
        return {
            f"ktcp_relays_{self.name}": tuple(self.relays),
            f"ktcp_edges_{self.name}": tuple(self.edges),
        }

    @cached_property
    def pair_set(self) -> frozenset[frozenset[str]]:
        """The listed pairs, without direction; empty for a full mesh."""
        return frozenset(frozenset(pair) for pair in self.pairs or ())

    @property
    def pair_count(self) -> int:
        """How many pairs of relays keep connections to each other."""
        relays = len(self.relays)
        return relays * (relays - 1) // 2 if self.pairs is None else len(self.pair_set)

    def are_paired(self, one: str, other: str) -> bool:
        """Tell whether two different relays keep connections to each other."""
        return self.pairs is None or frozenset((one, other)) in self.pair_set
