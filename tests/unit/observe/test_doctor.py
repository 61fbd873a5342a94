# SPDX-License-Identifier: GPL-2.0-only
"""The doctor's judgement: a healthy relay has no finding, each fault has its own."""

import copy
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from ktcp_ops import __version__
from ktcp_ops.cli import main
from ktcp_ops.mesh.diagnosis import doctor
from ktcp_ops.mesh.diagnosis.finding import Finding
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import Mesh
from ktcp_ops.mesh.observation.status import READ_TASK
from ktcp_ops.mesh.relay.plan import plan
from ktcp_ops.run.reporter import Silent
from ktcp_ops.run.result import HostResult, HostState
from tests.unit.mesh.conftest import RELAYS, make_description
from tests.unit.observe.conftest import Answers, result

Facts = dict[str, Any]
Spoil = Callable[[Facts], object]

KERNEL = "6.12.57+deb13-amd64"
PEER = "10.77.2.2"
LINK = {"mtu": 1500, "rp_filter": 2, "accept_ra": 1}


def transparent(mesh: dict[str, Any]) -> None:
    """A path whose last relay, rs, speaks as the client."""
    mesh["paths"][0].update(transparent=True, destinations=["10.77.3.0/24"])


def mesh_of(spoil: Callable[[dict[str, Any]], None] | None = None) -> Mesh:
    relays = copy.deepcopy(RELAYS)
    relays["rs"]["ktcp_inside_interface"] = "eth1"
    return read(make_description(spoil, relays=relays))


def healthy(relay: str = "rc") -> Facts:
    """The facts of a healthy relay."""
    own = RELAYS[relay]["ktcp_address"]
    (peer,) = (one["ktcp_address"] for name, one in RELAYS.items() if name != relay)
    way = {"dev": "eth0", "src": own}
    return {
        "running": KERNEL,
        "kernels": [{"release": KERNEL, "headers": True, "srcversion": "ABC", "signer": "DKMS"}],
        "loaded": "ABC",
        "secure_boot": True,
        "sysctls": {
            "net.ipv4.ip_forward": 1,
            "net.ipv6.conf.all.forwarding": 1,
            "net.ipv4.conf.all.rp_filter": 0,
            "net.ipv4.tcp_fastopen": 3,
            "net.netfilter.nf_conntrack_max": 65536,
            "net.netfilter.nf_conntrack_count": 12,
        },
        "interfaces": {"eth0": dict(LINK), "eth1": dict(LINK)},
        "default6": "",
        "counters": {"rp_filter_drops": 0, "conntrack_drops": 0},
        "synchronized": "yes",
        "time": time.time(),
        "services": {"ktcp.service": "active", "ktcp-steering.service": "active"},
        "configuration": {"code": 0, "lines": []},
        "rules": {"code": 0, "lines": []},
        "cloud": None,
        "metadata_status": None,
        "peers": {
            peer: {"route": way, "mtu": 1500, "arrives": 1500, "learned": None, "refusal": ""}
        },
        "targets": {"10.77.3.1": way, "fd77:0:0:3::1": way},
    }


def state(mesh: Mesh, relay: str, **files: str) -> str:
    """The output of grep on a relay with the planned state, except for some files."""
    conf = plan(mesh)[relay]["conf"]
    texts = {name: "".join(f"{line}\n" for line in lines) for name, lines in conf.items()}
    texts["settings"] += "max_splits 10000\n"
    texts |= {"version": f"module {__version__}\n", **files}
    return "".join(
        f"/proc/net/ktcp/{name}:{line}\n"
        for name, text in texts.items()
        for line in text.splitlines()
    )


def findings(
    spoil: Spoil | None = None,
    *,
    relay: str = "rc",
    mesh: Mesh | None = None,
    cloud: dict[str, object] | None = None,
    **files: str,
) -> tuple[Finding, ...]:
    """The findings on a relay after ``spoil`` has changed its facts."""
    mesh = mesh or mesh_of()
    facts = healthy(relay)
    if spoil:
        spoil(facts)
    said: dict[str, dict[str, dict[str, Any]]] = {
        f"{READ_TASK} now": {relay: {"stdout": state(mesh, relay, **files)}},
        doctor.EXAMINE_TASK: {relay: {"stdout": json.dumps(facts)}},
        doctor.CLOUD_TASK: {relay: {"msg": cloud or {}}},
    }
    _, (diagnosis,) = doctor.examine(
        engine=Answers(result(said)),
        reporter=Silent(),
        mesh=mesh,
        inventories=["inv"],
        limit=None,
    )
    assert diagnosis.reason == ""
    return diagnosis.findings


def test_nothing_is_found_on_healthy_relays() -> None:
    for relay in RELAYS:
        assert findings(relay=relay) == ()
        assert findings(relay=relay, mesh=mesh_of(transparent)) == ()


def put(facts: Facts, *path: str | int, value: object) -> None:
    """Set a value deep in the facts."""
    *way, last = path
    place: Any = facts
    for step in way:
        place = place[step]
    place[last] = value


def setting(*path: str | int, value: object) -> Spoil:
    return lambda facts: put(facts, *path, value=value)


def clock_off(seconds: float) -> Spoil:
    """Set the clock when the test runs: a long test run must not change the difference."""
    return lambda facts: put(facts, "time", value=time.time() + seconds)


def both(*spoils: Spoil) -> Spoil:
    return lambda facts: [spoil(facts) for spoil in spoils]


OTHER = {"release": "6.1.0-44-amd64", "headers": False, "srcversion": None, "signer": None}

FAULTS: list[tuple[Spoil, list[tuple[str, str, str]]]] = [
    (
        lambda facts: facts["kernels"].append(OTHER),
        [
            ("warning", "kernel", "6.1.0-44-amd64 has no module"),
            ("warning", "headers", "6.1.0-44-amd64 has no headers"),
        ],
    ),
    (
        lambda facts: facts["kernels"].append({**OTHER, "release": "5.10.0-1-amd64"}),
        [("warning", "kernel", "5.10.0-1-amd64 is not supported by KTCP")],
    ),
    (
        setting("kernels", 0, "srcversion", value=None),
        [("error", "kernel", f"{KERNEL} has no module")],
    ),
    (setting("loaded", value=None), [("error", "module", "not loaded")]),
    (setting("loaded", value="OLD"), [("drift", "module", "OLD is loaded, ABC is installed")]),
    (setting("kernels", 0, "signer", value=None), [("error", "secure boot", "not signed")]),
    (
        both(setting("kernels", 0, "signer", value=None), setting("secure_boot", value=None)),
        [],
    ),
    (
        setting("services", "ktcp-steering.service", value="failed"),
        [("error", "services", "ktcp-steering.service is failed")],
    ),
    (
        setting("configuration", value={"code": 6, "lines": ["listeners: add client 5557"]}),
        [("drift", "configuration", "ktcp-apply --check: listeners: add client 5557")],
    ),
    (
        setting("rules", value={"code": 1, "lines": [f"line {n}" for n in range(9)]}),
        [("error", "rules", "line 4; and 4 more")],
    ),
    (setting("rules", value={"code": None, "lines": []}), [("error", "rules", "not installed")]),
    (
        setting("sysctls", "net.ipv4.ip_forward", value=0),
        [("error", "forwarding", "net.ipv4.ip_forward is 0")],
    ),
    (
        setting("sysctls", "net.ipv6.conf.all.forwarding", value=0),
        [("error", "forwarding", "net.ipv6.conf.all.forwarding is 0")],
    ),
    (
        both(
            setting("sysctls", "net.ipv4.conf.all.rp_filter", value=1),
            setting("interfaces", "eth0", "rp_filter", value=0),
            setting("counters", "rp_filter_drops", value=7),
        ),
        [("warning", "rp_filter", "strict on eth0; 7 packets")],
    ),
    (
        both(
            setting("interfaces", "eth0", "rp_filter", value=1),
            setting("interfaces", "eth1", "rp_filter", value=1),
        ),
        [("hint", "rp_filter", "strict on eth0, eth1")],
    ),
    (
        setting("sysctls", "net.netfilter.nf_conntrack_count", value=60000),
        [("error", "conntrack", "60000 of 65536")],
    ),
    (
        setting("counters", "conntrack_drops", value=3),
        [("warning", "conntrack", "3 packets were dropped")],
    ),
    (
        setting("sysctls", "net.netfilter.nf_conntrack_max", value=16384),
        [("warning", "conntrack", "16384 entries for up to 10000 splits")],
    ),
    (clock_off(-3600), [("warning", "clock", "differ by 3")]),
    (clock_off(3600), [("warning", "clock", "differ by 3")]),
    (setting("synchronized", value="no"), [("hint", "clock", "nothing keeps it right")]),
    (
        setting("default6", value="default via fe80::1 dev eth0 proto ra metric 1024"),
        [("warning", "ipv6", "accept_ra of eth0 is 1")],
    ),
    (
        both(
            setting("default6", value="default via fe80::1 dev eth0 proto ra metric 1024"),
            setting("interfaces", "eth0", "accept_ra", value=2),
        ),
        [],
    ),
    (setting("peers", PEER, "route", value=None), [("error", "route", f"to the peer {PEER}")]),
    (
        setting("peers", PEER, "refusal", value="[Errno 111] Connection refused"),
        [("error", "peer", "Connection refused")],
    ),
    (setting("peers", PEER, "arrives", value=None), [("hint", "mtu", "answers no ping")]),
    (
        setting("peers", PEER, "arrives", value=1400),
        [("warning", "mtu", "packets of 1500 bytes do not arrive")],
    ),
    (
        both(
            setting("peers", PEER, "arrives", value=1400),
            setting("peers", PEER, "learned", value=1420),
        ),
        [],
    ),
    (setting("targets", "10.77.3.1", value=None), [("error", "route", "no route to 10.77.3.1")]),
    (setting("cloud", value="azure"), [("hint", "cloud", "IP forwarding of its NIC")]),
    (
        both(setting("cloud", value="aws"), setting("metadata_status", value=200)),
        [("warning", "cloud", "without a token"), ("hint", "cloud", "source/destination check")],
    ),
]


@pytest.mark.parametrize(("spoil", "expected"), FAULTS)
def test_a_fault_has_its_findings(spoil: Spoil, expected: list[tuple[str, str, str]]) -> None:
    found = findings(spoil)
    assert [(one.severity, one.check) for one in found] == [(s, c) for s, c, _ in expected]
    for finding, (_, _, words) in zip(found, expected, strict=True):
        assert words in finding.seen
        assert finding.meaning
        assert finding.fix


def test_a_transparent_exit_must_not_filter_by_the_return_route() -> None:
    strict = setting("interfaces", "eth1", "rp_filter", value=1)
    (finding,) = findings(strict, relay="rs", mesh=mesh_of(transparent))
    assert (finding.severity, finding.seen) == ("error", "rp_filter is strict on eth1")
    assert findings(strict, relay="rs") == ()


def test_an_exit_need_not_forward() -> None:
    assert findings(setting("sysctls", "net.ipv4.ip_forward", value=0), relay="rs") == ()


@pytest.mark.parametrize(
    ("name", "said", "severities"),
    [
        ("aws", {"aws": True, "gcp": None}, ["error"]),
        ("aws", {"aws": False}, []),
        ("gcp", {"gcp": False}, ["error"]),
        ("gcp", {"gcp": True}, []),
        ("gcp", {"gcp": "true"}, ["hint"]),
        ("azure", {"aws": False}, ["hint"]),
    ],
)
def test_what_the_clouds_inventory_knows(
    name: str, said: dict[str, object], severities: list[str]
) -> None:
    cloud = setting("cloud", value=name)
    assert [finding.severity for finding in findings(cloud, cloud=said)] == severities
    # This exit sends only from its own address.
    assert findings(cloud, relay="rs", cloud=said) == ()


def test_what_differs_from_the_mesh_is_drift() -> None:
    (finding,) = findings(listeners="add relay 5565\n")
    assert (finding.severity, finding.check) == ("drift", "mesh")
    assert finding.seen == "listeners: + add client 5557 untracked"
    (finding,) = findings(version="module 0.0.1\n")
    assert (finding.severity, finding.check) == ("drift", "module")


@pytest.mark.parametrize(("word", "found"), [("on", 1), ("off", 0)])
def test_fast_open_is_for_early_syn(word: str, found: int) -> None:
    def without(mesh: dict[str, Any]) -> None:
        mesh["settings"] = {}

    closed = setting("sysctls", "net.ipv4.tcp_fastopen", value=1)
    settings = f"early_syn {word}\nsource4 10.77.2.1\n"
    seen = findings(closed, mesh=mesh_of(without), settings=settings)
    assert [finding.check for finding in seen] == ["fast open"] * found


def test_cookies_for_all_are_not_for_untracked_flows() -> None:
    always = setting("sysctls", "net.ipv4.tcp_syncookies", value=2)
    relays = copy.deepcopy(RELAYS)
    relays["rc"]["ktcp_interception"] = "redirect"
    (finding,) = findings(always)
    assert (finding.severity, finding.check) == ("error", "syn cookies")
    assert findings(always, mesh=read(make_description(relays=relays))) == ()


def test_each_relay_is_asked_for_routes_to_its_own_targets() -> None:
    targets = ["10.77.3.1", "fd77:0:0:3::1"]
    assert doctor.targets(mesh_of()) == {"rc": targets, "rs": targets}

    def service(mesh: dict[str, Any]) -> None:
        mesh["paths"][0].pop("destinations")
        mesh["paths"][0].pop("ports")
        mesh["paths"][0].pop("probe")
        mesh["paths"][0]["service"] = {"port": 8080, "target": "10.77.3.2:80"}

    assert doctor.targets(mesh_of(service)) == {"rs": ["10.77.3.2"]}


def outputs(spoil: Spoil | None = None, **files: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Both relays' answers, rc's spoilt."""
    mesh = read(make_description())
    facts = {"rc": healthy("rc"), "rs": healthy("rs")}
    if spoil:
        spoil(facts["rc"])
    texts = {"rc": state(mesh, "rc", **files), "rs": state(mesh, "rs")}
    return {
        f"{READ_TASK} now": {name: {"stdout": text} for name, text in texts.items()},
        doctor.EXAMINE_TASK: {name: {"stdout": json.dumps(some)} for name, some in facts.items()},
    }


@pytest.mark.parametrize(
    ("spoil", "files", "code"),
    [
        (None, {}, 0),
        (setting("synchronized", value="no"), {}, 0),
        (setting("peers", PEER, "arrives", value=1400), {}, 0),
        (None, {"listeners": ""}, 6),
        (setting("loaded", value=None), {"listeners": ""}, 1),
    ],
    ids=["healthy", "hint", "warning", "drift", "error and drift"],
)
def test_the_exit_code_is_of_the_worst_finding(
    spoil: Spoil | None, files: dict[str, str], code: int, use: Callable[..., Answers]
) -> None:
    use(result(outputs(spoil, **files)))
    assert main.run(["doctor", "-i", "inv"]) == code


def test_findings_are_three_lines_each(
    use: Callable[..., Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    engine = use(result(outputs(setting("loaded", value=None))))
    assert main.run(["doctor", "-i", "inv", "--limit", "rc,rs"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rc: error: module: the module is not loaded"
    assert lines[1].startswith("  means  ")
    assert lines[2].startswith("  fix    ")
    assert lines[3:] == ["rs: nothing is wrong"]
    (job,) = engine.jobs
    assert (job.playbook.name, job.limit, job.check) == ("doctor.yml", "rc,rs", False)
    assert set(job.variables["ktcp_targets"]) == {"rc", "rs"}


def test_findings_as_data(use: Callable[..., Answers], capsys: pytest.CaptureFixture[str]) -> None:
    use(result(outputs(setting("loaded", value="OLD"))))
    assert main.run(["doctor", "-i", "inv", "-o", "json"]) == 6
    data = json.loads(capsys.readouterr().out)
    assert data["exit_code"] == 6
    assert data["relays"]["rs"] == {"reason": None, "findings": []}
    (finding,) = data["relays"]["rc"]["findings"]
    assert set(finding) == {"check", "severity", "seen", "meaning", "fix"}
    assert finding["severity"] == "drift"


def test_an_unreachable_relay_wins(
    use: Callable[..., Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    gone = HostResult(host="rs", state=HostState.UNREACHABLE, message="timed out")
    said = {task: {"rc": hosts["rc"]} for task, hosts in outputs().items()}
    use(result(said, gone))
    assert main.run(["doctor", "-i", "inv"]) == 4
    assert "rs: not examined: timed out" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["[]", '{"running": 6}', "Traceback"])
def test_an_answer_that_is_not_understood_is_a_failure(
    answer: str, use: Callable[..., Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    said = outputs()
    said[doctor.EXAMINE_TASK]["rc"]["stdout"] = answer
    use(result(said))
    assert main.run(["doctor", "-i", "inv"]) == 1
    assert "rc: not examined: its answer is not understood" in capsys.readouterr().out
