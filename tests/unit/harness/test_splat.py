# SPDX-License-Identifier: GPL-2.0-only
"""Which lines of the kernel's log fail a run."""

from tests.kernel.splat import splats


def race(one: str, other: str) -> list[str]:
    """A report of KCSAN, as lib/dump_stack.c and kernel/kcsan/report.c lay it out."""
    return [
        "==================================================================",
        "BUG: KCSAN: data-race in one / other",
        "",
        "write to 0xffff8880 of 4 bytes by task 7 on cpu 0:",
        f" {one}",
        " ktcp_forward_run+0x10/0x20 [ktcp]",
        "",
        "read to 0xffff8880 of 4 bytes by interrupt on cpu 1:",
        f" {other}",
        " tcp_v4_rcv+0x10/0x20",
        "",
        "Reported by Kernel Concurrency Sanitizer on:",
        "CPU: 1 PID: 9 Comm: ktcp",
    ]


def test_a_fault_is_found_among_other_lines() -> None:
    lines = ["all is well", "BUG: KASAN: slab-use-after-free in ktcp_x", "all is well"]
    assert splats(lines) == [lines[1]]


def test_a_race_of_the_module_is_found() -> None:
    lines = race("tcp_poll+0x1/0x2", "ktcp_peers_show+0x1/0x2 [ktcp]")
    assert splats(lines) == [lines[1]]


def test_a_race_of_the_kernel_is_its_own() -> None:
    """The module may well have called one of the two."""
    lines = race("tcp_poll+0x1/0x2", "tcp_rcv_established+0x1/0x2")
    assert splats([*lines, "BUG: something else"]) == ["BUG: something else"]


def test_a_report_that_is_cut_off_counts() -> None:
    lines = race("tcp_poll+0x1/0x2", "tcp_rcv_established+0x1/0x2")
    assert splats(lines[:5]) == [lines[1]]
