# SPDX-License-Identifier: GPL-2.0-only
"""What the doctor finds, and what it knows of a relay when it judges."""

from dataclasses import dataclass
from enum import StrEnum

from ktcp_ops.mesh.diagnosis.facts import Facts
from ktcp_ops.mesh.model.mesh import Mesh, Path
from ktcp_ops.mesh.observation.status import RelayStatus
from ktcp_ops.mesh.relay.plan import Node

ROLLOUT = "ktcp-ops mesh rollout"
"""The command that puts most findings right."""


class Severity(StrEnum):
    """How bad it is.

    ERROR: users notice. DRIFT: the relay differs from the mesh. WARNING: users may notice.
    HINT: good to know.
    """

    ERROR = "error"
    DRIFT = "drift"
    WARNING = "warning"
    HINT = "hint"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong: what was seen, what it means, what to do."""

    check: str
    severity: Severity
    seen: str
    meaning: str
    fix: str


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is known of one relay.

    Attributes:
        asked: when the run began and ended, by the clock of this host.
        forwards: whether the cloud lets it forward, None if that is not known.
    """

    mesh: Mesh
    node: Node
    facts: Facts
    status: RelayStatus
    asked: tuple[float, float]
    forwards: bool | None = None

    @property
    def name(self) -> str:
        """The relay's name."""
        return self.status.relay

    @property
    def begins(self) -> list[Path]:
        """Paths of this relay that take flows by their destination."""
        return [path for path in self.mesh.paths if path.ingress == self.name and path.destinations]

    def forwards_for(self, version: int) -> bool:
        """Tell whether the relay has to route flows of a family that are not split."""
        return any(
            network.version == version for path in self.begins for network in path.destinations
        )
