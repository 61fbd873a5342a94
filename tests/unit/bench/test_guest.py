# SPDX-License-Identifier: GPL-2.0-only
"""The guest's program, with commands that are recorded instead of run."""

import contextlib
import hashlib
import json
import os
import pty
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ktcp_testbed.bench.guest import (
    cost,
    downloads,
    holder,
    ktcp,
    micro,
    namespace,
    network,
    server,
    ways,
)
from ktcp_testbed.bench.guest.channel import Channel
from ktcp_testbed.bench.guest.job import Job
from ktcp_testbed.bench.guest.namespace import CommandError, Namespace
from ktcp_testbed.bench.guest.network import Network
from ktcp_testbed.bench.plan import Wishes, make

JOB = make(Wishes(sizes=("10k",), runs=2)).job


class Recorder:
    """Answers commands by the first key that they contain, and keeps them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.inputs: list[str] = []
        self.answers: dict[str, str] = {}

    def __call__(self, command: Sequence[str], *, stdin: str = "", timeout: float = 1) -> str:
        assert timeout > 0
        line = " ".join(command)
        self.lines.append(line)
        self.inputs.append(f"{line.partition(' sh -c cat >')[2]}: {stdin}" if stdin else "")
        return next((text for key, text in self.answers.items() if key in line), "")

    def having(self, *words: str) -> list[str]:
        return [line for line in self.lines if all(word in line for word in words)]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    found = Recorder()
    for module in (namespace, network, ways, ktcp):
        monkeypatch.setattr(module, "run", found)
    return found


def build(recorder: Recorder, job: Job = JOB) -> Network:
    net = Network(job)
    net.build()
    net.delay()
    assert recorder.lines
    return net


def test_the_chain_of_the_paper(recorder: Recorder) -> None:
    net = build(recorder)
    assert [host.name for host in net.hosts] == ["c", "rc", "rs", "s"]
    assert net.server_address == "10.77.3.2"
    assert net.direct_address == "10.77.99.2"
    assert net.entry(0) == "10.77.1.2"
    assert net.entry(1) == "10.77.2.2"
    assert recorder.having("-n c route add 10.77.3.0/24 via 10.77.1.2")
    assert recorder.having("-n rs route add 10.77.1.0/24 via 10.77.2.1")
    assert recorder.having("-n rc route add 10.77.3.0/24 via 10.77.2.2")
    assert recorder.having("tc -n rc", "dev to-rs", "netem delay 107500us limit 100000")
    assert recorder.having("tc -n s", "dev to-c-x", "netem delay 136850us")


def test_more_relays_of_another_family(recorder: Recorder) -> None:
    job = replace(JOB, legs_ms=(10.0, 20.0, 20.0, 5.0), family="ipv6")
    net = build(recorder, job)
    assert [host.name for host in net.hosts] == ["c", "rc", "m1", "rs", "s"]
    assert net.server_address == "fd77:0:0:4::2"
    assert recorder.having("-n m1 route add fd77:0:0:4::/64 via fd77:0:0:3::2")
    assert recorder.having("addr add fd77:0:0:2::1/64", "nodad")


def test_one_relay() -> None:
    net = Network(replace(JOB, legs_ms=(10.0, 20.0)))
    assert [host.name for host in net.hosts] == ["c", "rc", "s"]


def test_loss_is_on_the_clients_leg_alone(recorder: Recorder) -> None:
    build(recorder, replace(JOB, loss_percent=1.0, bandwidth_mbit=50.0))
    lossy = recorder.having("netem", "loss 1%")
    assert len(lossy) == 4  # the client's leg and the direct path, both ends
    assert len(recorder.having("netem", "rate 50mbit")) == 8


def test_dnat_at_each_relay(recorder: Recorder) -> None:
    net = build(recorder)
    with ways.translated(net) as place:
        assert place == ("10.77.1.2", 9000)
        assert recorder.having("exec rc iptables", "DNAT --to-destination 10.77.2.2:9000")
        assert recorder.having("exec rs iptables", "DNAT --to-destination 10.77.3.2:80")
        assert not recorder.having("-F")
    assert len(recorder.having("-t nat -F")) == 2


@pytest.mark.parametrize(
    ("way", "wanted"),
    [
        ("haproxy", ["haproxy -db -f", "haproxy -db -f"]),
        ("haproxy-splice", ["haproxy -db -f", "haproxy -db -f"]),
        ("nginx", ["nginx -c", "nginx -c"]),
        ("socat", ["TCP:10.77.2.2:9000,nodelay", "TCP:10.77.3.2:80,nodelay"]),
        ("envoy", ["envoy -c envoy.json --concurrency 1"] * 2),
        ("sockmap", ["sockmap 9000 10.77.2.2 9000", "sockmap 9000 10.77.3.2 80"]),
        ("ssh-warm", ["/usr/sbin/sshd -D", "-N -L *:9000:10.77.3.2:80 10.77.2.2"]),
    ],
)
def test_relays_in_user_space(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, way: str, wanted: list[str]
) -> None:
    started: list[str] = []

    def start(_: Namespace, command: Sequence[str]) -> subprocess.Popen[bytes]:
        started.append(" ".join(command))
        return subprocess.Popen(["sleep", "600"], start_new_session=True)

    kept: dict[str, str] = {}

    def configuration(relay: Namespace, name: str, text: str) -> str:
        kept[relay.name] = text
        return name

    monkeypatch.setattr(Namespace, "start", start)
    monkeypatch.setattr(ways, "configuration", configuration)
    monkeypatch.setattr(ways, "prepare_ssh", lambda: None)
    recorder.answers["ss -Hltn"] = "LISTEN"
    with ways.WAYS[way](build(recorder)) as place:
        assert place == ("10.77.1.2", 9000)
        assert len(started) == len(wanted)
        assert all(word in line for word, line in zip(wanted, started, strict=True))
    if kept:
        assert "10.77.2.2" in kept["rc"]
        assert "10.77.3.2" in kept["rs"]
        assert ("splice-auto" in kept["rc"]) == (way == "haproxy-splice")


def test_ktcp_is_configured_and_cleared(recorder: Recorder) -> None:
    opened = iter(["splits_opened_total 0", "splits_opened_total 7"])
    net = build(recorder)
    answers = {"ktcp/peers": "add 10.77.2.2:5565 low 16 high 64 key 1\n# 10.77.2.2:5565 ready 16"}

    class Stats(dict[str, str]):
        def items(self) -> "list[tuple[str, str]]":  # type: ignore[override]
            text = next(opened) if recorder.lines[-1].endswith("ktcp/stats") else ""
            return [*answers.items(), ("ktcp/stats", text)]

    recorder.answers = Stats()
    with ktcp.split(replace_settings(net, {"engine": "event"}), 4) as place:
        assert place == ("10.77.3.2", 80)
    said = "\n".join(recorder.inputs)
    assert "add mark 0x101 via 10.77.2.2:5565" in said
    assert "allow 10.77.3.2/32" in said
    assert "engine event" in said
    assert said.index("thread_pool on") < said.index("early_syn on")
    assert "del 10.77.2.2:5565" in said
    assert "add client 5557 untracked" in said
    assert recorder.having("exec rc iptables", "-t raw -D PREROUTING", "--set-mark 257")
    assert recorder.having("rmmod ktcp")


def replace_settings(net: Network, settings: dict[str, str]) -> Network:
    net.job = replace(net.job, settings=settings)
    return net


def test_a_way_that_was_not_split_is_no_result(recorder: Recorder) -> None:
    recorder.answers["ktcp/stats"] = "splits_opened_total 3"
    with (
        pytest.raises(CommandError, match="what was measured was routed"),
        ktcp.split(build(recorder), 0),
    ):
        pass


def test_the_modules_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Sequence[str], *, stdin: str = "", timeout: float = 1) -> str:
        if stdin:
            raise CommandError(f"{command} {timeout}")
        return 'settings: line 1: "warp": unknown word\n'

    monkeypatch.setattr(namespace, "run", run)
    with pytest.raises(CommandError, match='rc: the module refused: settings: line 1: "warp"'):
        ktcp.write(Namespace("rc"), "settings", "warp on")


@pytest.mark.parametrize(
    ("file", "line", "command"),
    [
        ("listeners", "add client 5557", "del client 5557"),
        ("routes", "add mark 0x101 via 10.77.2.2:5565", "del mark 0x101"),
        ("peers", "add 10.77.2.2:5565 low 16 high 64 key 1", "del 10.77.2.2:5565"),
        ("exits", "allow 10.77.3.2/32", "del allow 10.77.3.2/32"),
    ],
)
def test_what_is_shown_can_be_removed(file: str, line: str, command: str) -> None:
    assert ktcp.removal(file, line) == command


def test_downloads_are_read_from_curl(recorder: Recorder) -> None:
    net = build(recorder)
    recorder.answers["curl"] = "0.5 0.6 10240 200\n0.4 0.5 10240 200\n"
    assert downloads.fetch(net, ("10.77.3.2", 80), "10k", 10240, 2) == [(0.5, 0.6), (0.4, 0.5)]
    assert recorder.having("exec c curl", "http://10.77.3.2:80/10k?[1-2]")


@pytest.mark.parametrize(
    "said", ["", "0.5 0.6 10240 200\n", "0.5 0.6 10240 200\n0.5 0.6 10239 200\n", "0 0 0 404\n" * 2]
)
def test_downloads_that_failed_do_not_count(recorder: Recorder, said: str) -> None:
    net = build(recorder)
    recorder.answers["curl"] = said
    with pytest.raises(CommandError, match="wanted 2 times 10240 bytes"):
        downloads.fetch(net, ("10.77.3.2", 80), "10k", 10240, 2)


def test_a_series_is_measured_and_checked(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = build(recorder)
    recorder.answers["%{size_download}"] = "0.5 0.6 3 200\n" * 3
    copy = tmp_path / "copy"
    monkeypatch.setattr(downloads, "COPY", copy)
    copy.write_bytes(b"abc")
    digest = hashlib.sha256(b"abc").hexdigest()
    assert downloads.measure(net, "e2e", "10k", 3, digest, 2) == [(0.5, 0.6)] * 3
    assert recorder.having("neigh flush all")
    copy.write_bytes(b"abd")
    with pytest.raises(CommandError, match="the bytes are not those of"):
        downloads.measure(net, "e2e", "10k", 3, digest, 2)


def test_a_fresh_way_is_set_up_for_each_download(
    recorder: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[str] = []

    @contextlib.contextmanager
    def tunnel(_: Network) -> Iterator[tuple[str, int]]:
        places.append(f"10.0.0.{len(places)}")
        yield places[-1], 9000

    monkeypatch.setitem(ways.WAYS, "ssh-fresh", tunnel)
    monkeypatch.setattr(downloads, "COPY", tmp_path / "copy")
    (tmp_path / "copy").write_bytes(b"abc")
    recorder.answers["%{size_download}"] = "0.5 0.6 3 200\n"
    digest = hashlib.sha256(b"abc").hexdigest()
    assert len(downloads.measure(build(recorder), "ssh-fresh", "10k", 3, digest, 5)) == 6
    assert len(places) == 6
    assert len(recorder.having("curl", "http://10.0.0.5:9000/10k?")) == 1
    assert len(recorder.having("curl", " -o ", "copy")) == 1


def test_what_takes_long_is_downloaded_a_few_times() -> None:
    job = replace(JOB, runs=50)
    assert downloads.runs_of(job, "ktcp", 10 * 1024**2) == 50
    assert downloads.runs_of(job, "ktcp", 100 * 1024**2) == 5
    assert downloads.runs_of(job, "ssh-warm", 10 * 1024**2) == 5
    assert downloads.runs_of(job, "ssh-warm", 1024**2) == 50
    assert downloads.runs_of(job, "ssh-fresh", 10240) == 5
    assert downloads.runs_of(JOB, "ssh-fresh", 10240) == 2


def test_files_are_what_their_sums_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WWW", tmp_path / "www")
    sizes = {"1b": 1, "odd": 2 * 1024**2 + 3}
    for name, digest in server.make_files(sizes).items():
        content = (tmp_path / "www" / name).read_bytes()
        assert len(content) == sizes[name]
        assert hashlib.sha256(content).hexdigest() == digest


def test_a_port_that_nobody_takes(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "START_S", 0.0)
    with pytest.raises(CommandError, match="rc: nobody listens on port 9000"):
        server.await_port(Namespace("rc"), 9000)
    assert recorder.having("ss -Hltn sport = :9000")


def test_commands_that_fail_say_why() -> None:
    assert namespace.run(["cat"], stdin="word") == "word"
    with pytest.raises(CommandError, match="sh -c echo no >&2; exit 3: ended with 3: no"):
        namespace.run(["sh", "-c", "echo no >&2; exit 3"])
    with pytest.raises(CommandError, match="sleep 60: not done after 0 s"):
        namespace.run(["sleep", "60"], timeout=0.05)


def test_events_leave_as_lines() -> None:
    ours, theirs = pty.openpty()
    try:
        Channel(Path(os.ttyname(theirs))).tell("begin", way="ktcp", size=1)
        assert json.loads(os.read(ours, 1000)) == {"event": "begin", "way": "ktcp", "size": 1}
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("share", "busy", "rounds", "spent"),
    [
        # It repeats.
        (1, [1.5, 1.51, 1.49], [3] * 3, 1.5),
        # It takes a fourth round to know the mean within 0.6 %, or as many as are allowed.
        (1, [1.48, 1.52, 1.51, 1.5], [3] * 4, 1.5025),
        (1, [1.0, 2.0] * 8, [3] * 16, 1.5),
        # A third of the bulk, once, stands for all.
        (3, [1.5], [1], 4.5),
    ],
)
def test_the_bulk_is_repeated_until_its_cost_is_known(
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
    share: int,
    busy: list[float],
    rounds: list[int],
    spent: float,
) -> None:
    fetched: list[tuple[str, int]] = []

    def fetch(_: Network, __: object, name: str, size: int, count: int) -> None:
        assert size == cost.FILES[name]
        fetched.append((name, count))

    monkeypatch.setattr(downloads, "fetch", fetch)
    # Each round takes 10 s.
    clock = [second for n in range(len(busy)) for second in (100.0 * n, 100.0 * n + 10)]
    idle = [second for each in busy for second in (5.0, 15.0 - each)]
    monkeypatch.setattr(time, "monotonic", iter(clock).__next__)
    monkeypatch.setattr(cost, "idle", iter(idle).__next__)
    place = ("10.77.3.2", 80)
    found = cost.cpu(build(recorder), place, 3 * cost.BULK, share=share)
    assert found == pytest.approx(spent)
    assert fetched == [("warm", 1), *[("bulk", each) for each in rounds]]


def test_rates_are_read_from_wrk(recorder: Recorder) -> None:
    net = build(recorder)
    recorder.answers["wrk"] = "Requests/sec:   1593.95\n"
    assert cost.rate(net, ("10.77.3.2", 80), 2) == 1593.95
    recorder.answers["wrk"] = "  Socket errors: connect 3, read 0\nRequests/sec: 9.0\n"
    with pytest.raises(CommandError, match="connect 3"):
        cost.rate(net, ("10.77.3.2", 80), 2)


def test_set_ups_are_all_there(recorder: Recorder) -> None:
    net = build(recorder)
    recorder.answers["curl"] = "0.3\n0.31\n"
    assert cost.set_ups(net, ("10.77.3.2", 80), 2, 32) == [0.3, 0.31]
    assert recorder.having("--parallel-immediate --parallel-max 32")
    with pytest.raises(CommandError, match="2 of 3 downloads"):
        cost.set_ups(net, ("10.77.3.2", 80), 3, 1)


def test_connections_are_held_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        held = holder.hold("127.0.0.1", port, 3, "/bulk")
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(100) == b"GET /bulk HTTP/1.0\r\n\r\n"
        for connection in held:
            connection.close()


def test_the_guests_programs_need_nothing_but_python() -> None:
    program = "import sys, ktcp_testbed.bench.guest.__main__; print(*sys.modules)"
    said = subprocess.check_output([sys.executable, "-S", "-c", program], text=True).split()
    ours = {name for name in said if name.startswith(("ktcp_ops", "ktcp_testbed."))}
    assert ours
    assert all(name.startswith("ktcp_testbed.bench") for name in ours)


def test_micro_measurements_are_read_from_program_and_log(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micro, "run", recorder)
    kinds = ("process", "pthread")
    recorder.answers["bench/micro"] = "".join(f"create_{k} 9000\nswitch_{k} 800\n" for k in kinds)
    recorder.answers["dmesg"] = "[1.0] ktcp_micro: create_kthread 7000\n[1.1] other: x 1\n"
    with pytest.raises(CommandError, match="not measured: switch_kthread"):
        micro.threads()
    recorder.answers["dmesg"] += "[1.2] ktcp_micro: switch_kthread 500\n"
    assert micro.threads()["create_kthread"] == 7000
    assert set(micro.threads()) == set(micro.NAMES)


def test_every_buffer_is_measured(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: list[dict[str, str]] = []

    @contextlib.contextmanager
    def split(_: Network, step: int, more: dict[str, str]) -> Iterator[tuple[str, int]]:
        assert step == 4
        settings.append(more)
        yield "10.77.3.2", 80

    monkeypatch.setattr(ktcp, "split", split)
    monkeypatch.setattr(cost, "cpu", lambda *_, share: 0.5 * share)
    assert set(micro.buffers(build(recorder), JOB)) == {"4096", "16384", "65536"}
    assert settings[0] == {"engine": "threads", "datapath": "copy", "buffer_bytes": "4096"}
