# SPDX-License-Identifier: GPL-2.0-only
"""The tests in other Pythons: which Pythons, which packages, and that the wheel comes first."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import phases
from tests.pythons import __main__ as pythons
from tests.pythons.environment import PYTHONS, TOOLS, packages, requirements

CHECKOUT = Path(__file__).resolve().parents[3]


def project() -> dict[str, Any]:
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    return dict(tomllib.loads(text)["project"])


def test_each_python_that_the_package_names_is_tried_or_read() -> None:
    head = "Programming Language :: Python :: "
    named = {line.removeprefix(head) for line in project()["classifiers"] if head in line}
    (types, _) = phases.python_commands()
    assert {python.version for python in PYTHONS} | {types[2]} == named
    assert f">={PYTHONS[0].version}" == project()["requires-python"]


def test_each_dependency_has_a_lower_bound_that_is_tried() -> None:
    wanted = requirements(CHECKOUT)
    assert set(project()["dependencies"]) < set(wanted)
    assert [line for line in wanted if ">=" not in line] == []
    assert len(wanted) == len(project()["dependencies"]) + len(TOOLS)
    assert PYTHONS[0].resolution == "lowest-direct"


def test_packages_are_for_the_python_inside(tmp_path: Path) -> None:
    command = packages(PYTHONS[1], ["rich>=13"], tmp_path)
    assert command[command.index("--python-version") + 1] == "3.13"
    assert command[-3:] == ["--target", str(tmp_path), "rich>=13"]


def test_the_wheel_comes_before_the_checkout() -> None:
    command = pythons.inside(["-x"])
    assert "PYTHONPATH=/work/build/pythons/site:/work" in command
    assert "PYTHONSAFEPATH=1" in command
    assert all((CHECKOUT / name).exists() for name in pythons.TESTS)


def test_an_unknown_python_is_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        pythons.main(["2.7"])
    assert ended.value.code == 2
    assert "lowest, newest" in capsys.readouterr().err
