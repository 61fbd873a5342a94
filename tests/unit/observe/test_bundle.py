# SPDX-License-Identifier: GPL-2.0-only
"""``mesh bundle``: the archive's content, without any key, wherever a host had one."""

import base64
import json
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from ktcp_ops.cli import main
from ktcp_ops.mesh.diagnosis.bundle import COLLECT_TASK, safe, unpack
from ktcp_ops.run.result import HostResult, HostState
from tests.unit.mesh.conftest import KEY
from tests.unit.observe.conftest import Answers, result
from tests.unit.observe.programs import playbook_file
from tests.unit.observe.test_redact import FORMS, leaks

program = playbook_file("bundle.py")


def said(texts: dict[str, str]) -> dict[str, str]:
    """The output of the program on the relay."""
    data = zlib.compress(json.dumps(texts).encode())
    return {"stdout": base64.b64encode(data).decode()}


def contents(path: Path) -> dict[str, str]:
    """The texts of an archive, by their names below its one directory."""
    found = {}
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            root, _, name = member.name.partition("/")
            file = archive.extractfile(member)
            assert root == "bundle"
            assert file
            found[name] = file.read().decode()
    return found


def bundle(file: Path, *more: str) -> int:
    return main.run(["mesh", "bundle", "-i", "inv", "--file", str(file), *more])


def test_what_is_in_it(
    tmp_path: Path, use: Callable[..., Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bundle.tar.gz"
    texts = {"files/proc/net/ktcp/stats": "splits_active 3\n", "commands/uname": "Linux rc\n"}
    engine = use(result({COLLECT_TASK: {"rc": said(texts), "rs": said(texts)}}))
    assert bundle(file) == 0
    assert capsys.readouterr().out == f"{file}\n"
    found = contents(file)
    assert set(found) == {
        "plan.json",
        "rc/commands/uname",
        "rc/files/proc/net/ktcp/stats",
        "rs/commands/uname",
        "rs/files/proc/net/ktcp/stats",
        "run.json",
        "version.txt",
    }
    assert found["rc/files/proc/net/ktcp/stats"] == "splits_active 3\n"
    assert json.loads(found["plan.json"])["rc"]["keys"] == [1]
    assert file.stat().st_mode & 0o777 == 0o600
    assert engine.jobs[0].playbook.name == "bundle.yml"
    assert engine.jobs[0].variables["ktcp_flows"] is False


def test_no_key_is_in_it_wherever_it_stood(tmp_path: Path, use: Callable[..., Answers]) -> None:
    """In every form, in every text of a relay, in a file's name, and in what Ansible says."""
    everywhere = "\n".join(f"{name}: {form(KEY)}" for name, form in FORMS.items())
    names = ["commands/dmesg", "commands/journal", "files/etc/ktcp/peers.conf", f"files/{KEY}"]
    failed = HostResult(
        host="rs", state=HostState.FAILED, failed_task="Collect", message=everywhere
    )
    outputs = {COLLECT_TASK: {"rc": said(dict.fromkeys(names, everywhere)), "rs": {"stdout": KEY}}}
    use(result(outputs, failed))
    file = tmp_path / "bundle.tar.gz"
    assert bundle(file) == 1
    found = contents(file)
    assert {"rc/commands/dmesg", "run.json", "rs/not-understood.txt"} <= set(found)
    for name, text in found.items():
        assert leaks(text, KEY) == [], name
        assert leaks(name, KEY) == []
    assert KEY.encode() not in file.read_bytes()


def test_the_mesh_itself_is_shown_without_its_keys(
    tmp_path: Path, use: Callable[..., Answers]
) -> None:
    use(result({COLLECT_TASK: {}}))
    assert bundle(tmp_path / "bundle.tar.gz") == 1
    assert "10.77.2.2:5565" in contents(tmp_path / "bundle.tar.gz")["plan.json"]


def test_an_unreachable_relay_leaves_the_others_in_it(
    tmp_path: Path, use: Callable[..., Answers]
) -> None:
    gone = HostResult(host="rs", state=HostState.UNREACHABLE, message="timed out")
    use(result({COLLECT_TASK: {"rc": said({"commands/uname": "Linux\n"})}}, gone))
    file = tmp_path / "bundle.tar.gz"
    assert bundle(file, "-o", "json") == 4
    found = contents(file)
    assert found["rc/commands/uname"] == "Linux\n"
    assert "timed out" in found["run.json"]


def test_an_archive_is_not_overwritten(
    tmp_path: Path, use: Callable[..., Answers], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bundle.tar.gz"
    file.write_text("mine")
    engine = use(result({}))
    assert bundle(file) == 2
    assert "exists already" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert engine.jobs == []


@pytest.mark.parametrize(
    ("name", "within"),
    [
        ("files/etc/ktcp/peers.conf", "files/etc/ktcp/peers.conf"),
        ("../../etc/passwd", "etc/passwd"),
        ("/etc//passwd", "etc/passwd"),
        ("a b\n/c", "a_b_/c"),
    ],
)
def test_names_stay_within_the_archive(name: str, within: str) -> None:
    assert safe(name) == within


@pytest.mark.parametrize("nonsense", ["", "Traceback", base64.b64encode(b"no zlib").decode()])
def test_what_cannot_be_read_is_kept(nonsense: str) -> None:
    assert unpack(nonsense) == {"not-understood.txt": nonsense}
    assert unpack(said({})["stdout"]) == {}


def test_more_than_any_relay_says_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(b"[" + b"0," * (40 << 20))).decode()
    assert unpack(bomb) == {"not-understood.txt": bomb}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A relay's files; and programs that are not there."""
    for name, text in {
        "etc/ktcp/peers.conf": "add 10.77.2.2:5565 key 1\n",
        "etc/ktcp/keys.conf": f"add 1 {KEY}\n",
        "proc/net/ktcp/stats": "splits_active 1\n",
        "proc/net/ktcp/splits": "10.77.1.2:40000 -> 10.77.3.2:80\n",
        "proc/net/ktcp/keys": KEY,
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(program, "ROOT", tmp_path)
    commands = {"echo": ("echo", "said"), "false": ("false",), "absent": ("ktcp-no-such-program",)}
    monkeypatch.setattr(program, "COMMANDS", commands)
    return tmp_path


@pytest.mark.usefixtures("host")
def test_files_of_keys_are_not_opened_and_flows_only_on_request() -> None:
    texts = program.collect(flows=False)
    assert set(texts) == {
        "files/etc/ktcp/peers.conf",
        "files/proc/net/ktcp/stats",
        "commands/echo",
        "commands/false",
        "commands/absent",
    }
    assert texts["commands/echo"] == "said\n"
    assert texts["commands/false"] == "(exit code 1)\n"
    assert "No such file" in texts["commands/absent"]
    assert "files/proc/net/ktcp/splits" in program.collect(flows=True)


def test_of_a_long_text_the_end_is_kept(host: Path) -> None:
    (host / "proc/net/ktcp/stats").write_text("a" * program.LIMIT + "the end")
    text = program.collect(flows=False)["files/proc/net/ktcp/stats"]
    assert len(text) == program.LIMIT
    assert text.endswith("the end")
