# SPDX-License-Identifier: GPL-2.0-only
"""`mesh keys rotate` over real inventories, with relays in memory."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ktcp_ops import console
from ktcp_ops.cli import main, workers
from ktcp_ops.mesh.inventory import inventory
from ktcp_ops.mesh.journal.journal import Journal
from ktcp_ops.mesh.keys import rotation
from ktcp_ops.mesh.keys.key_files import with_keys
from ktcp_ops.mesh.keys.rotation import Phase
from ktcp_ops.mesh.keys.variable import CannotEditError
from ktcp_ops.run import vault
from ktcp_ops.run.job import Job
from ktcp_ops.run.result import RunResult
from tests.unit.mesh.fleet import Fleet

ROTATE = ["mesh", "keys", "rotate"]
PHASES = ["add", "use", "remove"]
ONE_ROLLOUT = ["status", "site", "gate", "site", "gate"]


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """The relays that the command works on."""
    fleet = Fleet()
    monkeypatch.setattr(workers, "make_engine", lambda: fleet)
    return fleet


@pytest.fixture
def mine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """An inventory as `mesh init` writes it."""
    directory = tmp_path / "mine"
    assert main.run(["mesh", "init", str(directory)]) == 0
    capsys.readouterr()
    return directory


def keys_file(directory: Path) -> Path:
    return directory / "group_vars/all/keys.yml"


def mesh_file(directory: Path) -> Path:
    return directory / "group_vars/all/mesh.yml"


def numbers(directory: Path) -> tuple[int, list[int]]:
    """The number of the key that an inventory uses, and the numbers of all its keys."""
    mesh = yaml.safe_load(mesh_file(directory).read_text())["ktcp_mesh"]
    return mesh["key"], sorted(yaml.safe_load(vault.read(keys_file(directory)))["ktcp_keys"])


def rotate(directory: Path, *options: str) -> int:
    return main.run([*ROTATE, "-i", str(directory), *options])


def test_three_rollouts_over_files_that_stay_as_they_were(
    mine: Path, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    before, mesh_before = keys_file(mine).read_text(), mesh_file(mine).read_text()
    seen: list[tuple[int, list[int]]] = []

    def look(job: Job) -> RunResult | None:
        if job.playbook.stem == "site":
            seen.append(numbers(mine))
        return None

    fleet.before = look
    assert rotate(mine, "--yes", "-o", "json") == 0
    assert [name for name, _ in fleet.played] == ONE_ROLLOUT * 3
    assert seen == [(1, [1, 2])] * 2 + [(2, [1, 2])] * 2 + [(2, [2])] * 2
    told = json.loads(capsys.readouterr().out)
    assert (told["key"], told["exit_code"]) == (2, 0)
    assert [run["options"]["phase"] for run in told["phases"]] == PHASES
    runs, _ = Journal.of([str(mine)]).runs()
    assert [(run.action, str(run.outcome)) for run in runs] == [("keys rotate", "done")] * 3

    assert mesh_file(mine).read_text() == mesh_before.replace("  key: 1\n", "  key: 2\n")
    text = keys_file(mine).read_text()
    assert text.splitlines()[:-1] == before.splitlines()[:-1]
    secret = yaml.safe_load(text)["ktcp_keys"][2]
    assert len(bytes.fromhex(secret)) == 32
    assert secret not in before
    assert keys_file(mine).stat().st_mode & 0o777 == 0o600
    assert all(secret not in run.model_dump_json() for run in runs)


def test_a_file_that_is_encrypted_stays_so(
    mine: Path, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    monkeypatch.setenv("ANSIBLE_VAULT_IDENTITY_LIST", f"prod@{password},other@{password}")
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "vault", "encrypt"]  # noqa: RUF005
        + ["--encrypt-vault-id", "prod", str(keys_file(mine))],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert rotate(mine, "--yes", "--until", "add") == 0
    assert keys_file(mine).read_text().startswith("$ANSIBLE_VAULT;1.2;AES256;prod\n")
    assert numbers(mine) == (1, [1, 2])
    assert "# The keys by which relays know" in vault.read(keys_file(mine))
    assert [name for name, _ in fleet.played] == ONE_ROLLOUT


def test_a_phase_that_fails_ends_it_and_running_it_again_goes_on(
    mine: Path, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    relays = sorted(inventory.load([str(mine)]).relays)
    fleet.fates["site", relays[1]] = "failed"
    assert rotate(mine, "--yes", "-o", "json") == 5
    told = json.loads(capsys.readouterr().out)
    assert [run["outcome"] for run in told["phases"]] == ["stopped"]
    assert numbers(mine) == (1, [1, 2])
    fleet.fates.clear()
    changed = [host for name, host in fleet.played if name == "site"]
    fleet.jobs.clear()
    assert rotate(mine, "--yes") == 0
    # The finished wave is left alone; then come two complete rollouts.
    again = [host for name, host in fleet.played if name == "site"]
    assert again[0] == changed[-1]
    assert len(again) == 5
    assert numbers(mine) == (2, [2])


def test_phase_by_phase(mine: Path, fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    for phase, state in zip(PHASES[:2], [(1, [1, 2]), (2, [1, 2])], strict=True):
        assert rotate(mine, "--yes", "--until", phase) == 0
        assert numbers(mine) == state
    capsys.readouterr()
    assert rotate(mine, "--yes", "--until", "add") == 2
    assert "--until add: this phase is done; use is next" in capsys.readouterr().err
    assert rotate(mine, "--yes") == 0
    assert numbers(mine) == (2, [2])
    # Keys that relays already have are rolled out again, which changes nothing: add, use.
    assert [name for name, _ in fleet.played] == ONE_ROLLOUT * 5


def test_a_dry_run_says_what_is_to_come(
    mine: Path, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    before = keys_file(mine).read_text()
    assert rotate(mine, "--check") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"add: key 2 beside the one in use ({keys_file(mine)}); 2 relays in 2 waves",
        f"use: key 2 in use ({mesh_file(mine)}); 2 relays in 2 waves",
        f"remove: no key but 2 ({keys_file(mine)}); 2 relays in 2 waves",
    ]
    assert (fleet.jobs, keys_file(mine).read_text()) == ([], before)
    assert not Journal.of([str(mine)]).runs()[0]


@pytest.mark.parametrize("answer", [True, False])
def test_it_asks_first(
    answer: bool,
    mine: Path,
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return answer

    monkeypatch.setattr(console, "confirm", confirm)
    assert rotate(mine, "--until", "add") == (0 if answer else 2)
    assert asked == ["Change the key of all 2 relays like this?"]
    said = capsys.readouterr().err
    assert "add: key 2 beside the one in use" in said
    assert ("nothing was changed" in said) is not answer
    assert bool(fleet.jobs) is answer


def one_by_one(directory: Path) -> None:
    path = keys_file(directory)
    vaulted = path.read_text().replace('1: "', "1: !vault |\n    $ANSIBLE_VAULT;1.1;AES256\n    ")
    path.write_text(vaulted.rstrip('"\n') + "\n")


def in_two_files(directory: Path) -> None:
    (directory / "group_vars/all/zzz.yml").write_text(keys_file(directory).read_text())


def overruled(directory: Path) -> None:
    """Variables in a file that the editing does not find, and that override the others."""
    secret = yaml.safe_load(keys_file(directory).read_text())["ktcp_keys"][1]
    text = json.dumps({"ktcp_keys": {"1": secret}})
    (directory / "group_vars/all/zzz.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "code", "said"),
    [
        (in_two_files, 2, "ktcp_keys can't be edited: 2 files have it at their top level. Add"),
        (overruled, 1, "something in it overrides what was written, or has changed"),
    ],
)
def test_what_cannot_be_edited_is_for_the_operator(
    spoil: Any,  # noqa: ANN401 - a function of a directory
    code: int,
    said: str,
    mine: Path,
    fleet: Fleet,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(mine)
    before = keys_file(mine).read_text()
    assert rotate(mine, "--yes") == code
    assert said in " ".join(capsys.readouterr().err.split())
    assert (fleet.jobs, keys_file(mine).read_text()) == ([], before)


def test_keys_that_are_encrypted_one_by_one_are_not_joined_by_a_plain_one(mine: Path) -> None:
    mesh = inventory.load([str(mine)])
    one_by_one(mine)
    text = keys_file(mine).read_text()
    wanted = rotation.after(mesh, Phase.ADD, 2, "b" * 64)
    with pytest.raises(CannotEditError, match="encrypted one by one"):
        with_keys(text, mesh, wanted)


def test_no_second_command_meanwhile(
    mine: Path, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    before = keys_file(mine).read_text()
    with Journal.of([str(mine)]).alone():
        assert rotate(mine, "--yes") == 1
    assert "another command is changing this mesh" in capsys.readouterr().err
    assert (fleet.jobs, keys_file(mine).read_text()) == ([], before)
