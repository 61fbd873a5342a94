# SPDX-License-Identifier: GPL-2.0-only
"""The verdict on a path names the faulty hop."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from ktcp_ops.mesh.diagnosis import verify
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import status
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter, Silent
from ktcp_ops.run.result import HostResult, HostState, RunResult

Texts = dict[str, dict[str, str]]


def texts_of(mesh: Mesh) -> Texts:
    """Write the procfs of relays that hold just what the plan says."""
    return {
        name: {
            "version": "module 0.1.0\n",
            **{
                file: "".join(f"{line}\n" for line in lines) for file, lines in node["conf"].items()
            },
            "drain": "off\n",
            "stats": "",
        }
        for name, node in plan(mesh).items()
    }


class Relays:
    """A fake engine: relays with texts before and after, and a host that downloads."""

    def __init__(self, mesh: Mesh) -> None:
        self.before = texts_of(mesh)
        self.after = texts_of(mesh)
        self.download: dict[str, Any] | None = {
            "url": "http://10.77.3.2/10k",
            "status": 200,
            "error": None,
            "bytes": 10240,
            "first_byte_s": 0.3,
            "total_s": 0.31,
        }
        for relay in self.after:
            self.count(relay, splits_opened=1)
        self.jobs: list[Job] = []

    def count(self, relay: str, **counters: int) -> None:
        """Set values that counters of a relay have after the downloads."""
        self.after[relay]["stats"] = "".join(
            f"{name}_total {value}\n" for name, value in counters.items()
        )

    def fail(self, error: str) -> None:
        """Let the download fail."""
        self.download = {
            "url": "http://10.77.3.2/10k",
            "status": None,
            "error": error,
            "bytes": 0,
            "first_byte_s": None,
            "total_s": 1.0,
        }
        for relay in self.after:
            self.count(relay, splits_opened=1)

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        self.jobs.append(job)
        reporter.started(title=job.title, tasks=None)
        reporter.finished()
        outputs = {
            f"{status.READ_TASK} {moment}": {name: grep(text) for name, text in texts.items()}
            for moment, texts in (("before", self.before), ("after", self.after))
        }
        if self.download:
            outputs[verify.FETCH_TASK] = {"client": {"stdout": json.dumps([self.download])}}
        hosts = tuple(HostResult(host=name, state=HostState.OK) for name in sorted(self.after))
        return RunResult(hosts=hosts, complete=True, outputs=outputs)


def grep(texts: dict[str, str]) -> dict[str, str]:
    """Print files like the task on a relay."""
    lines = [
        f"/proc/net/ktcp/{file}:{line}"
        for file, text in texts.items()
        for line in text.splitlines()
    ]
    return {"stdout": "\n".join(lines)}


@pytest.fixture
def relays(mesh: Mesh) -> Relays:
    return Relays(mesh)


def judge(mesh: Mesh, relays: Relays) -> verify.Verdict:
    _, verdicts = verify.fetch(
        engine=relays, reporter=Silent(), mesh=mesh, inventories=["localhost,"]
    )
    assert len(verdicts) == 1
    return verdicts[0]


def test_a_path_that_works(mesh: Mesh, relays: Relays) -> None:
    verdict = judge(mesh, relays)
    assert verdict.ok
    assert verdict.download
    assert verdict.download.bytes == 10240
    assert relays.jobs[0].variables["ktcp_probes"] == {"client": ["http://10.77.3.2/10k"]}
    assert "splits" not in relays.jobs[0].variables["ktcp_procfs_files"]
    assert verify.row(verdict)[:2] == ["web", "ok"]
    assert verify.to_data(verdict)["download"]["first_byte_s"] == 0.3


def test_a_path_without_a_probe_is_judged_by_its_set_up(mesh: Mesh, relays: Relays) -> None:
    bare = mesh.model_copy(
        update={"paths": tuple(p.model_copy(update={"probe": None}) for p in mesh.paths)}
    )
    assert judge(bare, relays).ok
    relays.after["rs"]["listeners"] = ""
    assert judge(bare, relays).hop == "rs"


def edit(relay: str, file: str, text: str) -> Callable[[Relays], None]:
    def change(relays: Relays) -> None:
        relays.after[relay][file] = text

    return change


def failed(relay: str, **counters: int) -> Callable[[Relays], None]:
    def change(relays: Relays) -> None:
        relays.fail("connection reset by peer")
        relays.count(relay, splits_opened=1, **counters)

    return change


def vanished(relays: Relays) -> None:
    relays.after["rs"] = {}


def untouched(relays: Relays) -> None:
    relays.count("rc", splits_opened=0)


def no_download(relays: Relays) -> None:
    relays.download = None


def never_arrived(relays: Relays) -> None:
    relays.fail("timed out")
    relays.count("rc")


SCENARIOS: list[tuple[str, Callable[[Relays], None], str, str]] = [
    ("no module", vanished, "rs", "module is not loaded"),
    (
        "no listener",
        edit("rc", "listeners", "add relay 5565\n"),
        "rc",
        "client listener on port 5557",
    ),
    (
        "other way in",
        edit("rc", "listeners", "add client 5557\nadd relay 5565\n"),
        "rc",
        "its client listener is for redirect, not untracked",
    ),
    (
        "other port",
        edit("rs", "listeners", "add relay 5566\n"),
        "rs",
        "relay listener on port 5565",
    ),
    ("draining", edit("rs", "drain", "on\n"), "rs", "draining"),
    ("no route", edit("rc", "routes", ""), "rc", "no route for mark 0x101"),
    ("other way", edit("rc", "routes", "add mark 0x101 direct\n"), "rc", "another way"),
    ("no peer", edit("rc", "peers", ""), "rc", "rs (10.77.2.2:5565) is not among its peers"),
    ("no exit", edit("rs", "exits", ""), "rs", "exit list"),
    ("nonsense", edit("rs", "stats", "what\n"), "rs", "not understood"),
    ("not split", untouched, "rc", "not split"),
    ("no probe", no_download, "client", "could not run"),
    ("never came", never_arrived, "rc", "did not arrive here: timed out"),
    ("keys", failed("rs", handshake_failures=1), "rs", "keys"),
    ("no leg", failed("rc", connect_failures=1), "rs", "firewalls"),
    ("rejected", failed("rs", open_rejected=1), "rs", "refused to open"),
    ("denied", failed("rs", exit_denied=1), "rs", "denied the target"),
    ("refused", failed("rs", connect_failures=1), "target", "rs could not connect to it"),
    ("target", failed("rs"), "target", "connection reset by peer"),
]


@pytest.mark.parametrize(
    ("change", "hop", "reason"), [s[1:] for s in SCENARIOS], ids=[s[0] for s in SCENARIOS]
)
def test_the_hop_to_blame(
    mesh: Mesh, relays: Relays, change: Callable[[Relays], None], hop: str, reason: str
) -> None:
    change(relays)
    verdict = judge(mesh, relays)
    assert not verdict.ok
    assert verdict.hop == hop
    assert reason in verdict.reason
