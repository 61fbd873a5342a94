# SPDX-License-Identifier: GPL-2.0-only
"""The checked model of a mesh: frozen, typed, complete.

Here stands what each part may hold by itself. How the parts must fit together is
``check``'s business, and ``reader.read`` is the way in that reports both at once.
"""

from functools import cached_property
from ipaddress import ip_network
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ktcp_ops.mesh.values import (
    Address4,
    Address6,
    Endpoint,
    Interface,
    Key,
    KeyId,
    Mark,
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
    Whole,
)

MAX_HOPS = 8
"""Relays of one path behind its ingress; the limit of the wire format's remaining path."""

FULL_MESH = "full_mesh"

RETURN_MARK = 0x6B74
"""The mark that keeps a target's packets at a transparent path's exit; no path may have it."""


class Frozen(BaseModel):
    """A part of the mesh: immutable, and strict about what it does not know."""

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
        """A pool that must hold more than it may hold never rests."""
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}; lower low or raise high")
        return self


class ThreadPool(Watermarks):
    """Watermarks of a relay's kernel threads."""

    low: Annotated[int, Whole(1, 65536)]
    high: Annotated[int, Whole(1, 65536)]


class ConnectionPool(Watermarks):
    """Watermarks of a relay's connections to one peer."""

    low: Annotated[int, Whole(0, 4096)]
    high: Annotated[int, Whole(0, 4096)]


class Settings(Frozen):
    """The module's settings, by their names in procfs; None leaves the module's default."""

    early_syn: Switch | None = None
    thread_pool: Switch | None = None
    conn_pool: Switch | None = None
    turbo: Switch | None = None
    engine: Literal["threads", "event"] | None = None
    datapath: Literal["copy", "zerocopy"] | None = None
    buffer_bytes: Annotated[int | None, Whole(4096, 1 << 20)] = None
    turbo_cwnd: Annotated[int | None, Whole(10, 65535)] = None
    relay_buffer_bytes: Annotated[int | None, Whole(65536, 256 << 20)] = None
    early_syn_max: Annotated[int | None, Whole(1, 1 << 20)] = None
    handshake_timeout_ms: Annotated[int | None, Whole(100, 60_000)] = None
    connect_timeout_ms: Annotated[int | None, Whole(100, 120_000)] = None
    idle_timeout_s: Annotated[int | None, Whole(1, 30 * 86400)] = None
    max_splits: Annotated[int | None, Whole(1, 1 << 20)] = None


class Probe(Frozen):
    """A download that shows whether a path works."""

    host: Name = Field(alias="from")
    url: ProbeUrl


class Service(Frozen):
    """A port of an ingress that leads to one target."""

    port: Port
    target: Target


class Way(NamedTuple):
    """What a mark stands for at an ingress: the relays, and what becomes of a flow at the last."""

    via: tuple[str, ...] = ()
    target: Endpoint | None = None
    proxy: bool = False
    transparent: bool = False


class Path(Frozen):
    """Which flows of an ingress go through which relays, and how their target sees them."""

    name: Name
    ingress: Name
    via: tuple[Name, ...] = ()
    destinations: tuple[Prefix, ...] = ()
    ports: Ports | None = None
    service: Service | None = None
    proxy: Switch = False
    transparent: Switch = False
    mark: Mark | None = None
    probe: Probe | None = None

    @property
    def relays(self) -> tuple[str, ...]:
        """Every relay on the way, from the ingress to the exit."""
        return (self.ingress, *self.via)

    @property
    def exit(self) -> str:
        """The relay that connects to the destination."""
        return self.relays[-1]

    @property
    def way(self) -> Way:
        """The way of its flows."""
        target = self.service.target if self.service else None
        return Way(self.via, target, self.proxy, self.transparent)

    @property
    def targets(self) -> tuple[Network, ...]:
        """Everything that the exit has to reach for it."""
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
    """One rule of a relay's exit list; the first that matches decides, and nothing else passes."""

    allow: Prefix | None = None
    deny: Prefix | None = None
    ports: Ports | None = None

    @model_validator(mode="after")
    def has_one_action(self) -> Self:
        """A rule both allows and denies, or neither, only by mistake."""
        if (self.allow is None) == (self.deny is None):
            raise ValueError("is not one rule; give it exactly one of allow and deny")
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
        ktcp_memory_mib: its memory; None means that nobody asks whether it is enough.
        ansible_port: where its ssh listens, or a port that leads there; None means 22.
    """

    name: Name
    ktcp_address: Address4 | None = None
    ktcp_address6: Address6 | None = None
    ktcp_inside_interface: Interface | None = None
    ktcp_memory_mib: Annotated[int | None, Whole(1, 1 << 30)] = None
    ansible_port: Port | None = None

    def leg_to(self, other: "Relay") -> Address4 | Address6 | None:
        """Give the address to reach ``other``: IPv4 if both have it, else IPv6, else None."""
        if self.ktcp_address and other.ktcp_address:
            return other.ktcp_address
        if self.ktcp_address6 and other.ktcp_address6:
            return other.ktcp_address6
        return None


def full_mesh_or_list(value: object) -> object:
    """Tell the two ways to write ``pairs`` apart from everything else."""
    if value == FULL_MESH:
        return None
    if not isinstance(value, list | tuple):
        raise ValueError(  # noqa: TRY004 - pydantic collects ValueError only
            f"{value!r} is neither full_mesh nor a list; write full_mesh or pairs like [[a, b]]"
        )
    return value


class Mesh(Frozen):
    """A whole mesh. ``pairs`` None means a full mesh."""

    relays_group: Name = "relays"
    ports: ListeningPorts = ListeningPorts()
    pairs: Annotated[
        tuple[Pair, ...] | None,
        BeforeValidator(
            full_mesh_or_list, json_schema_input_type=Literal["full_mesh"] | list[Pair]
        ),
    ] = None
    thread_pool: ThreadPool | None = None
    pool: ConnectionPool = ConnectionPool(low=16, high=64)
    settings: Settings = Settings()
    key: KeyId = 1
    paths: tuple[Path, ...] = ()
    exits: dict[Name, tuple[ExitRule, ...]] = {}
    relays: dict[Name, Relay] = {}
    keys: dict[KeyId, Key] = Field(default={}, repr=False)

    @cached_property
    def pair_set(self) -> frozenset[frozenset[str]]:
        """The listed pairs, without direction; empty for a full mesh."""
        return frozenset(frozenset(pair) for pair in self.pairs or ())

    def are_paired(self, one: str, other: str) -> bool:
        """Tell whether two different relays keep connections to each other."""
        return self.pairs is None or frozenset((one, other)) in self.pair_set
