# SPDX-License-Identifier: GPL-2.0-only
"""Reads the texts of ``/proc/net/ktcp/`` into typed records.

A newer module may say more; what is not known here is ignored. What is known must have the
right form, else it is an error: a state understood by half is worse than none.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ktcp_ops.errors import KtcpError

DIRECTORY = "/proc/net/ktcp"

FILES = (
    "version",
    "settings",
    "thread_pool",
    "listeners",
    "peers",
    "routes",
    "exits",
    "drain",
    "splits",
    "stats",
    "last_error",
)
"""The files that can be read. ``keys`` can only be written."""


Interception = Literal["redirect", "tproxy", "untracked"]
"""How flows come to a client listener."""


class ProcfsError(KtcpError):
    """A text that this version cannot read."""


@dataclass(frozen=True)
class Peer:
    """A peer, whether flows are sent over it, and the state of its pool of connections."""

    endpoint: str
    low: int
    high: int
    key: int
    ready: int = 0
    connecting: int = 0
    hits: int = 0
    misses: int = 0
    failures: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    rtt_us: int = 0
    state: str = "up"


@dataclass(frozen=True)
class Route:
    """Where the flows of a mark go: through relays, or (no ``via``) straight on.

    ``backup`` are other ways through relays, the best one first.
    """

    mark: int
    via: tuple[str, ...] = ()
    target: str | None = None
    proxy: bool = False
    transparent: bool = False
    backup: tuple[tuple[str, ...], ...] = ()

    @property
    def line(self) -> str:
        """The line of procfs that sets it."""
        words = [
            f"add mark {self.mark:#x}",
            f"via {','.join(self.via)}" if self.via else "direct",
            *(f"backup {','.join(via)}" for via in self.backup),
            f"target {self.target}" if self.target else "",
            "proxy" if self.proxy else "",
            "transparent" if self.transparent else "",
        ]
        return " ".join(filter(None, words))


@dataclass(frozen=True)
class Exit:
    """A rule of the exit list, and how often it has decided."""

    rule: str
    hits: int | None = None


@dataclass(frozen=True)
class Split:
    """One split; its fields include bytes each way, and the age in seconds."""

    client: str
    target: str
    fields: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that a relay's module tells."""

    version: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    thread_pool: Mapping[str, int] = field(default_factory=dict)
    listeners: Mapping[str, int] = field(default_factory=dict)
    interception: Interception = "redirect"
    peers: tuple[Peer, ...] = ()
    routes: tuple[Route, ...] = ()
    exits: tuple[Exit, ...] = ()
    draining: bool = False
    splits: tuple[Split, ...] = ()
    stats: Mapping[str, int] = field(default_factory=dict)
    last_error: str = ""


def parse(texts: Mapping[str, str]) -> State:
    """Read the state from the texts of the files, by file name; files may be missing.

    Raises:
        ProcfsError: naming the file and the line that is not understood.
    """
    return State(
        version=dict(pairs("version", texts)),
        settings=dict(pairs("settings", texts)),
        thread_pool=numbers("thread_pool", texts, comments=True),
        listeners={kind: port for kind, port, _ in parse_listeners(texts)},
        interception=next(
            (way for kind, _, way in parse_listeners(texts) if kind == "client"), "redirect"
        ),
        peers=parse_peers(texts),
        routes=tuple(parse_routes(texts)),
        exits=parse_exits(texts),
        draining=next((line == "on" for line in lines("drain", texts)), False),
        splits=tuple(parse_splits(texts)),
        stats=numbers("stats", texts),
        last_error=texts.get("last_error", "").strip(),
    )


def split_files(output: str) -> dict[str, str]:
    """Split the output of ``grep -H "" /proc/net/ktcp/*`` into the texts of the files."""
    texts: dict[str, str] = {}
    for line in output.splitlines():
        path, _, text = line.partition(":")
        directory, _, name = path.rpartition("/")
        if directory == DIRECTORY:
            texts[name] = texts.get(name, "") + text + "\n"
    return texts


def lines(name: str, texts: Mapping[str, str], *, comments: bool = False) -> Iterator[str]:
    """Give the lines of a file that are not empty: the commands, or the comments without #."""
    for line in texts.get(name, "").splitlines():
        text = line.strip()
        if text.startswith("#") == comments and text:
            yield text.lstrip("# ")


def pairs(name: str, texts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Read a file of ``name value`` lines."""
    for line in lines(name, texts):
        word, _, value = line.partition(" ")
        if not value:
            raise misunderstood(name, line)
        yield word, value.strip()


def numbers(name: str, texts: Mapping[str, str], *, comments: bool = False) -> dict[str, int]:
    """Read a file of ``name number`` lines, and such comments too if asked."""
    found = {}
    for line in [*lines(name, texts), *(lines(name, texts, comments=True) if comments else ())]:
        match = re.fullmatch(r"(\w+) (\d+)", line)
        if not match:
            raise misunderstood(name, line)
        found[match[1]] = int(match[2])
    return found


def parse_listeners(texts: Mapping[str, str]) -> Iterator[tuple[str, int, Interception]]:
    """Read ``add client PORT [tproxy|untracked]`` and ``add relay PORT``."""
    for line in lines("listeners", texts):
        match line.split():
            case ["add", "client", port, ("tproxy" | "untracked") as way] if port.isdigit():
                yield "client", int(port), way
            case ["add", kind, port] if port.isdigit():
                yield kind, int(port), "redirect"
            case _:
                raise misunderstood("listeners", line)


def listener_line(kind: str, port: int, interception: Interception) -> str:
    """Write the line of a listener; one for redirected flows needs no third word."""
    way = "" if kind == "relay" or interception == "redirect" else f" {interception}"
    return f"add {kind} {port}{way}"


def parse_peers(texts: Mapping[str, str]) -> tuple[Peer, ...]:
    """Read the peers, and the counters of each from its comment."""
    counters, states = {}, {}
    for line in lines("peers", texts, comments=True):
        match = re.fullmatch(r"(\S+)(.*?)(?: state (\w+))?", line)
        if not match:
            raise misunderstood("peers", line)
        counters[match[1]] = named_numbers("peers", line, match[2].split())
        states[match[1]] = match[3] or "up"
    found = []
    for line in lines("peers", texts):
        match = re.fullmatch(r"add (\S+)((?: \w+ \d+)*)", line)
        if not match:
            raise misunderstood("peers", line)
        values = named_numbers("peers", line, match[2].split())
        values |= counters.get(match[1], {})
        known = {name: value for name, value in values.items() if name in Peer.__annotations__}
        if not {"low", "high", "key"} <= known.keys():
            raise misunderstood("peers", line)
        found.append(Peer(endpoint=match[1], state=states.get(match[1], "up"), **known))
    return tuple(found)


def named_numbers(name: str, line: str, words: list[str]) -> dict[str, int]:
    """Read ``name number name number ...``."""
    values = words[1::2]
    if len(words) % 2 or not all(value.isdigit() for value in values):
        raise misunderstood(name, line)
    return dict(zip(words[::2], map(int, values), strict=True))


def parse_routes(texts: Mapping[str, str]) -> Iterator[Route]:
    """Read ``add mark M via A,B [backup C]...|direct [target T] [proxy] [transparent]``."""
    form = re.compile(
        r"add mark (0x[0-9a-fA-F]+|\d+) (?:via (\S+)((?: backup \S+)*)|direct)(?: target (\S+))?"
        r"( proxy)?( transparent)?"
    )
    for line in lines("routes", texts):
        match = form.fullmatch(line)
        if not match:
            raise misunderstood("routes", line)
        via = tuple(match[2].split(",")) if match[2] else ()
        backup = tuple(tuple(way.split(",")) for way in (match[3] or "").split()[1::2])
        yield Route(int(match[1], 0), via, match[4], bool(match[5]), bool(match[6]), backup)


def parse_exits(texts: Mapping[str, str]) -> tuple[Exit, ...]:
    """Read the exit list in its order, with the hits from the comments."""
    hits = {}
    for line in lines("exits", texts, comments=True):
        rule, word, count = line.rpartition(" hits ")
        if not word or not count.isdigit():
            raise misunderstood("exits", line)
        hits[rule] = int(count)
    return tuple(Exit(rule=line, hits=hits.get(line)) for line in lines("exits", texts))


def parse_splits(texts: Mapping[str, str]) -> Iterator[Split]:
    """Read ``CLIENT -> TARGET name value name value ...``."""
    for line in lines("splits", texts):
        client, arrow, rest = line.partition(" -> ")
        target, *words = rest.split() or [""]
        if not arrow or not target or len(words) % 2:
            raise misunderstood("splits", line)
        yield Split(client, target, dict(zip(words[::2], words[1::2], strict=True)))


def misunderstood(name: str, line: str) -> ProcfsError:
    """Say which line of which file has a form that is not known."""
    return ProcfsError(
        f"{DIRECTORY}/{name}: {line!r} is not understood; use the ktcp-ops of the module's version"
    )
