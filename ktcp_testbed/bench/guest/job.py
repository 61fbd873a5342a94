# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is asked to measure: written by the host as JSON, read in the guest.

Times are milliseconds here, since that is what netem is told; sizes are bytes.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal

Family = Literal["ipv4", "ipv6"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run of the benchmark."""

    legs_ms: tuple[float, ...]
    """Round-trip times of the legs from client to server; one more than there are relays."""
    direct_ms: float
    """Round-trip time of the path that passes by all relays."""
    loss_percent: float
    """Packets lost on the client's leg, each way."""
    bandwidth_mbit: float
    """Of every leg; 0 is without a limit."""
    family: Family
    sizes: dict[str, int]
    """The files: name and bytes."""
    runs: int
    ways: tuple[str, ...]
    costs: tuple[str, ...]
    """Which ways the cost is measured of."""
    settings: dict[str, str]
    """More settings of the module, in all rows that use it."""
    bulk_bytes: int
    """What the CPU time is measured over."""
    idle_connections: int
    """What the memory is measured over."""
    set_ups: int
    """Connections whose set-up is timed."""
    load_s: float
    """How long connections are opened one after the other."""

    def dump(self) -> str:
        """The job as JSON."""
        return json.dumps(asdict(self), indent=1)

    @classmethod
    def load(cls, text: str) -> "Job":
        """The job that ``dump`` wrote."""
        fields = json.loads(text)
        for name in ("legs_ms", "ways", "costs"):
            fields[name] = tuple(fields[name])
        return cls(**fields)
