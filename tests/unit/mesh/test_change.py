# SPDX-License-Identifier: GPL-2.0-only
"""What a rollout would change, and what that does to live splits."""

import pytest
import yaml

from ktcp_ops import __version__
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.status import RelayStatus
from ktcp_ops.mesh.relay import procfs
from ktcp_ops.mesh.relay.plan import Node, plan
from ktcp_ops.mesh.rollout.change import RELOADING, RelayChanges, compare, text
from ktcp_ops.run.result import HostResult, HostState
from tests.unit.roles.programs import ROOT


@pytest.fixture
def node(mesh: Mesh) -> Node:
    return plan(mesh)["rc"]


def changes(
    node: Node, spoil: dict[str, str] | None = None, tasks: tuple[str, ...] = ()
) -> RelayChanges:
    """Compare with a relay that has the planned state, except for the files in ``spoil``."""
    texts = {file: "".join(f"{line}\n" for line in some) for file, some in node["conf"].items()}
    texts["settings"] += "turbo on\n"
    texts |= {"version": f"module {__version__}\n", "stats": "splits_active 7\n"}
    state = procfs.parse({**texts, **(spoil or {})})
    host = HostResult(host="rc", state=HostState.OK, changed_tasks=tasks)
    return compare(node, RelayStatus(relay="rc", state=state), host)


def test_what_is_as_planned_does_not_change(node: Node) -> None:
    assert not changes(node).drifted
    assert list(text(changes(node))) == ["rc: nothing would change"]


@pytest.mark.parametrize(
    ("file", "now", "lines"),
    [
        ("settings", "early_syn on\nengine threads\nsource4 10.77.2.1\n", ["+ early_syn off"]),
        ("thread_pool", "low 32\nhigh 64\n# ready 3\n", ["+ high 256"]),
        ("listeners", "add relay 5565\n", ["+ add client 5557 untracked"]),
        (
            "listeners",
            "add client 5557\nadd relay 5565\n",
            ["- add client 5557", "+ add client 5557 untracked"],
        ),
        (
            "peers",
            "add 10.9.9.9:5565 low 16 high 64 key 1\n# 10.9.9.9:5565 ready 16\n",
            [
                "- add 10.9.9.9:5565 low 16 high 64 key 1",
                "+ add 10.77.2.2:5565 low 16 high 64 key 1",
            ],
        ),
        (
            "routes",
            "add mark 0x101 via 10.77.2.2:5565 target [fd77::1]:80 proxy\n",
            [
                "- add mark 0x101 via 10.77.2.2:5565 target [fd77::1]:80 proxy",
                "+ add mark 0x101 via 10.77.2.2:5565",
            ],
        ),
        ("exits", "allow 0.0.0.0/0\n", ["- allow 0.0.0.0/0"]),
    ],
)
def test_lines_that_differ(node: Node, file: str, now: str, lines: list[str]) -> None:
    found = changes(node, {file: now})
    assert [f"{change.sign} {change.line}" for change in found.lines] == lines
    assert {change.file for change in found.lines} == {file}
    assert found.effect == "the 7 live splits go on"


def test_the_order_of_exits_matters(mesh: Mesh) -> None:
    node = plan(mesh)["rs"]
    turned = "".join(f"{line}\n" for line in reversed(node["conf"]["exits"]))
    assert changes(node, {"exits": turned}).drifted


def test_another_module_resets_live_splits(node: Node) -> None:
    found = changes(node, {"version": "module 0.0.1\n"})
    assert found.module == ("0.0.1", __version__)
    assert found.effect == "the module is reloaded, which resets the 7 live splits"


@pytest.mark.parametrize("task", sorted(RELOADING))
def test_tasks_that_may_load_another_module_exist(node: Node, task: str) -> None:
    assert "may be reloaded" in changes(node, tasks=(task,)).effect
    role, _, name = task.partition(": ")
    files = (ROOT / "roles" / role / "tasks").glob("*.yml")
    tasks = [each for path in files for each in yaml.safe_load(path.read_text())]
    tasks += [each for task in tasks for each in task.get("block", [])]
    assert name in {each.get("name") for each in tasks}


def test_a_relay_without_the_module_gets_all(node: Node) -> None:
    status = RelayStatus(relay="rc", state=None, reason="the module is not loaded", absent=True)
    found = compare(node, status, HostResult(host="rc", state=HostState.CHANGED))
    assert [change.line for change in found.lines] == [
        line for some in node["conf"].values() for line in some
    ]
    assert next(text(found)) == "rc: the module is reloaded; there is no live split"


def test_of_a_relay_that_was_not_asked_nothing_is_known(node: Node) -> None:
    status = RelayStatus(relay="rc", state=None, reason="timed out")
    gone = HostResult(host="rc", state=HostState.UNREACHABLE, message="timed out")
    found = compare(node, status, gone)
    assert (found.drifted, found.splits, found.lines) == (None, None, ())
    assert list(text(found)) == ["rc: unknown: it was not asked: timed out"]
    assert "live split" not in found.effect


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (None, "there was no dry run"),
        (
            HostResult(host="rc", state=HostState.FAILED, message="no headers"),
            "the dry run is failed: no headers",
        ),
        (HostResult(host="rc", state=HostState.NOT_REACHED), "the dry run is not reached"),
        (HostResult(host="rc", state=HostState.UNFINISHED), "the dry run is unfinished"),
    ],
)
def test_without_the_whole_dry_run_no_split_is_called_safe(
    node: Node, host: HostResult | None, said: str
) -> None:
    lines = {file: "".join(f"{line}\n" for line in some) for file, some in node["conf"].items()}
    texts = {**lines, "version": f"module {__version__}\n", "stats": "splits_active 7\n"}
    found = compare(node, RelayStatus(relay="rc", state=procfs.parse(texts)), host)
    assert found.drifted is None
    assert said in found.effect
    other = compare(
        node, RelayStatus(relay="rc", state=procfs.parse({**texts, "version": "module 0\n"})), host
    )
    assert other.effect == "the module is reloaded, which resets the 7 live splits"
    assert said in next(text(other))
