# SPDX-License-Identifier: GPL-2.0-only
"""The state of a lab, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ktcp_testbed.lab.state import State


@dataclass(frozen=True, kw_only=True)
class GuestStatus:
    """One guest."""

    name: str
    state: Literal["up", "silent", "dead"]
    """``silent``: its process runs, but its ssh server does not answer."""
    pid: int
    port: int
    addresses: tuple[str, ...]
    console: str


@dataclass(frozen=True, kw_only=True)
class LinkStatus:
    """One link, times in milliseconds."""

    name: str
    wanted_ms: float
    rtt4_ms: float | None
    rtt6_ms: float | None


@dataclass(frozen=True, kw_only=True)
class LabStatus:
    """A whole lab."""

    directory: str
    state: Literal["up", "broken", "down"]
    topology: str | None
    release: str | None
    ssh_config: str | None
    guests: tuple[GuestStatus, ...]
    links: tuple[LinkStatus, ...]


def absent(directory: Path) -> LabStatus:
    """The status where there is no lab."""
    return LabStatus(
        directory=str(directory),
        state="down",
        topology=None,
        release=None,
        ssh_config=None,
        guests=(),
        links=(),
    )


def present(directory: Path, of: State, answers: Mapping[str, bool]) -> LabStatus:
    """The status of the lab ``of``; ``answers`` says which guests answer."""
    guests = tuple(guest_status(directory, of, name, answers[name]) for name in of.guests)
    whole = of.complete and all(guest.state == "up" for guest in guests)
    return LabStatus(
        directory=str(directory),
        state="up" if whole else "broken",
        topology=of.topology.name,
        release=of.release,
        ssh_config=str(directory / "ssh_config"),
        guests=guests,
        links=tuple(
            LinkStatus(
                name=link.name,
                wanted_ms=link.rtt_ms,
                rtt4_ms=of.links[link.name].rtt4_ms,
                rtt6_ms=of.links[link.name].rtt6_ms,
            )
            for link in of.topology.links
        ),
    )


def guest_status(directory: Path, of: State, name: str, answers: bool) -> GuestStatus:
    """The status of one guest."""
    links = of.topology.links_of(name)
    guest = of.guests[name]
    silent: Literal["silent", "dead"] = "silent" if guest.process.alive() else "dead"
    return GuestStatus(
        name=name,
        state="up" if answers else silent,
        pid=guest.pid,
        port=guest.port,
        addresses=tuple(
            str(address.ip)
            for link in links
            for address in (link.address4(name), link.address6(name))
        ),
        console=str(directory / name / "console.log"),
    )
