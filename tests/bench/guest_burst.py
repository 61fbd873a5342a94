# SPDX-License-Identifier: GPL-2.0-only
"""In the guest of the bench: more connections at once than the pool has, as burst.py asks.

It runs as three processes: the guest's only program, the clients (``clients ADDRESS PORT COUNT``),
and the watcher of the pool (``watch HIGH``), so that neither waits for the other.
"""

import json
import resource
import selectors
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

from ktcp_testbed.bench.guest import ktcp, server
from ktcp_testbed.bench.guest.__main__ import JOB, OPEN_FILES, versions
from ktcp_testbed.bench.guest.channel import Channel
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.namespace import Namespace, run
from ktcp_testbed.bench.guest.network import Network

PROGRAM = ["python3", "-m", "guest_burst"]
BOUND_S = 30.0
# Seconds between two looks at the pool; a look takes a tenth of that.
LOOK_S = 0.001
REQUEST = b"GET /1 HTTP/1.0\r\n\r\n"
COUNTERS = ("pool_hits_total", "pool_misses_total", "splits_failed_total")


def waiting() -> int:
    """How many connections wait in the pool of this process's namespace."""
    text = Path("/proc/net/ktcp/peers").read_text(encoding="ascii")
    return int(text.split(" ready ")[1].split()[0])


def watch(high: int) -> None:
    """Report when the pool was empty, and when it was full again."""
    say("ready")
    moments: list[float] = []
    deadline = time.monotonic() + BOUND_S
    for wanted in (0, high):
        while waiting() != wanted:
            if time.monotonic() > deadline:
                say(f"the pool never had {wanted} connections")
                return
            time.sleep(LOOK_S)
        moments.append(time.monotonic())
    say(json.dumps(moments))


def clients(address: str, port: int, count: int) -> None:
    """Connect all clients at once, and report when each had its first byte. A failure ends us."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    begun: dict[socket.socket, float] = {}
    took: list[float] = []
    with selectors.DefaultSelector() as ready:
        for _ in range(count):
            sock = socket.socket(family)
            sock.setblocking(False)
            begun[sock] = time.monotonic()
            sock.connect_ex((address, port))
            ready.register(sock, selectors.EVENT_WRITE)
        while len(took) < count:
            events = ready.select(BOUND_S)
            if not events:
                raise TimeoutError(f"{count - len(took)} clients wait in vain")
            for key, mask in events:
                one = key.fileobj
                assert isinstance(one, socket.socket)
                if mask & selectors.EVENT_WRITE:
                    one.sendall(REQUEST)
                    ready.modify(one, selectors.EVENT_READ)
                elif one.recv(4096):
                    took.append(time.monotonic() - begun[one])
                    ready.unregister(one)
                    one.close()
                else:
                    raise ConnectionError("a client got no answer")
    say(json.dumps(took))


def say(word: str) -> None:
    """Send a result to the process that started us."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def counted(relay: Namespace) -> dict[str, int]:
    """The counters that show what happened to the flows."""
    return {name: ktcp.stat(relay, name) for name in COUNTERS}


def burst(net: Network, place: tuple[str, int], count: int) -> dict[str, object]:
    """Run one burst. Returns the results of the clients and of the watcher."""
    relay = net.relays[0]
    high = ktcp.POOL["high"]
    before = counted(relay)
    with subprocess.Popen(
        ["ip", "netns", "exec", relay.name, *PROGRAM, "watch", str(high)],
        stdout=subprocess.PIPE,
        text=True,
    ) as watcher:
        assert watcher.stdout is not None
        watcher.stdout.readline()
        took = json.loads(net.client.run([*PROGRAM, "clients", *map(str, place), str(count)]))
        empty, full = json.loads(watcher.stdout.readline())
    now = counted(relay)
    gained = {name.removesuffix("_total"): now[name] - before[name] for name in COUNTERS}
    return {"refilled_s": full - empty, "first_byte_s": took, **gained}


def fill(relay: Namespace) -> None:
    """Wait until the pool is full, not merely above its low mark."""
    deadline = time.monotonic() + BOUND_S
    while ktcp.ready(relay) < ktcp.POOL["high"]:
        if time.monotonic() > deadline:
            raise TimeoutError("the pool is not filled")
        time.sleep(0.1)


def work(job: Job, channel: Channel) -> None:
    """Run one burst that only finds neighbours and cookies, then those that count."""
    net = Network(job)
    net.build()
    run(["modprobe", "sch_netem"])
    ktcp.prepare()
    with ktcp.loaded():
        channel.tell("versions", versions=versions(net))
    server.make_files(job.sizes)
    server.serve(net.server)
    net.delay()
    with ktcp.split(net, len(ktcp.IMPROVEMENTS)) as place:
        for _ in range(job.runs + 1):
            fill(net.relays[0])
            channel.tell("burst", **burst(net, place, job.set_ups))


def main() -> None:
    """Run the part that the arguments name; without arguments, do the job."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    match sys.argv[1:]:
        case ["watch", high]:
            watch(int(high))
        case ["clients", address, port, count]:
            clients(address, int(port), int(count))
        case _:
            channel = Channel()
            try:
                work(Job.load(JOB.read_text(encoding="utf-8")), channel)
            except Exception as error:  # noqa: BLE001 - the host is the only one who can show it
                channel.tell("failed", message=f"{error}\n{traceback.format_exc()}")
            else:
                channel.tell("done")


if __name__ == "__main__":
    main()
