# SPDX-License-Identifier: GPL-2.0-only
"""A relay: its files, the programs that apply them, and its peers."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ktcp_testbed.rehearsal.guest.namespace import Done, Namespace, must

ROOM = Path("/run/rehearsal")
MODULE = ROOM / "ktcp.ko"
# The programs that a rollout installs, run as it runs them.
APPLY, STEERING = str(ROOM / "ktcp-apply"), str(ROOM / "ktcp-steering")

POOL = re.compile(r"^# (\S+) ready (\d+) connecting .* state (\w+)$", re.MULTILINE)
POLL_S = 0.1


def load_module() -> None:
    """Load the module with what it needs, as modprobe would; depmod takes minutes here."""
    needed = must(["modinfo", "-F", "depends", str(MODULE)]).strip()
    must(["modprobe", "--all", *filter(None, needed.split(",")), "ip_set_hash_net", "xt_set"])
    must(["insmod", str(MODULE)])


@dataclass
class Applied:
    """What applying files has changed, and what went wrong."""

    lines: list[str] = field(default_factory=list)
    steering: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Relay:
    """One relay of the mesh."""

    name: str
    namespace: Namespace

    @property
    def home(self) -> Path:
        """The place of its files."""
        return ROOM / "relays" / self.namespace.name

    def apply(self, files: Mapping[str, str]) -> Applied:
        """Write its files and apply them in the order of a rollout; steering comes last."""
        conf = self.home / "etc"
        conf.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (conf / name).write_text(text, encoding="utf-8")
        found = Applied()
        words = ["--conf", str(conf), "--memory", str(self.home / "run" / "applied.json")]
        found.lines = self.call(found, [APPLY, *words, "--restore"])
        if found.problems:
            return found
        words = ["--conf", str(conf), "--memory", str(self.home / "steering")]
        found.steering = self.call(found, [STEERING, "up", *words])
        return found

    def call(self, found: Applied, command: Sequence[str]) -> list[str]:
        """Run a program; note what it complains about, and return the lines that it printed."""
        done: Done = self.namespace.run(command)
        if done.code:
            found.problems += (done.complained or done.said).strip().splitlines()
        return done.said.strip().splitlines()

    def peers(self) -> str:
        """The text of its peers."""
        return self.namespace.read("peers")


def settle(
    relays: Sequence[Relay], awaited: Mapping[str, str], *, pooled: bool, bound: float
) -> None:
    """Wait until relays are connected to the peers that can answer, at most for ``bound`` seconds.

    Args:
        relays: those that have a configuration.
        awaited: endpoint -> relay, of the same ones.
        pooled: whether pools hold connections.
        bound: in the guest's time.
    """
    deadline = time.monotonic() + bound
    while time.monotonic() < deadline and any(lacking(relays, awaited, pooled=pooled)):
        time.sleep(POLL_S)


def lacking(relays: Sequence[Relay], awaited: Mapping[str, str], *, pooled: bool) -> Iterator[str]:
    """The peers to which a relay is not connected."""
    for relay in relays:
        for endpoint, ready, state in POOL.findall(relay.peers()):
            if endpoint in awaited and (state != "up" or (pooled and ready == "0")):
                yield endpoint
