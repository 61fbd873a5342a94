# SPDX-License-Identifier: GPL-2.0-only
"""What is shown of a guest's logs when something went wrong."""

from pathlib import Path

from ktcp_testbed.lab.logs import Logs, tail


def test_a_log_is_shown_without_control_characters(tmp_path: Path) -> None:
    log = tmp_path / "console.log"
    log.write_bytes(b"first\r\n\r\n\x1b[1mlast\xff\x00\r\n")
    assert tail(log) == ["first", "[1mlast\ufffd"]
    assert tail(tmp_path / "none") == []


def test_logs_that_say_something_are_quoted(tmp_path: Path) -> None:
    logs = Logs(directory=tmp_path)
    logs.errors.write_text("")
    logs.console.write_text("panic\n")
    assert logs.describe("it has died") == (
        f"it has died\nthe last lines of {tmp_path}/console.log:\n  panic"
    )


def test_the_death_of_a_kernel_is_shown_though_it_booted_again(tmp_path: Path) -> None:
    logs = Logs(directory=tmp_path)
    death = ["[ 76.9] general protection fault: 0000", "[ 77.0] RIP: 0010:here", "[ 77.1] RAX: 0"]
    again = [f"[ {second}.0] boots" for second in range(100)]
    logs.console.write_text("\n".join(["[ 1.0] boots", *death, *again]))
    said = logs.describe("is out of reach").splitlines()
    assert said[:4] == [
        "is out of reach",
        f"its kernel died; from {tmp_path}/console.log:",
        f"  {death[0]}",
        f"  {death[1]}",
    ]
    assert said[-1] == f"  {again[-1]}"
    logs.console.write_text("\n".join(death))
    assert logs.describe("is out of reach").count(death[0]) == 1
