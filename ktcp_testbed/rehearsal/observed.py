# SPDX-License-Identifier: GPL-2.0-only
"""What the guest has told of a rehearsal, by stage: 0 before the change, N after wave N."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ktcp_ops.mesh.relay import procfs
from ktcp_testbed.lab.virtual import Event, GuestFailedError


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a relay's programs changed, and complained about."""

    lines: tuple[str, ...] = ()
    steering: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Flow:
    """A short download: whether it arrived whole, was split, and after how long it began."""

    served: bool
    split: bool
    first_byte_ms: float | None = None
    error: str = ""

    @property
    def how(self) -> str:
        """How it was served, in a word."""
        if not self.served:
            return "failed"
        return "split" if self.split else "routed"


@dataclass(frozen=True, kw_only=True)
class Download:
    """A download that runs through the change: how far it is, and why it goes no further."""

    bytes: int
    split: bool
    error: str = ""


@dataclass(kw_only=True)
class Observed:
    """Everything that was told."""

    applied: dict[tuple[int, str], Applied] = field(default_factory=dict)
    peers: dict[tuple[int, str], tuple[procfs.Peer, ...]] = field(default_factory=dict)
    flows: dict[tuple[int, str], Flow] = field(default_factory=dict)
    downloads: dict[tuple[int, str], Download] = field(default_factory=dict)
    stages: int = 0
    guest_s: float = 0.0

    def told(self, event: Event) -> None:
        """Take in an event."""
        facts = {name: value for name, value in event.items() if name not in {"event", "stage"}}
        stage = event.get("stage", 0)
        match event["event"]:
            case "applied":
                relay = facts.pop("relay")
                found = {name: tuple(lines) for name, lines in facts.items()}
                self.applied[stage, relay] = Applied(**found)
            case "peers":
                text = {"peers": facts["text"]}
                self.peers[stage, facts["relay"]] = procfs.parse(text).peers
            case "flow":
                check = facts.pop("check")
                self.flows[stage, check] = Flow(**facts)
            case "download":
                check = facts.pop("check")
                self.downloads[stage, check] = Download(**facts)
            case "stage":
                self.stages += 1
            case "done":
                self.guest_s = facts["guest_s"]

    def check(self, waves: Sequence[object]) -> None:
        """Check that the guest came to the end.

        Raises:
            GuestFailedError: It did not.
        """
        if self.stages != len(waves) + 1:
            raise GuestFailedError(f"the guest told of {self.stages} of {len(waves) + 1} stages")
