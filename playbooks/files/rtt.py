# SPDX-License-Identifier: GPL-2.0-only
"""Measure round trips and losses; print JSON: [[WHERE, MICROSECONDS, HOW, SENT, LOST], ...].

What to measure stands on stdin, a line each:

    add ADDRESS:PORT ...     a peer, as /proc/net/ktcp/peers has it
    target ADDRESS:PORT      a server, by TCP, since many do not answer to ping
    host ADDRESS             any host, by ping, which no relay on the way splits

A peer is asked from what the module knows of its pool's connections, unless an argument
says "fresh", then by ping, then by TCP. Without an answer MICROSECONDS is null.

SENT and LOST are of peers only. A ping counts packets there and back. Otherwise they count
segments with data that went to the peer on the connections that are there now. SENT is 0 if
nobody knows. Stands alone: it runs on hosts of the inventory with nothing but Python's own
library.
"""

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

PEERS = Path("/proc/net/ktcp/peers")
SAMPLES = 3
TIMEOUT_S = 2
AT_ONCE = 16

# Pings that also show loss: a hundred in a second, which root may do on every system.
MANY, OFTEN_S = 100, 0.01
# One lost segment of fewer is more than a tenth of a percent, so it may be mere chance.
ENOUGH = 1000


class Answer(NamedTuple):
    """A round trip in microseconds; and of how many packets how many were lost."""

    rtt_us: int
    sent: int = 0
    lost: int = 0


Measure = Callable[[str], Answer | None]


def pools(text: str) -> dict[str, int]:
    """Read the module's figures for peers that it has connections to."""
    found = {}
    for line in text.splitlines():
        sign, peer, *words = line.split() or [""]
        if sign == "#":
            values = dict(zip(words[::2], words[1::2]))  # noqa: B905 - Python 3.9 is enough
            if int(values.get("ready", 0)) and int(values.get("rtt_us", 0)):
                found[peer] = int(values["rtt_us"])
    return found


def connections(ports: Iterable[int]) -> str:
    """List the connections with relays, a line each, in both directions of opening."""
    either = " or ".join(f"sport = :{port} or dport = :{port}" for port in sorted(ports))
    command = ["ss", "-HOtin", "state", "synchronized", f"( {either} )"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return ""


def losses(text: str) -> dict[str, tuple[int, int]]:
    """Count the segments with data that were sent to each host, and how many of them were lost.

    Lost is what was sent again, except where the host has said that it had it already. Hosts
    that were sent few segments are left out.
    """
    found: dict[str, tuple[int, int]] = {}
    for line in text.splitlines():
        ends = re.search(r"\S:\d+\s+(\S+):\d+\s", line)
        if ends:
            segments, again, needless = (
                int(match[1]) if (match := re.search(rf"\b{figure}(\d+)", line)) else 0
                for figure in ("data_segs_out:", r"retrans:\d+/", "dsack_dups:")
            )
            sent, lost = found.get(ends[1], (0, 0))
            found[ends[1]] = sent + segments, lost + max(again - needless, 0)
    return {host: (sent, min(sent, lost)) for host, (sent, lost) in found.items() if sent >= ENOUGH}


def host_and_port(where: str) -> tuple[str, int]:
    """Split ADDRESS:PORT, with brackets around IPv6."""
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


def ping(host: str, count: int = SAMPLES, interval_s: float = 0.2) -> Answer | None:
    """Ping; the shortest of some answers, and how many there were."""
    often = ["-c", str(count), "-i", str(interval_s)]
    command = ["ping", "-n", "-q", *often, "-W", str(TIMEOUT_S), host]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    shortest = re.search(r"= ([\d.]+)/", done.stdout)
    counted = re.search(r"(\d+) packets transmitted, (\d+) ", done.stdout)
    if shortest is None or counted is None:
        return None
    sent, received = int(counted[1]), int(counted[2])
    return Answer(round(float(shortest[1]) * 1000), sent, max(sent - received, 0))


def connect(where: str) -> Answer | None:
    """Connect by TCP; a refusal takes a round trip as well."""
    found = []
    for _ in range(SAMPLES):
        begin = time.monotonic()
        try:
            socket.create_connection(host_and_port(where), timeout=TIMEOUT_S).close()
        except ConnectionRefusedError:
            pass
        except OSError:
            return None
        found.append(time.monotonic() - begin)
    return Answer(round(min(found) * 1_000_000))


def ways(kind: str, known: Mapping[str, int]) -> dict[str, Measure]:
    """The methods that measure one kind of round trip, the best first."""
    if kind == "host":
        return {"ping": ping}
    by_tcp: dict[str, Measure] = {"tcp": connect}
    if kind == "target":
        return {**by_tcp, "ping": lambda where: ping(host_and_port(where)[0])}
    return {
        "pool": lambda where: Answer(known[where]) if where in known else None,
        "ping": lambda where: ping(host_and_port(where)[0], MANY, OFTEN_S),
        **by_tcp,
    }


def measure(
    line: str, known: Mapping[str, int], lost: Mapping[str, tuple[int, int]]
) -> tuple[str, int | None, str, int, int]:
    """Measure what a line asks for."""
    kind, where = line.split()[:2]
    for how, ask in ways(kind, known).items():
        answer = ask(where)
        if answer and answer.rtt_us:
            by_ping = answer.sent, answer.lost
            by_legs = lost.get(where.rpartition(":")[0], (0, 0))
            return where, answer.rtt_us, how, *(by_ping if answer.sent >= MANY else by_legs)
    return where, None, "", 0, 0


def main(lines: Iterable[str], fresh: bool) -> None:
    """Measure everything."""
    asked = [line for line in lines if line.strip()]
    known = pools(PEERS.read_text()) if PEERS.exists() and not fresh else {}
    ports = {host_and_port(line.split()[1])[1] for line in asked if line.startswith("add ")}
    lost = losses(connections(ports)) if ports else {}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        found = threads.map(lambda line: measure(line, known, lost), asked)
        json.dump(list(found), sys.stdout)


if __name__ == "__main__":
    main(sys.stdin, fresh="fresh" in sys.argv[1:])
