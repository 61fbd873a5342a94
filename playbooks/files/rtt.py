# SPDX-License-Identifier: GPL-2.0-only
"""Measure round-trip times and print them, as JSON: [[WHERE, MICROSECONDS, HOW], ...].

What to measure stands on stdin, a line each:

    add ADDRESS:PORT ...     a peer, as /proc/net/ktcp/peers has it
    target ADDRESS:PORT      a server, by TCP, since many do not answer to ping
    host ADDRESS             any host, by ping, which no relay on the way splits

A peer is asked from what the module knows of its pool's connections, unless an argument
says "fresh", then by ping, then by TCP. Without an answer MICROSECONDS is null. Stands
alone: it runs on hosts of the inventory with nothing but Python's own library.
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

PEERS = Path("/proc/net/ktcp/peers")
SAMPLES = 3
TIMEOUT_S = 2
AT_ONCE = 16

Measure = Callable[[str], int | None]


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


def host_and_port(where: str) -> tuple[str, int]:
    """Split ADDRESS:PORT, with brackets around IPv6."""
    host, _, port = where.rpartition(":")
    return host.strip("[]"), int(port)


def ping(host: str) -> int | None:
    """Ping; the shortest of some answers."""
    command = ["ping", "-n", "-q", "-c", str(SAMPLES), "-i", "0.2", "-W", str(TIMEOUT_S), host]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    shortest = re.search(r"= ([\d.]+)/", done.stdout)
    return round(float(shortest[1]) * 1000) if shortest else None


def connect(where: str) -> int | None:
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
    return round(min(found) * 1_000_000)


def ways(kind: str, known: Mapping[str, int]) -> dict[str, Measure]:
    """The methods that measure one kind of round trip, the best first."""
    if kind == "host":
        return {"ping": ping}
    by_ping: dict[str, Measure] = {"ping": lambda where: ping(host_and_port(where)[0])}
    by_tcp: dict[str, Measure] = {"tcp": connect}
    if kind == "target":
        return {**by_tcp, **by_ping}
    return {"pool": known.get, **by_ping, **by_tcp}


def measure(line: str, known: Mapping[str, int]) -> tuple[str, int | None, str]:
    """Measure what a line asks for."""
    kind, where = line.split()[:2]
    for how, ask in ways(kind, known).items():
        rtt = ask(where)
        if rtt:
            return where, rtt, how
    return where, None, ""


def main(lines: Iterable[str], fresh: bool) -> None:
    """Measure everything."""
    known = pools(PEERS.read_text()) if PEERS.exists() and not fresh else {}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        asked = [line for line in lines if line.strip()]
        json.dump(list(threads.map(lambda line: measure(line, known), asked)), sys.stdout)


if __name__ == "__main__":
    main(sys.stdin, fresh="fresh" in sys.argv[1:])
