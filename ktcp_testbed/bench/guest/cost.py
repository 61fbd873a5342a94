# SPDX-License-Identifier: GPL-2.0-only
"""What the ways cost: CPU time, connections a second, memory, and how steady set-up is.

One CPU does everything, both ends included, so no figure can be better than that of the routed
row. Only set-up is measured with the delays in place.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import sqrt
from pathlib import Path
from statistics import mean, stdev

from ktcp_testbed.bench.guest import downloads
from ktcp_testbed.bench.guest.channel import Channel
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.namespace import CommandError
from ktcp_testbed.bench.guest.network import Network, endpoint
from ktcp_testbed.bench.guest.ways import WAYS, Place

BULK = 100 * 1024**2
WARM = 10 * 1024**2
# The bulk is downloaded until the mean of the rounds is known so well (its standard error as a
# share of it), at least and at most so many times.
PRECISION = 0.006
ROUNDS = range(3, 17)
FILES = {"1b": 1, "warm": WARM, "bulk": BULK}
AT_A_TIME = 8
# The set-up of connections is timed one at a time, and so many at a time.
CROWD = 32
# Connections that asked for the bulk and do not read it.
SLOW_READERS = 4
SETTLE_S = 3.0
# As long as connections of an earlier measurement are remembered: 60 s in TCP's TIME_WAIT, 120 s in
# conntrack's. Their memory would be freed during the next measurement, which would find too little.
# Waiting is free in virtual time.
FORGET_S = 130.0
# Ways that take the host minutes: only one n-th of the bulk is measured.
SHARES = {"ssh-warm": 3, "ssh-fresh": 3}
# The ways whose set-up is timed, one after the other.
SET_UP_WAYS = ("routed", "haproxy", "ktcp-basic", "ktcp-tp", "ktcp")


def measure(net: Network, job: Job, channel: Channel) -> None:
    """Measure what the job asks for; every figure is sent as soon as it is known."""
    net.undelay()
    for way in job.costs:
        channel.tell("begin", part="cost", way=way, size=0)
        net.forget()
        with WAYS[way](net) as place:
            facts = {
                "cpu_s": cpu(net, place, job.bulk_bytes, share=SHARES.get(way, 1)),
                "connections_per_s": rate(net, place, job.load_s),
                "idle_kib": memory(net, place, job.idle_connections, busy=False),
                "slow_reader_kib": memory(net, place, SLOW_READERS, busy=True),
            }
        channel.tell("cost", way=way, **facts)
    net.delay()
    for way in SET_UP_WAYS if job.costs and job.set_ups else ():
        channel.tell("begin", part="set-up", way=way, size=0)
        net.forget()
        with WAYS[way](net) as place:
            for crowd in (1, CROWD):
                times = set_ups(net, place, job.set_ups, crowd)
                channel.tell("set-up", way=way, at_a_time=crowd, seconds=times)


def cpu(net: Network, place: Place, size: int, *, share: int = 1) -> float:
    """CPU seconds for ``size`` bytes, the mean of several rounds, after a small download.

    A single round varies by a few percent, with how TCP packs and acknowledges. With a ``share``
    of n there is only one download, of an n-th of the bytes.
    """
    downloads.fetch(net, place, "warm", WARM, 1)
    spent: list[float] = []
    while not spent or (share == 1 and not is_known(spent)):
        with busy_time() as one:
            downloads.fetch(net, place, "bulk", BULK, size // BULK // share)
        spent += one
    return mean(spent) * share


def is_known(figures: list[float]) -> bool:
    """Whether the mean of these is known as well as wanted, or they are as many as allowed."""
    count = len(figures)
    if count < ROUNDS[0]:
        return False
    return count == ROUNDS[-1] or stdev(figures) <= PRECISION * mean(figures) * sqrt(count)


@contextmanager
def busy_time() -> Iterator[list[float]]:
    """Seconds that the CPU was not idle, in the list when the context is left."""
    spent: list[float] = []
    began, slept = time.monotonic(), idle()
    yield spent
    spent.append(time.monotonic() - began - (idle() - slept))


def idle() -> float:
    """Seconds that the CPU has been idle; /proc/stat would count in hundredths."""
    found = re.search(r"\.idle_sleeptime\s*:\s*(\d+)", Path("/proc/timer_list").read_text())
    if not found:
        raise CommandError("/proc/timer_list does not say how long the CPU has been idle")
    return int(found[1]) / 1e9


def rate(net: Network, place: Place, seconds: float) -> float:
    """New connections a second, each with a request and a reply of one byte."""
    url = f"http://{endpoint(*place)}/1b"
    command = ["wrk", "-t1", f"-c{AT_A_TIME}", f"-d{seconds:g}s", url]
    said = net.client.run(command)
    found = re.search(r"Requests/sec:\s*([\d.]+)", said)
    errors = re.search(r"Non-2xx|connect [1-9]|write [1-9]|timeout [1-9]", said)
    if not found or errors:
        raise CommandError(f"{' '.join(command)}: {said}")
    return float(found[1])


def memory(net: Network, place: Place, count: int, *, busy: bool) -> float:
    """KiB of memory for each of ``count`` connections that are held open, in the whole guest."""
    program = ("python3", "-m", "ktcp_testbed.bench.guest.holder")
    words = [*program, place[0], str(place[1]), str(count)]
    with subprocess.Popen(
        ["ip", "netns", "exec", net.client.name, *words, *(["/bulk"] if busy else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        try:
            expect(holder.stdout.readline(), "loaded")
            time.sleep(FORGET_S)
            before = used_kib()
            holder.stdin.write("\n")
            holder.stdin.flush()
            expect(holder.stdout.readline(), "open")
            after = used_kib()
        finally:
            holder.stdin.close()
            holder.wait()
    time.sleep(SETTLE_S)
    return (after - before) / count


def expect(said: str, wanted: str) -> None:
    """Check that the holder said what it should say next."""
    if said.strip() != wanted:
        raise CommandError(f"connections could not be held open: {said.strip() or 'no message'}")


def used_kib() -> int:
    """Memory in use when it has settled, without caches of files and of freed objects."""
    time.sleep(SETTLE_S)
    Path("/proc/sys/vm/drop_caches").write_text("3\n", encoding="ascii")
    for cache in Path("/sys/kernel/slab").glob("*/shrink"):
        cache.write_text("1\n", encoding="ascii")
    fields = dict(
        line.split(":") for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    )
    value = {name: int(text.split()[0]) for name, text in fields.items()}
    free = value["MemFree"] + spare_kib()
    return value["MemTotal"] - free - value["Cached"] - value["Buffers"]


def spare_kib() -> int:
    """Memory in the processors' lists of free pages: megabytes that MemFree does not count."""
    zones = Path("/proc/zoneinfo").read_text(encoding="ascii")
    pages = sum(int(count) for count in re.findall(r"^\s+count: (\d+)$", zones, re.MULTILINE))
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def set_ups(net: Network, place: Place, count: int, at_a_time: int) -> list[float]:
    """Seconds from SYN to first byte of ``count`` connections, ``at_a_time`` of them at once."""
    url = f"http://{endpoint(*place)}/1b?[1-{count}]"
    crowd = (
        ["-Z", "--parallel-immediate", "--parallel-max", str(at_a_time)] if at_a_time > 1 else []
    )
    command = ["curl", "-sS", *crowd, "-o", "/dev/null", "-w", "%{time_starttransfer}\\n", url]
    said = net.client.run(command, timeout=count * downloads.BOUND_S)
    found = [float(line) for line in said.split()]
    if len(found) != count:
        raise CommandError(f"curl {url}: {len(found)} of {count} downloads")
    return found
