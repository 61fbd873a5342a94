# SPDX-License-Identifier: GPL-2.0-only
"""The paper's micro-measurements: threads of each kind, and the forwarding buffer."""

import contextlib
from pathlib import Path

from ktcp_testbed.bench.guest import cost, ktcp
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.namespace import CommandError, run
from ktcp_testbed.bench.guest.network import Network

PROGRAM = Path("/run/bench/micro")
MODULE = Path("/run/bench/ktcp_micro.ko")
LOG = "ktcp_micro: "
BUFFERS = (4096, 16384, 65536)
# Only this engine and datapath have such a buffer.
PAPERS = {"engine": "threads", "datapath": "copy"}
NAMES = (
    "create_kthread",
    "create_process",
    "create_pthread",
    "switch_kthread",
    "switch_process",
    "switch_pthread",
)


def threads() -> dict[str, float]:
    """Nanoseconds to make a thread, and to switch to another one.

    Raises:
        CommandError: A figure is missing.
    """
    said = run([str(PROGRAM)])
    # It writes its figures to the log, and then its load fails on purpose.
    with contextlib.suppress(CommandError):
        run(["insmod", str(MODULE)])
    marks = [line.partition(LOG)[2] for line in run(["dmesg"]).splitlines() if LOG in line]
    found = {}
    for line in [*said.splitlines(), *marks]:
        name, _, value = line.partition(" ")
        if name in NAMES:
            found[name] = float(value)
    missing = set(NAMES) - set(found)
    if missing:
        raise CommandError(f"not measured: {', '.join(sorted(missing))}")
    return found


def buffers(net: Network, job: Job) -> dict[str, float]:
    """CPU seconds of the bulk through the paper's datapath, with buffers of several sizes."""
    found = {}
    for size in BUFFERS:
        settings = {**job.settings, **PAPERS, "buffer_bytes": str(size)}
        with ktcp.split(net, len(ktcp.IMPROVEMENTS), settings) as place:
            found[str(size)] = cost.cpu(net, place, job.bulk_bytes, share=3)
    return found
