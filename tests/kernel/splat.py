# SPDX-License-Identifier: GPL-2.0-only
"""Finds reports in the kernel's log that fail a test run, even if all tests passed."""

import re
from collections.abc import Iterable, Iterator

# Sources: lib/dump_stack.c, kernel/panic.c, kernel/locking/lockdep.c,
# mm/kasan/report.c, kernel/rcu/tree_stall.h, kernel/hung_task.c.
SPLAT = re.compile(
    "|".join(
        (
            r"\bBUG: ",
            r"\bkernel BUG at ",
            r"\bWARNING: ",
            r"\bINFO: task .* blocked for more than ",
            r"\bINFO: trying to register non-static key",
            r"\brcu: INFO: .* (?:self-detected stall|detected stalls|detected expedited stalls)",
            r"\bKASAN: ",
            r"\bUBSAN: ",
            r"\bKCSAN: ",
            r"\bOops: ",
            r"general protection fault",
            r"Unable to handle kernel",
            r"sleeping function called from invalid context",
            r"scheduling while atomic",
            r"possible (?:recursive locking|circular locking dependency|irq lock inversion)",
            r"inconsistent lock state",
            r"suspicious RCU usage",
            r"held lock freed|lock held when returning to user space",
            r"ODEBUG: ",
            r"refcount_t: ",
            r"ref_tracker: .* leaked|ref_tracker: reference already released",
            r"list_(?:add|del) corruption",
            r"unregister_netdevice: waiting for ",
            r"workqueue lockup",
            r"soft lockup|hard LOCKUP",
            r"Call Trace:",
            r"Kernel panic",
        )
    )
)

# Not the module's faults: an emulated machine's clocks and CPU quirks, and what Debian's kernels
# print when an unsigned module is loaded.
HARMLESS = re.compile(
    r"clocksource: |perf: interrupt took too long|module verification failed|Unpatched return thunk"
)


# How a report of KCSAN begins and ends, and the line above the place of an access. Source:
# kernel/kcsan/report.c.
RACE = re.compile(r"BUG: KCSAN: ")
RACE_END = re.compile(r"Reported by Kernel Concurrency Sanitizer")
ACCESS = re.compile(r"\b(?:read|write|read-write)(?: \(\w+\))? to 0x|\brace at unknown origin")
OURS = "[ktcp]"


def splats(lines: Iterable[str]) -> list[str]:
    """The lines that report a fault of the kernel, in their order."""
    return [
        line
        for line in without_foreign_races(lines)
        if SPLAT.search(line) and not HARMLESS.search(line)
    ]


def without_foreign_races(lines: Iterable[str]) -> Iterator[str]:
    """Drop KCSAN's reports of races between two places in the kernel itself.

    The kernel has many of those. A race is ours if one of its two accesses is the module's.
    """
    report: list[str] = []
    for line in lines:
        if report or RACE.search(line):
            report.append(line)
        else:
            yield line
        if report and RACE_END.search(line):
            yield from report if is_ours(report) else []
            report = []
    yield from report


def is_ours(report: list[str]) -> bool:
    """True when one of the accesses is in the module's own text."""
    places = [
        place for place, above in zip(report[1:], report, strict=False) if ACCESS.search(above)
    ]
    return any(OURS in place for place in places)
