# SPDX-License-Identifier: GPL-2.0-only
"""What the guest is to measure: the host writes it as JSON, the guest reads it.

Times are milliseconds here, the unit that netem gets; sizes are bytes.
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
    """The bandwidth of every leg; 0 means without a limit."""
    family: Family
    sizes: dict[str, int]
    """The files: name and bytes."""
    runs: int
    ways: tuple[str, ...]
    costs: tuple[str, ...]
    """The ways whose cost is measured."""
    settings: dict[str, str]
    """More settings of the module, in all rows that use it."""
    bulk_bytes: int
    """Bytes whose CPU time is measured."""
    idle_connections: int
    """Connections whose memory is measured."""
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
