# SPDX-License-Identifier: GPL-2.0-only
"""The latency file: round-trip times and losses of a mesh, and the ways chosen by them.

Each fact has its own line, so that an inventory's history shows what changed:

    ktcp-latency 2
    measured 2026-01-31T12:00:00+00:00
    rtt frankfurt tokyo 215000
    loss frankfurt tokyo 1250
    way web tokyo frankfurt

``mesh probe`` writes it, and reading an inventory reads it too. Names that are not in the mesh
any more are ignored: the file may be older.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from ktcp_ops.errors import InvalidMeshError, KtcpError

FORMAT = "ktcp-latency 2"
READABLE = (FORMAT, "ktcp-latency 1")
"""The first one had no losses."""

RTT_MAX_US = 60_000_000
MILLION = 1_000_000
ADVICE = "correct it, or remove the file and run `ktcp-ops mesh probe`"

Ends = tuple[str, str]
"""Two ends of a leg in the order of their names; hosts by name, targets by address."""


def ends(one: str, other: str) -> Ends:
    """Give the ends of a leg in order: its time is the same in both directions."""
    return (one, other) if one < other else (other, one)


@dataclass(frozen=True)
class Latency:
    """What is known of round-trip times.

    Attributes:
        path: the file, whether or not it exists; empty if there may be none.
        measured: the time of the measurement, as the file has it.
        rtts: first end -> second end -> microseconds, the ends in order.
        losses: in the same way, how many of a million packets are lost; none where unknown.
        ways: path -> the relays of its way now, from its ingress on.
    """

    path: str = ""
    measured: str = ""
    rtts: Mapping[str, Mapping[str, int]] = field(default_factory=dict, repr=False)
    losses: Mapping[str, Mapping[str, int]] = field(default_factory=dict, repr=False)
    ways: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def rtt(self, one: str, other: str) -> int | None:
        """Give the round-trip time between two ends in microseconds, None if unknown."""
        first, second = ends(one, other)
        return self.rtts.get(first, {}).get(second)

    def lines(self) -> Iterator[str]:
        """Write the file's lines."""
        yield FORMAT
        if self.measured:
            yield f"measured {self.measured}"
        for one, others in sorted(self.rtts.items()):
            for other, rtt in sorted(others.items()):
                yield f"rtt {one} {other} {rtt}"
        for one, others in sorted(self.losses.items()):
            for other, loss in sorted(others.items()):
                yield f"loss {one} {other} {loss}"
        for path, relays in sorted(self.ways.items()):
            yield f"way {path} {' '.join(relays)}"

    def save(self) -> None:
        """Write the file in one step, so that it is never there in part.

        Raises:
            KtcpError: it cannot be written.
        """
        path = Path(self.path)
        draft = path.with_name(f".{path.name}.new")
        try:
            draft.write_text("".join(f"{line}\n" for line in self.lines()))
            draft.replace(path)
        except OSError as error:
            raise KtcpError(f"{path}: cannot be written: {error.strerror}") from None


def load(path: str) -> Latency:
    """Read the file; if there is none, nothing is known.

    Raises:
        InvalidMeshError: with a sentence for each line that is not understood.
    """
    if not path or not Path(path).exists():
        return Latency(path)
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidMeshError([f"{path}: cannot be read: {error}; {ADVICE}."]) from None
    return parse(path, text)


def parse(path: str, text: str) -> Latency:
    """Read the text of the file."""
    head, *rest = text.splitlines() or [""]
    if head not in READABLE:
        raise InvalidMeshError(
            [f"{path}:1: {head!r} is not {FORMAT!r}, which this ktcp-ops reads; {ADVICE}."]
        )
    measured = ""
    rtts: dict[str, dict[str, int]] = {}
    losses: dict[str, dict[str, int]] = {}
    ways: dict[str, tuple[str, ...]] = {}
    wrong = []
    for number, line in enumerate(rest, start=2):
        match line.split():
            case ["rtt", one, other, value] if is_number(value, RTT_MAX_US) and one < other:
                rtts.setdefault(one, {})[other] = int(value)
            case ["loss", one, other, value] if is_number(value, MILLION) and one < other:
                losses.setdefault(one, {})[other] = int(value)
            case ["way", name, *relays] if relays:
                ways[name] = tuple(relays)
            case ["measured", moment] if is_moment(moment):
                measured = moment
            case _:
                wrong.append(f"{path}:{number}: {line!r} is not understood; {ADVICE}.")
    if wrong:
        raise InvalidMeshError(wrong)
    return Latency(path, measured, rtts, losses, ways)


def is_number(text: str, most: int) -> bool:
    """Tell whether a text is a number from 1 to the most that there may be."""
    return text.isascii() and text.isdigit() and 1 <= int(text) <= most


def is_moment(text: str) -> bool:
    """Tell whether a text is a moment."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True
