# SPDX-License-Identifier: GPL-2.0-only
"""What ``playbooks/files/doctor.py`` tells of a host, typed; checked where it comes in."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the facts; what a newer program says more is passed over."""

    model_config = ConfigDict(frozen=True)


class Kernel(Part):
    """An installed kernel; ``srcversion`` and ``signer`` are of the module for it."""

    release: str
    headers: bool
    srcversion: str | None
    signer: str | None


class Interface(Part):
    """A network interface."""

    mtu: int
    rp_filter: int
    accept_ra: int


class Way(Part):
    """How the kernel reaches an address."""

    dev: str = ""
    src: str = ""
    via: str | None = None


class Peer(Part):
    """The way to another relay.

    Attributes:
        mtu: of the interface; ``arrives`` is the largest packet that came back.
        learned: what the kernel knows of the path's MTU after that.
        refusal: why the relay port took no connection, or nothing.
    """

    route: Way | None
    mtu: int | None
    arrives: int | None
    learned: int | None
    refusal: str


class Drift(Part):
    """What one of KTCP's commands found to differ; no code where it is missing."""

    code: int | None
    lines: list[str]


class Facts(Part):
    """All of a host that KTCP depends on."""

    running: str
    kernels: list[Kernel]
    loaded: str | None
    secure_boot: bool | None
    sysctls: dict[str, int]
    interfaces: dict[str, Interface]
    default6: str
    counters: dict[str, int]
    synchronized: str | None
    time: Annotated[float, Field(allow_inf_nan=False)]
    services: dict[str, str]
    configuration: Drift
    rules: Drift
    cloud: str | None
    metadata_status: int | None
    peers: dict[str, Peer]
    targets: dict[str, Way | None]

    def module(self) -> Kernel | None:
        """Give the running kernel's part; None where its files are gone."""
        return next((kernel for kernel in self.kernels if kernel.release == self.running), None)
