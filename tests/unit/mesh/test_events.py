# SPDX-License-Identifier: GPL-2.0-only
"""From Ansible's events to results."""

from typing import Any

import pytest

from ktcp_ops.errors import ExitCode
from ktcp_ops.run.events import ResultBuilder, message_of
from ktcp_ops.run.result import HostResult, HostState, RunResult


class Recorder:
    """A reporter that remembers what it heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[object, ...]] = []

    def started(self, *, title: str, tasks: int | None) -> None:
        self.heard.append(("started", title, tasks))

    def task(self, *, number: int, name: str) -> None:
        self.heard.append(("task", number, name))

    def host(self, *, host: str, outcome: str, message: str) -> None:
        self.heard.append(("host", host, outcome, message))

    def finished(self) -> None:
        self.heard.append(("finished",))


def event(kind: str, **data: Any) -> dict[str, Any]:  # noqa: ANN401 - events hold anything
    return {"event": kind, "event_data": data}


def task(name: str) -> dict[str, Any]:
    return event("playbook_on_task_start", task=name)


def on(kind: str, host: str, name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    res = more.pop("res", {})
    return event(f"runner_on_{kind}", host=host, task=name, res=res, **more)


def stats(**counts: dict[str, int]) -> dict[str, Any]:
    processed = {host: 1 for group in counts.values() for host in group}
    return event("playbook_on_stats", processed=processed, **counts)


def run(*events: dict[str, Any], keep: frozenset[str] = frozenset()) -> tuple[Recorder, RunResult]:
    recorder = Recorder()
    tally = ResultBuilder(recorder, keep)
    for one in events:
        tally.feed(one)
    return recorder, tally.result(canceled=False)


def test_a_run_with_every_outcome() -> None:
    recorder, result = run(
        task("build"),
        on("ok", "rc", "build", res={"changed": True}),
        on("failed", "rs", "build", res={"msg": "no headers", "stderr": "dkms: one\ndkms: two\n"}),
        on("unreachable", "rx", "build", res={"msg": "timed out"}),
        event("playbook_on_handler_task_start", task="load", role="ktcp_module"),
        on("ok", "rc", "load"),
        on("skipped", "ry", "load"),
        stats(ok={"rc": 2, "ry": 0}, changed={"rc": 1}, failures={"rs": 1}, dark={"rx": 1}),
    )
    assert result.complete
    assert result.exit_code is ExitCode.UNREACHABLE
    assert result.hosts == (
        HostResult(host="rc", state=HostState.CHANGED, ok=2, changed=1, changed_tasks=("build",)),
        HostResult(
            host="rs",
            state=HostState.FAILED,
            failed_task="build",
            message="no headers\ndkms: one\ndkms: two",
        ),
        HostResult(
            host="rx", state=HostState.UNREACHABLE, failed_task="build", message="timed out"
        ),
        HostResult(host="ry", state=HostState.OK),
    )
    assert recorder.heard == [
        ("task", 1, "build"),
        ("host", "rc", "changed", ""),
        ("host", "rs", "failed", "no headers\ndkms: one\ndkms: two"),
        ("host", "rx", "unreachable", "timed out"),
        ("task", 2, "ktcp_module: load"),
        ("host", "rc", "ok", ""),
        ("host", "ry", "skipped", ""),
    ]


def test_a_failed_item_says_more_than_the_loop() -> None:
    _, result = run(
        event("runner_item_on_failed", host="rc", task="t", res={"msg": "item 3 is bad"}),
        on("failed", "rc", "t", res={"msg": "One or more items failed"}),
        stats(failures={"rc": 1}),
    )
    assert result.hosts[0].message == "item 3 is bad"
    assert result.exit_code is ExitCode.FAILED


def test_an_ignored_failure_is_none() -> None:
    recorder, result = run(
        on("failed", "rc", "t", res={"msg": "so what"}, ignore_errors=True),
        stats(ok={"rc": 1}, ignored={"rc": 1}),
    )
    assert result.exit_code is ExitCode.OK
    assert recorder.heard == [("host", "rc", "ignored", "so what")]


def test_a_rescued_failure_is_none() -> None:
    _, result = run(
        on("failed", "rc", "t", res={"msg": "first try"}),
        on("ok", "rc", "second try"),
        stats(ok={"rc": 1}, rescued={"rc": 1}),
    )
    assert result.hosts == (HostResult(host="rc", state=HostState.OK, ok=1),)


def test_without_the_end_the_run_failed_and_ansibles_words_are_kept() -> None:
    _, result = run(
        {"event": "verbose", "stdout": "[ERROR]: no hosts match the limit\n"}, on("ok", "rc", "t")
    )
    assert not result.complete
    assert result.exit_code is ExitCode.FAILED
    assert "no hosts match the limit" in result.complaint


def test_a_canceled_run() -> None:
    tally = ResultBuilder(Recorder())
    tally.feed(on("ok", "rc", "t", res={"changed": True}))
    result = tally.result(canceled=True)
    assert result.exit_code is ExitCode.INTERRUPTED
    assert result.complaint == ""
    assert result.hosts[0].state is HostState.UNFINISHED
    assert result.hosts[0].changed == 1


def test_hosts_that_a_run_did_not_come_to_are_not_well() -> None:
    tally = ResultBuilder(Recorder(), expected=["rc", "rs", "rx"])
    tally.feed(on("ok", "rc", "t"))
    tally.feed(on("failed", "rs", "t", res={"msg": "no headers"}))
    states = {host.host: str(host.state) for host in tally.result(canceled=True).hosts}
    assert states == {"rc": "unfinished", "rs": "failed", "rx": "not reached"}
    tally.feed(stats(ok={"rc": 1}, failures={"rs": 1}))
    states = {host.host: str(host.state) for host in tally.result(canceled=False).hosts}
    assert states == {"rc": "ok", "rs": "failed"}


def test_outputs_are_kept_for_the_wanted_tasks_only() -> None:
    _, result = run(
        on("ok", "rc", "read", res={"stdout": "x"}),
        on("ok", "rc", "other", res={"stdout": "y"}),
        stats(ok={"rc": 2}),
        keep=frozenset({"read", "never"}),
    )
    assert result.outputs == {"read": {"rc": {"stdout": "x"}}, "never": {}}


def test_the_tally_does_not_grow_with_the_tasks() -> None:
    recorder = Recorder()
    tally = ResultBuilder(recorder)
    for number in range(1000):
        tally.feed({"event": "verbose", "stdout": f"line {number}"})
        tally.feed(on("ok", "rc", f"task {number}", res={"stdout": "x" * 1000}))
    assert len(tally.said) < 50
    assert len(tally.hosts) == 1
    assert tally.outputs == {}


def test_unknown_events_are_passed_over() -> None:
    _, result = run({"event": "playbook_on_novelty"}, {}, {"event": "runner_retry"}, stats())
    assert result.hosts == ()


@pytest.mark.parametrize(
    ("res", "message"),
    [
        ({"msg": "x"}, "x"),
        ({"msg": ["a", "b"]}, "a; b"),
        ({"censored": "hidden", "msg": "secret"}, "hidden"),
        ({"module_stderr": "Traceback\nboom"}, "Traceback\nboom"),
        (
            {"msg": "non-zero return code", "stderr": "a: is wrong\nb: is wrong\n"},
            "a: is wrong\nb: is wrong",
        ),
        ({"msg": "non-zero return code", "stdout": "it broke"}, "it broke"),
        ({"msg": "non-zero return code"}, "non-zero return code"),
        ({}, "no reason given"),
    ],
)
def test_messages(res: dict[str, Any], message: str) -> None:
    assert message_of(res) == message


def test_of_a_long_failure_the_last_lines_are_told() -> None:
    lines = [f"line {number}" for number in range(40)]
    message = message_of({"msg": "non-zero return code", "stderr": "\n".join(lines)})
    assert message.splitlines() == ["... and 15 lines before, which are in the log", *lines[15:]]


def test_a_result_as_data() -> None:
    _, result = run(on("ok", "rc", "t"), stats(ok={"rc": 1}))
    assert result.to_data() == {
        "exit_code": 0,
        "complete": True,
        "canceled": False,
        "complaint": None,
        "hosts": {
            "rc": {
                "state": "ok",
                "ok": 1,
                "changed": 0,
                "changed_tasks": [],
                "failed_task": None,
                "message": None,
            }
        },
    }
