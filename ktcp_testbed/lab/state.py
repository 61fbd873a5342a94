# SPDX-License-Identifier: GPL-2.0-only
"""What a lab remembers between two commands: ``state.json`` in its directory."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab.process import Process
from ktcp_testbed.lab.recipe import Release
from ktcp_testbed.lab.topology import Topology

NAME = "state.json"


class Model(BaseModel):
    """Strict and immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class GuestState(Model):
    """A guest's process and ssh port."""

    pid: int
    start_time: int
    port: int

    @property
    def process(self) -> Process:
        """The process; it is ours only if it began when ``state.json`` says."""
        return Process(pid=self.pid, start_time=self.start_time)


class LinkState(Model):
    """A link's delay, and the round-trip times that it gave."""

    delay_us: int
    """Of one direction."""
    rtt4_ms: float | None = None
    """Measured by ping over IPv4; None before the first measurement."""
    rtt6_ms: float | None = None


class State(Model):
    """A lab. Written before the first process starts, so that no process is forgotten."""

    version: Literal[1] = 1
    topology: Topology
    release: Release
    sockets: Path
    """Directory of the unix sockets; it is short, since their names must fit in 108 bytes."""
    complete: bool = False
    """Whether ``up`` has finished."""
    guests: dict[str, GuestState] = {}
    links: dict[str, LinkState] = {}

    def with_guest(self, name: str, guest: GuestState) -> "State":
        """The same lab with another state of one guest."""
        return self.model_copy(update={"guests": {**self.guests, name: guest}})

    def with_link(self, name: str, link: LinkState) -> "State":
        """The same lab with another state of one link."""
        return self.model_copy(update={"links": {**self.links, name: link}})

    @property
    def delays_us(self) -> dict[str, int]:
        """The delay of one direction by the link's name."""
        return {name: link.delay_us for name, link in self.links.items()}


def load(directory: Path) -> State | None:
    """The state of the lab in ``directory``, or None if there is no lab.

    Raises:
        KtcpError: there is one, but it cannot be read.
    """
    path = directory / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return State.model_validate_json(text)
    except ValidationError as error:
        raise KtcpError(
            f"{path}: not written by this version of ktcp-ops; end its processes by hand "
            f"and remove {directory}"
        ) from error


def save(directory: Path, state: State) -> None:
    """Write the state in one step."""
    path = directory / NAME
    partial = path.with_suffix(".partial")
    partial.write_text(state.model_dump_json(indent=2) + "\n", encoding="utf-8")
    partial.replace(path)
