# SPDX-License-Identifier: GPL-2.0-only
"""``python3 -m ktcp_testbed.bench.guest``: the guest's only program; does a job and reports it."""

import contextlib
import resource
import traceback
from pathlib import Path

from ktcp_testbed.bench.guest import cost, downloads, ktcp, micro, server
from ktcp_testbed.bench.guest.channel import Channel
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.namespace import CommandError, run
from ktcp_testbed.bench.guest.network import Network

JOB = Path("/run/bench/job.json")
OPEN_FILES = 65_536

VERSIONS = {
    "kernel": ["uname", "-r"],
    "curl": ["sh", "-c", "curl --version | head -1 | cut -d' ' -f2"],
    "haproxy": ["sh", "-c", "haproxy -v | head -1 | cut -d' ' -f3"],
    "nginx": ["sh", "-c", "nginx -v 2>&1 | cut -d/ -f2"],
    "socat": ["sh", "-c", "socat -V | sed -n 's/^socat version \\([^ ]*\\).*/\\1/p'"],
    "ssh": ["sh", "-c", "ssh -V 2>&1 | cut -d' ' -f1"],
    "wrk": ["sh", "-c", "wrk -v 2>&1 | sed -n 's/^wrk \\([^ ]*\\).*/\\1/p'"],
}


def versions(net: Network) -> dict[str, str]:
    """The versions of what is measured, and of what measures."""
    found = {name: run(command).strip() for name, command in VERSIONS.items()}
    for line in ktcp.read(net.relays[0], "version"):
        name, _, value = line.partition(" ")
        found[name] = value
    return found


def work(job: Job, channel: Channel) -> None:
    """Do the job; every figure is sent as soon as it is known."""
    net = Network(job)
    net.build()
    run(["modprobe", "sch_netem"])
    ktcp.prepare()
    with ktcp.loaded():
        channel.tell("versions", versions=versions(net))
    sums = server.make_files({**cost.FILES, **job.sizes})
    server.serve(net.server)
    net.delay()
    for way in job.ways:
        for name, size in job.sizes.items():
            channel.tell("begin", part="download", way=way, size=size)
            runs = downloads.runs_of(job, way, size)
            times = downloads.measure(net, way, name, size, sums[name], runs)
            channel.tell("downloads", way=way, size=size, first=times[0], runs=times[1:])
    cost.measure(net, job, channel)
    if job.costs:
        channel.tell("begin", part="micro", way="ktcp", size=0)
        net.undelay()
        channel.tell("micro", threads_ns=micro.threads(), buffers_cpu_s=micro.buffers(net, job))


def main() -> None:
    """Do the job of this boot; a failure is sent as a message."""
    # Programs that we start inherit the limit, and hold many connections.
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    channel = Channel()
    try:
        work(Job.load(JOB.read_text(encoding="utf-8")), channel)
    except CommandError as error:
        channel.tell("failed", message=str(error))
    except Exception as error:  # noqa: BLE001 - only the host can show it
        channel.tell("failed", message=f"{error}\n{traceback.format_exc()}")
    else:
        channel.tell("done")
    with contextlib.suppress(CommandError):
        log = run(["sh", "-c", "dmesg | grep -E 'BUG:|WARNING:|Oops|KASAN' | head -20"])
        if log:
            channel.tell("kernel", lines=log.splitlines())


if __name__ == "__main__":
    main()
