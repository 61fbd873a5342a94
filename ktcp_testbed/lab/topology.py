# SPDX-License-Identifier: GPL-2.0-only
"""A lab as data: its guests, the links between them, and how long each link is.

Models are frozen and checked when they are read; routes follow from the links
and are computed in ``network``.
"""

import re
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from ktcp_ops.errors import UsageError

# An interface is "to-" or "ifb-" and the neighbour's name, at most 15 characters.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,10}$")]


class Model(BaseModel):
    """Strict and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Guest(Model):
    """One virtual machine."""

    name: Name
    memory_mib: Annotated[int, Field(ge=256, le=65536)] = 768
    cpus: Annotated[int, Field(ge=1, le=64)] = 1
    forwarding: bool = False
    """Whether it routes packets between its links."""
    services: tuple[Literal["nginx"], ...] = ()
    """Units of the image that this guest starts."""


class Link(Model):
    """A cable between two guests: the first end has address .1, the second .2."""

    ends: tuple[Name, Name]
    subnet4: IPv4Network
    subnet6: IPv6Network
    rtt_ms: Annotated[float, Field(ge=0, le=10_000)] = 0
    """Round-trip time over this link alone; 0 leaves the link as fast as it is."""

    @model_validator(mode="after")
    def has_room(self) -> Self:
        """Two different ends, and an address for each."""
        if self.ends[0] == self.ends[1]:
            raise ValueError(f"link {self.name}: both ends are the same guest")
        for subnet in (self.subnet4, self.subnet6):
            if subnet.num_addresses < 4:
                raise ValueError(f"link {self.name}: {subnet} has no room for two addresses")
        return self

    @property
    def name(self) -> str:
        """The names of both ends."""
        return "-".join(self.ends)

    def neighbour(self, guest: str) -> str:
        """The guest at the other end."""
        first, second = self.ends
        return second if guest == first else first

    def address4(self, guest: str) -> IPv4Interface:
        """The IPv4 address of the end at ``guest``."""
        number = self.ends.index(guest) + 1
        return IPv4Interface(f"{self.subnet4[number]}/{self.subnet4.prefixlen}")

    def address6(self, guest: str) -> IPv6Interface:
        """The IPv6 address of the end at ``guest``."""
        number = self.ends.index(guest) + 1
        return IPv6Interface(f"{self.subnet6[number]}/{self.subnet6.prefixlen}")


class Topology(Model):
    """Guests and links. Nothing connects a guest to anything outside of the lab."""

    name: Name
    guests: Annotated[tuple[Guest, ...], Field(min_length=1)]
    links: tuple[Link, ...] = ()

    @model_validator(mode="after")
    def fits_together(self) -> Self:
        """Report every contradiction at once."""
        problems = list(self.contradictions())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def contradictions(self) -> Iterator[str]:
        """Everything that is wrong between the parts; each part by itself is valid."""
        names = [guest.name for guest in self.guests]
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield f"guest {name} is there twice"
        for link in self.links:
            for end in link.ends:
                if end not in names:
                    yield f"link {link.name}: there is no guest {end}"
        pairs = [frozenset(link.ends) for link in self.links]
        for pair in sorted({tuple(sorted(pair)) for pair in pairs if pairs.count(pair) > 1}):
            yield f"{' and '.join(pair)} have more than one link"
        for number, link in enumerate(self.links):
            for other in self.links[number + 1 :]:
                if link.subnet4.overlaps(other.subnet4):
                    yield f"links {link.name} and {other.name} share addresses of {link.subnet4}"
                if link.subnet6.overlaps(other.subnet6):
                    yield f"links {link.name} and {other.name} share addresses of {link.subnet6}"

    def guest(self, name: str) -> Guest:
        """The guest called ``name``.

        Raises:
            UsageError: there is none.
        """
        for guest in self.guests:
            if guest.name == name:
                return guest
        known = ", ".join(guest.name for guest in self.guests)
        raise UsageError(f"the lab has no guest {name!r}; it has {known}")

    def links_of(self, guest: str) -> list[Link]:
        """The links with an end at ``guest``, in the order of the topology."""
        return [link for link in self.links if guest in link.ends]


def paper_link(number: int, ends: tuple[str, str], rtt_ms: float) -> Link:
    """A link of the topology ``paper``."""
    return Link(
        ends=ends,
        subnet4=IPv4Network(f"10.77.{number}.0/24"),
        subnet6=IPv6Network(f"fd77:0:0:{number}::/64"),
        rtt_ms=rtt_ms,
    )


# The round-trip times of the published experiment: the two relays are in different
# clouds, and client and server are each close to their relay.
PAPER = Topology(
    name="paper",
    guests=(
        Guest(name="client"),
        Guest(name="rc", memory_mib=1024, cpus=2, forwarding=True),
        Guest(name="rs", memory_mib=1024, cpus=2, forwarding=True),
        Guest(name="server", services=("nginx",)),
    ),
    links=(
        paper_link(1, ("rc", "client"), 32.7),
        paper_link(2, ("rc", "rs"), 215.0),
        paper_link(3, ("rs", "server"), 26.0),
    ),
)

SINGLE = Topology(
    name="single",
    guests=(Guest(name="relay", memory_mib=1024, cpus=2, forwarding=True),),
)


def cloud_link(number: int, ends: tuple[str, str], rtt_ms: float) -> Link:
    """A link of the topology ``clouds``."""
    return Link(
        ends=ends,
        subnet4=IPv4Network(f"10.79.{number}.0/24"),
        subnet6=IPv6Network(f"fd79:0:0:{number}::/64"),
        rtt_ms=rtt_ms,
    )


# Two relays in each of three clouds, far apart like Frankfurt, Virginia and Tokyo. Going from
# Europe to Asia by way of America is shorter than the direct line, as it often is.
CLOUDS = Topology(
    name="clouds",
    guests=(
        Guest(name="client", memory_mib=384),
        *(
            Guest(name=name, memory_mib=512, forwarding=True)
            for name in ("eu1", "eu2", "us1", "us2", "ap1", "ap2")
        ),
        Guest(name="server", memory_mib=384, services=("nginx",)),
    ),
    links=(
        cloud_link(1, ("eu1", "eu2"), 1),
        cloud_link(2, ("us1", "us2"), 1),
        cloud_link(3, ("ap1", "ap2"), 1),
        cloud_link(11, ("eu1", "us1"), 90),
        cloud_link(12, ("us1", "ap1"), 150),
        cloud_link(13, ("eu1", "ap1"), 280),
        cloud_link(21, ("eu2", "us2"), 90),
        cloud_link(22, ("us2", "ap2"), 150),
        cloud_link(23, ("eu2", "ap2"), 280),
        cloud_link(31, ("eu1", "client"), 20),
        cloud_link(32, ("ap1", "server"), 10),
        cloud_link(33, ("ap2", "server"), 12),
    ),
)

BUILT_IN = {topology.name: topology for topology in (PAPER, SINGLE, CLOUDS)}


def find(name: str) -> Topology:
    """The built-in topology called ``name``, or the one in the YAML file of that name.

    Raises:
        UsageError: there is neither, or the file is wrong; the message has all its errors.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if re.fullmatch(r"[\w-]+", name) and not Path(name).exists():
        raise UsageError(
            f"there is no topology {name!r}: give {', '.join(BUILT_IN)} or a YAML file"
        )
    return read(Path(name))


def read(path: Path) -> Topology:
    """Read a topology from a YAML file."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path}: {error}") from error
    try:
        return Topology.model_validate(data)
    except ValidationError as error:
        problems = [
            f"{path}: {'.'.join(str(part) for part in problem['loc']) or 'topology'}: "
            f"{problem['msg']}"
            for problem in error.errors()
        ]
        raise UsageError("\n".join(problems)) from error
