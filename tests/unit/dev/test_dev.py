# SPDX-License-Identifier: GPL-2.0-only
"""The bootstrap script, with programs that record how they were called in place of Debian's."""

import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]


class Machine:
    """A Debian whose package manager is made of recorders."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bin = home / "bin"
        self.bin.mkdir()
        self.calls = home / "calls"
        self.program("dpkg-query", "printf installed")
        self.program("apt-get", "")
        self.program("id", "echo 0")

    def program(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{script}\n')
        path.chmod(0o755)

    def environment(self) -> None:
        """Make a Python environment that only records, where dev looks for it."""
        probe = 'print(*sys.version_info[:2], sep=".")'
        python = "/usr/bin/python3"
        version = subprocess.check_output([python, "-c", f"import sys; {probe}"], text=True)
        script = (CHECKOUT / "dev").read_text().split("\ncommand=")[0]
        key = script + (
            "\nwanted=$(requirements); "
            f'printf "%s\\n" {version.strip()} "$wanted" | sha256sum | cut -c 1-16\n'
        )
        name = subprocess.check_output(["sh", "-c", key, str(CHECKOUT / "dev")], text=True).strip()
        venv = self.home / "cache" / "ktcp" / f"venv-{version.strip()}-{name}"
        (venv / "bin").mkdir(parents=True)
        (venv / "complete").touch()
        python3 = venv / "bin" / "python"
        python3.write_text(f'#!/bin/sh\necho "python $* in $PWD" >> {self.calls}\n')
        python3.chmod(0o755)

    def dev(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CHECKOUT / "dev", *arguments],
            cwd=self.home,
            env={
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "HOME": str(self.home),
                "XDG_CACHE_HOME": str(self.home / "cache"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def called(self, program: str) -> list[str]:
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        return [line for line in lines if line.startswith(f"{program} ")]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.environment()
    return made


def test_nothing_is_installed_when_all_is_there(machine: Machine) -> None:
    assert machine.dev("ops", "--version").returncode == 0
    assert machine.called("apt-get") == []
    assert machine.called("python") == [f"python -m ktcp_testbed --version in {machine.home}"]


def test_root_installs_what_is_missing_in_one_call(machine: Machine) -> None:
    machine.program(
        "dpkg-query",
        "case $4 in uidmap|shellcheck) exit 1;; esac; printf installed",
    )
    assert machine.dev("test", "--list").returncode == 0
    update, install = machine.called("apt-get")
    assert " update" in update
    assert install.endswith("install --no-install-recommends shellcheck uidmap")
    assert machine.called("python") == [f"python -m tests.run --list in {CHECKOUT}"]


def test_without_root_the_packages_are_named(machine: Machine) -> None:
    machine.program("dpkg-query", '[ "$4" != uidmap ] || exit 1; printf installed')
    machine.program("id", "echo 1000")
    result = machine.dev("demo", "--keep")
    assert result.returncode == 0
    assert "apt-get install uidmap" in result.stderr
    assert machine.called("apt-get") == []
    assert machine.called("python") == [f"python -m ktcp_testbed.demo --keep in {CHECKOUT}"]


def test_an_archive_out_of_reach_is_a_sentence(machine: Machine) -> None:
    machine.program("dpkg-query", "exit 1")
    machine.program("apt-get", "exit 100")
    result = machine.dev("test")
    assert result.returncode == 1
    assert "is the Debian package archive within reach?" in result.stderr
    assert machine.called("python") == []


def test_a_program_of_the_environment_is_run_where_you_are(machine: Machine) -> None:
    assert machine.dev("run", "python", "-c", "pass").returncode == 0
    assert machine.called("python") == [f"python -c pass in {machine.home}"]


def test_a_bench_is_the_papers_unless_said_otherwise(machine: Machine) -> None:
    assert machine.dev("bench", "--runs", "3").returncode == 0
    assert machine.dev("bench", "compare", "one", "two").returncode == 0
    assert machine.called("python") == [
        f"python -m ktcp_testbed bench paper --runs 3 in {machine.home}",
        f"python -m ktcp_testbed bench compare one two in {machine.home}",
    ]


@pytest.mark.parametrize(
    ("arguments", "code"), [(["help"], 0), ([], 0), (["sing"], 2), (["run"], 2)]
)
def test_usage(machine: Machine, arguments: list[str], code: int) -> None:
    result = machine.dev(*arguments)
    assert result.returncode == code
    assert "Usage: ./dev COMMAND" in result.stdout + result.stderr
    assert not machine.calls.exists()
