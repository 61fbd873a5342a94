# SPDX-License-Identifier: GPL-2.0-only
"""What ``playbooks/files/doctor.py`` says about a host, typed, and checked when it is read."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Part(BaseModel):
    """A part of the facts; what only a newer program says is ignored."""

    model_config = ConfigDict(frozen=True)


class Kernel(Part):
    """An installed kernel; ``srcversion`` and ``signer`` are those of its module ktcp."""

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
    """How another relay is reached.

    Attributes:
        mtu: of the interface; ``arrives`` is the largest packet that came back.
        learned: the path's MTU as the kernel knows it after that.
        refusal: why the relay port accepted no connection; empty if it did.
    """

    route: Way | None
    mtu: int | None
    arrives: int | None
    learned: int | None
    refusal: str


class Drift(Part):
    """What one of KTCP's commands found to differ; the code is None if it is not installed."""

    code: int | None
    lines: list[str]


class Facts(Part):
    """Everything on a host that KTCP depends on."""

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
        """Give the running kernel; None if its files are gone."""
        return next((kernel for kernel in self.kernels if kernel.release == self.running), None)
