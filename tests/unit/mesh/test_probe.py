# SPDX-License-Identifier: GPL-2.0-only
"""Measured round trips: which are requested, which are kept, and how they are used."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktcp_ops.cli import main, workers
from ktcp_ops.errors import ExitCode
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.latency import Latency, load
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation import probe
from ktcp_ops.mesh.observation.probe import MEASURE_TASK, RoundTrip, update, wanted
from ktcp_ops.mesh.relay.tunnel import tunnel_address
from ktcp_ops.run import hosts
from ktcp_ops.run.engine import LocalEngine
from ktcp_ops.run.environment import playbook
from ktcp_ops.run.job import Job
from ktcp_ops.run.reporter import Silent
from ktcp_ops.run.result import HostResult, HostState, RunResult
from tests.unit.mesh.conftest import make_description, one_mesh
from tests.unit.mesh.test_cli import FakeEngine

RELAYS = {
    "rc": {"ktcp_address": "10.77.2.1"},
    "rs": {"ktcp_address": "10.77.2.2", "ktcp_address6": "fd77::2"},
    "rx": {"ktcp_address": "10.77.2.3"},
}


def automatic(mesh: dict[str, Any]) -> None:
    """Let the small mesh's path choose among two exits."""
    mesh["paths"][0] |= {"via": "auto", "exits": ["rs", "rx"]}
    mesh["exits"]["rx"] = mesh["exits"]["rs"]


@pytest.fixture
def auto(tmp_path: Path) -> Mesh:
    description = make_description(automatic, relays=RELAYS)
    return read(replace(description, latency=str(tmp_path / "latency.txt")))


def result_of(**outputs: object) -> RunResult:
    """Make the result of a run whose hosts printed something."""
    hosts = [HostResult(host=name, state=HostState.OK, ok=1) for name in outputs]
    said = {name: {"stdout": json.dumps(output)} for name, output in outputs.items()}
    return RunResult(hosts=tuple(hosts), complete=True, outputs={MEASURE_TASK: said})


MEASURED = {
    "rc": [
        ["10.77.2.2:5565", 215000, "pool", 40000, 50],
        ["10.77.2.3:5565", 90000, "ping", 100, 0],
    ],
    "rs": [
        ["10.77.2.1:5565", 214000, "pool", 2000, 0],
        ["10.77.2.3:5565", None, "", 0, 0],
        ["10.77.3.2:80", 26000, "tcp", 0, 0],
    ],
    "rx": [["[fd77::2]:5565", 40000, "pool", 0, 0], ["10.77.3.2:80", 99000, "ping", 0, 0]],
    "client": [["10.77.2.1", 32000, "ping", 0, 0], ["10.77.3.2", 280000, "ping", 0, 0]],
}


def trips() -> tuple[RoundTrip, ...]:
    mesh = read(make_description(automatic, relays=RELAYS))
    return tuple(probe.round_trips(mesh, result_of(**MEASURED)))


def test_what_hosts_measure_beside_their_peers(auto: Mesh) -> None:
    assert wanted(auto) == {
        "client": ["host 10.77.2.1", "host 10.77.3.2"],
        "rs": ["target 10.77.3.2:80"],
        "rx": ["target 10.77.3.2:80"],
    }


def test_a_path_with_a_service_or_one_destination_has_a_target() -> None:
    def spoil(mesh: dict[str, Any]) -> None:
        del mesh["paths"][0]["probe"]
        service = {"port": 8080, "target": "[fd77:0:0:3::2]:993"}
        mesh["paths"].append({"name": "mail", "ingress": "rc", "via": ["rs"], "service": service})
        mesh["paths"].append(
            {"name": "one", "ingress": "rs", "destinations": ["10.77.3.9", "10.77.3.16/28"]}
        )

    assert wanted(read(make_description(spoil))) == {
        "rs": ["target 10.77.3.9:443", "target [fd77:0:0:3::2]:993"]
    }


def test_ends_are_named(auto: Mesh) -> None:
    found = {(trip.source, trip.destination): trip.rtt_us for trip in trips()}
    assert found == {
        ("client", "rc"): 32000,
        ("client", "10.77.3.2"): 280000,
        ("rc", "rs"): 215000,
        ("rc", "rx"): 90000,
        ("rs", "rc"): 214000,
        ("rs", "rx"): None,
        ("rs", "10.77.3.2"): 26000,
        ("rx", "rs"): 40000,
        ("rx", "10.77.3.2"): 99000,
    }
    assert tuple(probe.round_trips(auto, RunResult(hosts=(), complete=True))) == ()


def test_ends_are_named_by_their_tunnel_addresses(auto: Mesh) -> None:
    encrypted = auto.model_copy(update={"encryption": "wireguard"})
    address = tunnel_address(encrypted, "rs")
    (trip,) = probe.round_trips(
        encrypted, result_of(rc=[[f"[{address}]:5565", 215000, "pool", 0, 0]])
    )
    assert trip.destination == "rs"


@pytest.mark.parametrize("rtt", [0, -5, 60_000_001])
def test_nonsense_is_no_answer(auto: Mesh, rtt: int) -> None:
    (trip,) = probe.round_trips(auto, result_of(rc=[["10.77.2.2:5565", rtt, "ping", 0, 0]]))
    assert trip.rtt_us is None


def test_the_shorter_direction_counts_and_ways_are_chosen(auto: Mesh) -> None:
    latency = update(auto, trips())
    assert latency.rtt("rc", "rs") == 214000
    assert latency.rtt("rs", "rx") == 40000
    assert latency.ways == {"web": ("rc", "rx", "rs")}
    assert latency.path == auto.latency.path


@pytest.mark.parametrize(("sent", "lost"), [(100, 101), (100, -1), (-2, -1)])
def test_nonsense_is_no_loss(auto: Mesh, sent: int, lost: int) -> None:
    (trip,) = probe.round_trips(auto, result_of(rc=[["10.77.2.2:5565", 9, "ping", sent, lost]]))
    assert (trip.rtt_us, trip.loss_ppm) == (9, None)


def test_the_larger_loss_of_both_directions_counts(auto: Mesh) -> None:
    assert update(auto, trips()).losses == {"rc": {"rs": 1250}}


def test_a_loss_stays_until_it_is_measured_again_or_there_is_no_answer(auto: Mesh) -> None:
    def later(*found: RoundTrip) -> object:
        return update(mesh, found).losses

    known = {"rc": {"rs": 1000, "gone": 3}}
    before = Latency("f", rtts={"rc": {"rs": 9}}, losses=known)
    mesh = auto.model_copy(update={"latency": before})
    assert later() == later(RoundTrip("rc", "rs", 9, "pool")) == {"rc": {"rs": 1000}}
    assert later(RoundTrip("rs", "rc", 9, "pool", 1000, 2)) == {"rc": {"rs": 2000}}
    assert later(RoundTrip("rc", "rs", 9, "ping", 100, 0)) == {}
    assert later(RoundTrip("rc", "rs", None, "")) == {}


def test_what_was_not_asked_stays_and_what_did_not_answer_goes(auto: Mesh) -> None:
    old = {"rc": {"rs": 1, "rx": 2, "gone": 3}, "10.77.3.2": {"rs": 4, "x": 5}, "client": {"rc": 6}}
    mesh = auto.model_copy(update={"latency": Latency("f", rtts=old)})
    latency = update(mesh, [RoundTrip("rc", "rs", None, ""), RoundTrip("rs", "rx", 7, "ping")])
    assert latency.rtts == {
        "rc": {"rx": 2},
        "10.77.3.2": {"rs": 4},
        "client": {"rc": 6},
        "rs": {"rx": 7},
    }


def use(monkeypatch: pytest.MonkeyPatch, mesh: Mesh, result: RunResult) -> FakeEngine:
    """Give the commands a mesh, and an engine with one result."""
    engine = FakeEngine()
    engine.result = result

    def give(_names: Sequence[str]) -> Mesh:
        return mesh

    monkeypatch.setattr(inventory, "load_all", one_mesh(give))
    monkeypatch.setattr(probe, "resolve", tuple)
    monkeypatch.setattr(workers, "make_engine", lambda: engine)
    monkeypatch.setattr(hosts, "hosts_of", lambda _job: ["rc", "rs"])
    return engine


def test_probe_shows_and_keeps(
    auto: Mesh, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = use(monkeypatch, auto, result_of(**MEASURED))
    assert main.run(["mesh", "probe", "-i", "inv", "--limit", "relays", "--fresh"]) == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert ["rc", "rs", "215.000", "pool", "0.12%", "of", "40000"] in rows
    assert ["rc", "rx", "90.000", "ping", "0.00%", "of", "100"] in rows
    assert ["rs", "rx", "-", "no", "answer", "-"] in rows
    assert rows[-1] == ["web", "rc,rx,rs", "130.000", "rc,rs"]
    assert f"written: {auto.latency.path}" in said.err
    assert load(auto.latency.path).ways == {"web": ("rc", "rx", "rs")}
    (job,) = engine.jobs
    assert (job.playbook.name, job.limit) == ("probe.yml", "relays")
    assert job.variables["ktcp_fresh"] is True
    assert job.variables["ktcp_round_trips"] == wanted(auto)


def test_a_probe_of_a_mesh_that_was_measured_before(
    auto: Mesh, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    update(auto, trips()).save()
    description = make_description(automatic, relays=RELAYS)
    again = read(replace(description, latency=auto.latency.path))
    use(monkeypatch, again, result_of(**MEASURED))
    assert main.run(["mesh", "probe", "-i", "inv", "-o", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["ways"]["web"] == {
        "path": "web",
        "relays": ["rc", "rx", "rs"],
        "before": ["rc", "rx", "rs"],
        "rtt_us": 130000,
    }
    assert len(data["round_trips"]) == 9
    assert [trip for trip in data["round_trips"] if trip["source"] == "rs"][:2] == [
        {
            "source": "rs",
            "destination": "rc",
            "rtt_us": 214000,
            "how": "pool",
            "sent": 2000,
            "lost": 0,
            "loss_ppm": 0,
        },
        {
            "source": "rs",
            "destination": "rx",
            "rtt_us": None,
            "how": "",
            "sent": 0,
            "lost": 0,
            "loss_ppm": None,
        },
    ]
    assert main.run(["mesh", "probe", "-i", "inv"]) == 0
    assert capsys.readouterr().out.endswith("the same\n")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (result_of(), 1),
        (result_of(rc=[]), 1),
        (RunResult(hosts=(), canceled=True, complete=False), 130),
    ],
)
def test_nothing_is_kept_of_nothing(
    auto: Mesh, result: RunResult, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, auto, result)
    assert main.run(["mesh", "probe", "-i", "inv"]) == code
    assert not Path(auto.latency.path).exists()


def test_a_dry_run_keeps_nothing(auto: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, auto, result_of(**MEASURED))
    assert main.run(["mesh", "probe", "-i", "inv", "--check"]) == 0
    assert not Path(auto.latency.path).exists()


def test_what_was_measured_is_kept_though_a_relay_is_unreachable(
    auto: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = HostResult(host="rs", state=HostState.UNREACHABLE)
    result = result_of(rc=MEASURED["rc"])
    use(monkeypatch, auto, replace(result, hosts=(*result.hosts, lost)))
    assert main.run(["mesh", "probe", "-i", "inv"]) == 4
    assert load(auto.latency.path).rtt("rc", "rx") == 90000


def test_the_playbook_has_hosts_measure_their_peers_and_more(tmp_path: Path) -> None:
    """With a real Ansible, on this host, which plays all roles."""
    peers = [f"add 127.0.0.{number}:5565 low 1 high 2 key 1" for number in (1, 2)]
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    relay = {**local, "ansible_become": False, "ktcp_node": {"conf": {"peers": peers}}}
    groups = {"relays": {"hosts": {"ra": relay}}, "edges": {"hosts": {"client": local}}}
    hosts = tmp_path / "hosts.yml"
    hosts.write_text(yaml.safe_dump({"all": {"children": groups}}))
    lines = {"client": ["target 127.0.0.3:9"], "ra": ["target 127.0.0.4:9"]}
    job = Job(
        title="probe",
        playbook=playbook("probe.yml"),
        inventories=(str(hosts),),
        variables={"ktcp_relays_group": "relays", "ktcp_round_trips": lines},
        keep=frozenset({MEASURE_TASK}),
    )
    result = LocalEngine().run(job, Silent())
    assert result.exit_code is ExitCode.OK, result
    said = {
        host: [(where, bool(rtt)) for where, rtt, *_ in json.loads(output["stdout"])]
        for host, output in result.outputs[MEASURE_TASK].items()
    }
    assert said == {
        "ra": [("127.0.0.1:5565", True), ("127.0.0.2:5565", True), ("127.0.0.4:9", True)],
        "client": [("127.0.0.3:9", True)],
    }


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["mesh", "probe", "--help"]) == 0
    assert "latency.txt" in capsys.readouterr().out
