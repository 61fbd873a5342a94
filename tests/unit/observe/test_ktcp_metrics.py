# SPDX-License-Identifier: GPL-2.0-only
"""ktcp-metrics with a directory of plain files: the file that node_exporter reads."""

import re
import subprocess
from pathlib import Path

import pytest

from tests.contract.conftest import sections, text
from tests.unit.mesh.test_procfs import TEXTS
from tests.unit.observe import promtool
from tests.unit.roles.programs import program

metrics = program("ktcp_observe", "ktcp-metrics")

LINE = re.compile(r'(\w+)(?:\{(\w+="[^"]*"(?:,\w+="[^"]*")*)\})? (\d+)')


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    directory = tmp_path / "proc"
    directory.mkdir()
    for name, content in TEXTS.items():
        (directory / name).write_text(content)
    return directory


def run(monkeypatch: pytest.MonkeyPatch, file: Path, proc: Path) -> int:
    monkeypatch.setattr("sys.argv", ["ktcp-metrics", str(file), "--proc", str(proc)])
    return int(metrics.main())


def documented() -> dict[str, str]:
    """The files of a relay with every documented counter."""
    rows = [
        line.split("|")[1]
        for line in sections(text("docs/procfs-abi.md"))["stats"].splitlines()
        if line.startswith("| `")
    ]
    names = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    peers = (
        "add 10.77.2.2:5565 low 16 high 64 key 1\n"
        "# 10.77.2.2:5565 ready 1 connecting 2 hits 3 misses 4 failures 5 bytes_up 6 bytes_down 7\n"
    )
    counters = "".join(f"{name} {place}\n" for place, name in enumerate(names))
    return {**TEXTS, "stats": counters, "peers": peers, "settings": "max_splits 10000\n"}


def exposed() -> set[str]:
    """Names of the metrics of a relay."""
    texts = documented()
    readings = (read(texts[name]) for name, read in metrics.READERS.items())
    return {metrics.UP.name, *(metric.family.name for some in readings for metric in some)}


def test_the_metrics_of_a_relay(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ktcp.prom"
    assert run(monkeypatch, file, proc) == 0
    lines = file.read_text().splitlines()
    for line in (
        "ktcp_up 1",
        'ktcp_build_info{version="0.1.0",srcversion="5C9B"} 1',
        "ktcp_listeners 2",
        "ktcp_draining 0",
        "ktcp_splits_opened_total 12",
        "ktcp_splits_active 3",
        'ktcp_bytes_total{direction="up"} 99999999999',
        'ktcp_peer_connections{peer="10.77.2.2:5565",state="ready"} 15',
        'ktcp_peer_connections{peer="[fd77::2]:5565",state="connecting"} 0',
        'ktcp_peer_pool_hits_total{peer="10.77.2.2:5565"} 7',
        'ktcp_peer_failures_total{peer="[fd77::2]:5565"} 3',
        'ktcp_peer_pool_high{peer="[fd77::2]:5565"} 4',
        'ktcp_threads{state="busy"} 2',
        "ktcp_threads_created_total 40",
    ):
        assert line in lines


def test_the_format_is_prometheus_own(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HELP, TYPE, then the samples of one name; no sample twice, no time, known labels only."""
    file = tmp_path / "ktcp.prom"
    run(monkeypatch, file, proc)
    content = file.read_text()
    assert content.endswith("\n")
    seen: set[str] = set()
    name = kind = ""
    for line in content.splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in seen
            seen.add(name)
        elif line.startswith("# TYPE "):
            _, _, typed, kind = line.split()
            assert typed == name
        else:
            match = LINE.fullmatch(line)
            assert match, line
            assert match[1] == name
            assert line not in seen
            seen.add(line)
            labels = set(re.findall(r'(\w+)="', match[2] or ""))
            assert labels <= {"peer", "direction", "state", "version", "srcversion"}
            assert (kind == "counter") == name.endswith("_total")


def test_prometheus_takes_it(proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "ktcp.prom"
    run(monkeypatch, file, proc)
    command = [str(promtool.ensure()), "check", "metrics"]
    done = subprocess.run(
        command, input=file.read_text(), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_documented_counter_is_exposed() -> None:
    names = {line.split()[0] for line in documented()["stats"].splitlines()}
    folded = {"bytes_up_total", "bytes_down_total"}
    assert {f"ktcp_{name}" for name in names - folded} | {"ktcp_bytes_total"} <= exposed()


def test_flows_do_not_reach_a_label(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ktcp.prom"
    run(monkeypatch, file, proc)
    assert "10.77.1.2" in TEXTS["splits"]
    assert "10.77.1.2" not in file.read_text()


def test_draining_is_seen(proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (proc / "drain").write_text("on\n# splits 3\n")
    run(monkeypatch, tmp_path / "ktcp.prom", proc)
    assert "ktcp_draining 1" in (tmp_path / "ktcp.prom").read_text().splitlines()


def test_without_the_module_there_is_one_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "ktcp.prom"
    assert run(monkeypatch, file, tmp_path / "nothing") == 0
    assert [line for line in file.read_text().splitlines() if line[0] != "#"] == ["ktcp_up 0"]


def test_the_file_is_replaced_whole(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader with the old file open keeps reading the old file, and no draft stays."""
    file = tmp_path / "out" / "ktcp.prom"
    file.parent.mkdir()
    file.write_text("old\n")
    with file.open() as reader:
        run(monkeypatch, file, proc)
        assert reader.read() == "old\n"
    assert [path.name for path in file.parent.iterdir()] == ["ktcp.prom"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_directory_that_is_not_there_is_an_error(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, tmp_path / "absent" / "ktcp.prom", proc) == 1
    assert "absent" in capsys.readouterr().err


def test_a_label_is_escaped() -> None:
    assert metrics.escape('a"b\\c\nd') == 'a\\"b\\\\c\\nd'
