# SPDX-License-Identifier: GPL-2.0-only
"""The commands, with a mesh in memory and a fake engine: exit codes, stdout, stderr."""

import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from ktcp_ops import __version__
from ktcp_ops.cli import main, workers
from ktcp_ops.errors import InvalidMeshError, KtcpError
from ktcp_ops.mesh.diagnosis import verify
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.journal.journal import Journal
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import probe, status
from ktcp_ops.mesh.relay import procfs
from ktcp_ops.mesh.relay.tunnel import over
from ktcp_ops.mesh.rollout import actions
from ktcp_ops.run import hosts
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Reporter
from ktcp_ops.run.result import HostResult, HostState, RunResult
from tests.unit.mesh.conftest import KEY, make_description, one_mesh
from tests.unit.mesh.test_verify import Relays
from tests.unit.roles.programs import ROOT

OK = HostResult(
    host="rc", state=HostState.CHANGED, ok=9, changed=4, changed_tasks=("Build", "Load")
)
FAILED = HostResult(
    host="rs", state=HostState.FAILED, ok=3, failed_task="Build", message="no headers\nfor 6.1"
)
GONE = HostResult(host="rs", state=HostState.UNREACHABLE, failed_task="Build", message="timed out")


COMMANDS = ["validate", "plan", "probe", "status", "verify", "drain", "undrain", "remove"]


class FakeEngine:
    """Gives the same result to every job, and remembers the jobs."""

    def __init__(self, *hosts: HostResult, **more: Any) -> None:  # noqa: ANN401
        self.result = RunResult(hosts=hosts, **{"complete": True, **more})
        self.jobs: list[Job] = []

    def run(self, job: Job, reporter: Reporter) -> RunResult:
        self.jobs.append(job)
        reporter.started(title=job.title, tasks=2)
        reporter.task(number=1, name="Build")
        for host in self.result.hosts:
            reporter.host(host=host.host, outcome=str(host.state), message=host.message or "")
        reporter.finished()
        return self.result


@pytest.fixture(autouse=True)
def a_valid_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every inventory is the small mesh, and every one exists."""

    def load(_names: Sequence[str]) -> Mesh:
        return read(make_description())

    monkeypatch.setattr(inventory, "load_all", one_mesh(load))
    for module in (actions, status, verify):
        monkeypatch.setattr(module, "resolve", tuple)


@pytest.fixture(autouse=True)
def limits_are_lists_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits are taken without Ansible."""
    monkeypatch.setattr(hosts, "hosts_of", lambda job: (job.limit or "").split(","))


def use(monkeypatch: pytest.MonkeyPatch, engine: FakeEngine | Relays) -> None:
    monkeypatch.setattr(workers, "make_engine", lambda: engine)


def break_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_names: Sequence[str]) -> Mesh:
        raise InvalidMeshError(["a.yml: ktcp_mesh.x: is bad; mend it.", "b.yml: ktcp_keys: no."])

    monkeypatch.setattr(inventory, "load_all", one_mesh(load))


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert capsys.readouterr().out == f"ktcp-ops {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [["mesh", "rollout"], ["mesh", "nonsense"], ["mesh", "status", "-i", "x", "-o", "y"]],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(arguments) == 2
    assert capsys.readouterr().out == ""


def test_validate(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "validate", "-i", "inv"]) == 0
    assert capsys.readouterr().out == "inv: the mesh is valid: 2 relays, 1 pair, 1 path\n"
    assert main.run(["mesh", "validate", "-i", "inv", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["valid"] is True


def test_validate_says_which_services_are_open_to_everyone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shop(mesh: dict[str, Any]) -> None:
        service = {"port": 8443, "target": "10.77.3.2:80"}
        mesh["paths"].append({"name": "shop", "ingress": "rc", "via": ["rs"], "service": service})

    shopping = read(make_description(shop))
    monkeypatch.setattr(inventory, "load_all", one_mesh(lambda _names: shopping))
    assert main.run(["mesh", "validate", "-i", "inv"]) == 0
    note = "path shop: port 8443 of rc is open to everyone and leads to 10.77.3.2:80; "
    assert f"note: {note}" in capsys.readouterr().out
    assert main.run(["mesh", "validate", "-i", "inv", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"][0].startswith(note)


@pytest.mark.parametrize("command", COMMANDS)
def test_an_invalid_mesh_touches_no_host(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine()
    use(monkeypatch, engine)
    break_mesh(monkeypatch)
    assert main.run(["mesh", command, "-i", "inv", "-o", "json"]) == 3
    captured = capsys.readouterr()
    assert json.loads(captured.out)["problems"][0] == "a.yml: ktcp_mesh.x: is bad; mend it."
    assert captured.err.splitlines() == [
        "error: a.yml: ktcp_mesh.x: is bad; mend it.",
        "error: b.yml: ktcp_keys: no.",
    ]
    assert engine.jobs == []


def test_plan_shows_lines_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "plan", "-i", "inv"]) == 0
    text = capsys.readouterr().out
    assert "  peers        add 10.77.2.2:5565 low 16 high 64 key 1\n" in text
    assert "KTCP-rc-rs mark 0x101 to 10.77.3.0/24 80" in text
    assert main.run(["mesh", "plan", "-i", "inv", "-o", "json", "--relay", "rs"]) == 0
    data = capsys.readouterr().out
    assert list(json.loads(data)["relays"]) == ["rs"]
    assert KEY not in text + data
    assert main.run(["mesh", "plan", "-i", "inv", "--relay", "rx"]) == 2
    assert "rx: not in the mesh" in capsys.readouterr().err


def test_remove_gives_json_a_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine(OK, FAILED)
    use(monkeypatch, engine)
    arguments = ["mesh", "remove", "-i", "a", "-i", "b", "--limit", "rc,rs", "--check"]
    assert main.run([*arguments, "-o", "json"]) == 1
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert data["exit_code"] == 1
    assert data["check"] is True
    assert data["hosts"]["rc"]["state"] == "changed"
    assert data["hosts"]["rs"] == {
        "state": "failed",
        "ok": 3,
        "changed": 0,
        "changed_tasks": [],
        "failed_task": "Build",
        "message": "no headers\nfor 6.1",
    }
    assert "remove: [1/2] Build" in captured.err
    assert "rs failed: no headers" in captured.err
    job = engine.jobs[0]
    assert job.playbook.name == "teardown.yml"
    assert (job.inventories, job.limit, job.check) == (("a", "b"), "rc,rs", True)
    assert job.variables["ktcp_relays_group"] == "relays"


def test_remove_gives_a_line_a_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FakeEngine(OK, GONE))
    assert main.run(["mesh", "remove", "-i", "inv", "--yes"]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[1].split() == ["rc", "changed", "9", "4", "-", "-"]
    assert "timed out" in lines[2]


@pytest.mark.parametrize("host", ["old.example", "192.0.2.9", "2001:db8::9"])
def test_a_host_that_left_the_inventory_is_reached_by_its_name(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(HostResult(host=host, state=HostState.CHANGED))
    use(monkeypatch, engine)
    assert main.run(["mesh", "remove", "-i", "inv", "--host", host, "--yes"]) == 0
    (job,) = engine.jobs
    assert (job.playbook.name, job.inventories) == ("teardown.yml", ("inv", f"{host},"))
    assert (job.limit, job.hosts) == (host, (host,))
    assert job.variables["ktcp_relays_group"] == host
    (run,) = Journal.of(["inv"]).runs()[0]
    assert (run.action, run.limit, list(run.hosts)) == ("remove", host, [host])


def test_a_host_of_the_inventory_is_reached_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(OK)
    use(monkeypatch, engine)
    assert main.run(["mesh", "remove", "-i", "old", "--host", "rc", "--check"]) == 0
    (job,) = engine.jobs
    assert (job.inventories, job.limit, job.check) == (("old",), "rc", True)
    assert job.variables["ktcp_relays_group"] == "relays"


def test_a_groups_name_is_no_host(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine(OK)
    use(monkeypatch, engine)
    monkeypatch.setattr(hosts, "hosts_of", lambda _job: ["rc", "rs"])
    assert main.run(["mesh", "remove", "-i", "inv", "--host", "relays", "--yes"]) == 2
    assert "relays: Ansible takes it for rc, rs" in capsys.readouterr().err
    assert engine.jobs == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "rc", "--limit", "rs"], "leave one of them out"),
        (["--host", "a,b"], "not the name or the address of one host"),
        (["--host", "*"], "not the name or the address of one host"),
        (["--host", "old"], "nothing was removed"),
    ],
)
def test_a_host_is_one_and_is_asked_about(
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = FakeEngine(OK)
    use(monkeypatch, engine)
    assert main.run(["mesh", "remove", "-i", "inv", *options]) == 2
    assert said in capsys.readouterr().err
    assert engine.jobs == []


@pytest.mark.parametrize(
    ("engine", "code", "said"),
    [
        (FakeEngine(OK), 0, ""),
        (FakeEngine(), 1, "no host was selected"),
        (FakeEngine(complete=False, complaint="[ERROR]: bad play"), 1, "[ERROR]: bad play"),
        (FakeEngine(OK, canceled=True, complete=False), 130, "interrupted"),
    ],
)
def test_exit_codes(
    engine: FakeEngine,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(monkeypatch, engine)
    assert main.run(["mesh", "remove", "-i", "inv", "--yes"]) == code
    assert said in capsys.readouterr().err
    assert engine.jobs[0].playbook.name == "teardown.yml"


def test_ctrl_c_before_a_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(_names: Sequence[str]) -> Mesh:
        raise KeyboardInterrupt

    monkeypatch.setattr(inventory, "load_all", one_mesh(load))
    assert main.run(["mesh", "validate", "-i", "inv"]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_any_other_failure_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(_names: Sequence[str]) -> Mesh:
        raise KtcpError("the disk is [full]; make room")

    monkeypatch.setattr(inventory, "load_all", one_mesh(load))
    assert main.run(["mesh", "validate", "-i", "inv"]) == 1
    assert capsys.readouterr().err == "error: the disk is [full]; make room\n"


PROCFS = (
    f"/proc/net/ktcp/version:module {__version__}\n/proc/net/ktcp/listeners:add relay 5565\n"
    "/proc/net/ktcp/peers:add 10.77.2.1:5565 low 1 high 2 key 1\n"
    "/proc/net/ktcp/peers:# 10.77.2.1:5565 ready 2 connecting 1 hits 5 misses 3 failures 0"
    " bytes_up 10 bytes_down 2000\n"
    "/proc/net/ktcp/stats:splits_active 7\n/proc/net/ktcp/stats:splits_opened_total 8\n"
    "/proc/net/ktcp/stats:pool_hits_total 5\n/proc/net/ktcp/stats:pool_misses_total 3\n"
    "/proc/net/ktcp/stats:early_syn_met_total 6\n/proc/net/ktcp/drain:on\n"
)


def test_status_is_a_table_of_what_the_relays_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {f"{status.READ_TASK} now": {"rc": {"stdout": PROCFS}, "rs": {"stdout": ""}}}
    hosts = [HostResult(host=name, state=HostState.OK) for name in ("rc", "rs")]
    use(monkeypatch, FakeEngine(*hosts, outputs=outputs))
    assert main.run(["mesh", "status", "-i", "inv", "-o", "wide"]) == 1
    head, rc, rs = (line.split() for line in capsys.readouterr().out.splitlines())
    row = dict(zip(head, rc, strict=True))
    assert row["MODULE"] == __version__
    assert row["LISTENERS"] == "relay:5565"
    assert (row["READY"], row["CONNECTING"], row["SPLITS"]) == ("2", "1", "7")
    assert (row["HIT%"], row["EARLY%"]) == ("62.5", "75.0")
    assert row["NOTE"] == "draining"
    assert " ".join(rs).endswith("the module is not loaded")
    assert main.run(["mesh", "status", "-i", "inv", "-o", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["relays"]["rc"]["state"]["stats"]["splits_active"] == 7
    assert data["relays"]["rs"]["reason"] == "the module is not loaded"


def test_status_names_peers_that_the_inventory_does_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = (
        "/proc/net/ktcp/peers:add 192.0.2.9:5565 low 1 high 2 key 1\n"
        "/proc/net/ktcp/peers:add [2001:db8::9]:5565 low 1 high 2 key 1\n"
    )
    outputs = {f"{status.READ_TASK} now": {"rc": {"stdout": PROCFS + lost}}}
    use(monkeypatch, FakeEngine(HostResult(host="rc", state=HostState.OK), outputs=outputs))
    strangers = ["192.0.2.9:5565", "[2001:db8::9]:5565"]
    assert main.run(["mesh", "status", "-i", "inv", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["relays"]["rc"]["strangers"] == strangers
    for options in ([], ["-o", "wide"]):
        assert main.run(["mesh", "status", "-i", "inv", *options]) == 0
        out = capsys.readouterr().out
        assert all(f"{stranger} is not in the inventory" in out for stranger in strangers)
        assert "10.77.2.1:5565 is not" not in out


def test_a_tunnels_addresses_are_no_strangers() -> None:
    mesh = read(make_description(lambda mesh: mesh.update(encryption="wireguard")))
    inside = {relay.ktcp_address or relay.ktcp_address6 for relay in over(mesh).relays.values()}
    outside = {relay.ktcp_address for relay in mesh.relays.values()}
    assert not inside & outside
    # Both keys: a relay may not have changed over yet.
    assert status.addresses(mesh) == inside | outside


def test_verify_within_a_limit_tries_the_paths_that_begin_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relays = Relays(read(make_description()))
    use(monkeypatch, relays)
    assert main.run(["mesh", "verify", "-i", "inv", "--limit", "rc"]) == 0
    assert [job.limit for job in relays.jobs] == ["rc", None]
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["web", "ok"]
    assert main.run(["mesh", "verify", "-i", "inv", "--limit", "rs", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["paths"] == {}


def test_a_plan_within_a_limit_is_about_its_relays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FakeEngine(OK))
    assert main.run(["mesh", "plan", "-i", "inv", "--limit", "rs", "-o", "json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["relays"]) == ["rs"]


def test_status_begins_with_a_verdict_on_each_relay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = "/proc/net/ktcp/stats:bytes_up_total 1234567\n/proc/net/ktcp/drain:on\n"
    outputs = {f"{status.READ_TASK} now": {"rc": {"stdout": PROCFS + more}, "rs": {"stdout": ""}}}
    hosts = [HostResult(host=name, state=HostState.OK) for name in ("rc", "rs")]
    use(monkeypatch, FakeEngine(*hosts, outputs=outputs))
    assert main.run(["mesh", "status", "-i", "inv"]) == 1
    head, rc, rs = (re.split(r"\s{2,}", line) for line in capsys.readouterr().out.splitlines())
    row = dict(zip(head, rc, strict=True))
    assert (row["VERDICT"], row["PEERS"], row["UP"]) == ("draining", "1/1 up", "1.2 MB")
    assert (rs[1], rs[-1]) == ("no module", "the module is not loaded")


def test_verdicts_on_relays() -> None:
    gone = status.RelayStatus(relay="rc", state=None, reason="timed out")
    assert (status.verdict(gone), status.row(gone)[-1]) == ("unknown", "timed out")
    text = PROCFS.replace("drain:on", "drain:off")
    state = procfs.parse(procfs.split_files(text))
    assert status.verdict(status.RelayStatus(relay="rc", state=state)) == "ok"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (250_000, "250 kB"), (4_718_087, "4.7 MB")],
)
def test_bytes_are_written_for_people(count: int, text: str) -> None:
    assert status.human(count) == text


def test_status_of_each_peer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {f"{status.READ_TASK} now": {"rc": {"stdout": PROCFS}}}
    use(monkeypatch, FakeEngine(HostResult(host="rc", state=HostState.OK), outputs=outputs))
    assert main.run(["mesh", "status", "-i", "inv", "--peers"]) == 0
    head, peer = (line.split() for line in capsys.readouterr().out.splitlines())
    row = dict(zip(head, peer, strict=True))
    assert (row["RELAY"], row["PEER"], row["HIT%"]) == ("rc", "10.77.2.1:5565", "62.5")
    assert (row["UP"], row["DOWN"]) == ("10", "2000")


def test_status_of_an_unreachable_relay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FakeEngine(GONE))
    assert main.run(["mesh", "status", "-i", "inv"]) == 4
    assert "timed out" in capsys.readouterr().out


def test_verify_checks_the_hosts_and_then_every_path(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    relays = Relays(read(make_description()))
    use(monkeypatch, relays)
    assert main.run(["mesh", "verify", "-i", "inv"]) == 0
    assert [job.playbook.name for job in relays.jobs] == ["verify.yml", "fetch.yml"]
    assert capsys.readouterr().out.splitlines()[-1].split()[:2] == ["web", "ok"]
    relays.after["rs"]["drain"] = "on\n"
    assert main.run(["mesh", "verify", "-i", "inv", "-o", "json"]) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["exit_code"] == 1
    assert data["paths"]["web"]["hop"] == "rs"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "--inventory" in text
    assert len(text.split("Options:")[0].split()) > 20


def test_a_dry_run_says_what_would_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FakeEngine(OK))
    assert main.run(["mesh", "remove", "-i", "inv", "--check"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "rc would change: Build",
        "rc would change: Load",
    ]


def test_a_plan_of_changes_asks_the_relays_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {f"{status.READ_TASK} now": {"rc": {"stdout": PROCFS}}}
    engine = FakeEngine(OK, outputs=outputs)
    use(monkeypatch, engine)
    assert main.run(["mesh", "plan", "-i", "inv", "--live", "--relay", "rc"]) == 0
    assert [(job.playbook.name, job.check, job.limit) for job in engine.jobs] == [
        ("status.yml", False, "rc"),
        ("site.yml", True, "rc"),
    ]
    text = capsys.readouterr().out.splitlines()
    assert text[0] == "rc: the 7 live splits go on"
    assert "  listeners    + add client 5557 untracked" in text
    assert text[-1] == "  task         Load"
    drift = ["--live", "--drift", "--relay", "rc", "-o", "json"]
    assert main.run(["mesh", "plan", "-i", "inv", *drift]) == 6
    data = json.loads(capsys.readouterr().out)
    assert (data["exit_code"], data["relays"]["rc"]["drifted"]) == (6, True)


def test_drift_is_of_relays_that_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "plan", "-i", "inv", "--drift"]) == 2
    assert "--live" in capsys.readouterr().err


def test_a_plan_of_changes_of_an_unreachable_relay(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, FakeEngine(GONE))
    assert main.run(["mesh", "plan", "-i", "inv", "--live", "--drift"]) == 4


def test_the_schema_is_the_committed_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs/mesh.schema.json").read_text()


@pytest.mark.parametrize(
    ("arguments", "word", "deadline"),
    [(["drain", "--deadline", "30"], "on", 30), (["drain"], "on", 0), (["undrain"], "off", 0)],
)
def test_drain_and_undrain(
    arguments: list[str], word: str, deadline: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = FakeEngine(OK)
    use(monkeypatch, engine)
    assert main.run(["mesh", *arguments, "-i", "inv", "--limit", "rc"]) == 0
    (job,) = engine.jobs
    assert (job.playbook.name, job.limit) == ("drain.yml", "rc")
    assert (job.variables["ktcp_drain"], job.variables["ktcp_drain_deadline"]) == (word, deadline)


OUTCOMES = [
    FakeEngine(OK),
    FakeEngine(OK, FAILED),
    FakeEngine(OK, GONE),
    FakeEngine(),
    FakeEngine(OK, complete=False, complaint="[ERROR]: bad play"),
    FakeEngine(OK, complete=False, canceled=True),
]


@pytest.mark.parametrize(
    "command", [*COMMANDS[:-1], "remove --yes", "plan --live", "plan --live --drift", "history"]
)
@pytest.mark.parametrize("engine", OUTCOMES)
def test_the_exit_code_in_json_is_the_exit_code(
    command: str,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(monkeypatch, engine)
    monkeypatch.setattr(workers, "make_engine", lambda: engine)
    monkeypatch.setattr(probe, "resolve", tuple)
    code = main.run(["mesh", *command.split(), "-i", "inv", "-o", "json"])
    assert json.loads(capsys.readouterr().out)["exit_code"] == code
    assert main.run(["mesh", *command.split(), "-i", "inv"]) == code


def test_an_error_is_data_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(monkeypatch, FakeEngine(OK))
    monkeypatch.setattr(hosts, "hosts_of", lambda _job: [])
    for command in ("status", "drain", "undrain", "remove --yes", "plan", "verify"):
        arguments = ["mesh", *command.split(), "-i", "inv", "--limit", "nosuch"]
        assert main.run([*arguments, "-o", "json"]) == 2
        data = json.loads(capsys.readouterr().out)
        assert data["exit_code"] == 2
        assert "--limit nosuch: selects no " in data["error"]
        assert main.run(arguments) == 2
        assert capsys.readouterr().out == ""


def test_a_plan_of_changes_names_relays_that_were_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = {f"{status.READ_TASK} now": {"rc": {"stdout": PROCFS}}}
    use(monkeypatch, FakeEngine(HostResult(host="rc", state=HostState.OK), GONE, outputs=outputs))
    assert main.run(["mesh", "plan", "-i", "inv", "--live"]) == 4
    lines = capsys.readouterr().out.splitlines()
    assert "rc: the 7 live splits go on" in lines
    assert lines[-1] == "rs: unknown: it was not asked: timed out"
    use(monkeypatch, FakeEngine(OK, canceled=True, complete=False))
    assert main.run(["mesh", "plan", "-i", "inv", "--live"]) == 130
    assert "rs: unknown: it was not asked: the run did not come to it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "removed"), [("y", True), ("yes ", True), ("", False), ("n", False)]
)
def test_remove_asks_first(
    answer: str,
    removed: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine = FakeEngine(OK)
    use(monkeypatch, engine)
    terminal = io.StringIO(f"{answer}\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    assert main.run(["mesh", "remove", "-i", "inv"]) == (0 if removed else 2)
    assert [job.playbook.name for job in engine.jobs] == ["teardown.yml"] * removed
    said = capsys.readouterr()
    assert "Remove KTCP from all 2 relays" in said.out + said.err
    assert ("nothing was removed" in said.err) is not removed


def test_remove_is_refused_where_nobody_can_be_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = FakeEngine(OK)
    use(monkeypatch, engine)
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main.run(["mesh", "remove", "-i", "inv", "--limit", "rc"]) == 2
    assert engine.jobs == []
    assert "--yes" in capsys.readouterr().err
