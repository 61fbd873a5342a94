# SPDX-License-Identifier: GPL-2.0-only
"""The roles' Ansible modules: complete in the collection, and documented as they are."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.roles.modules import ansible_module
from tests.unit.roles.programs import ROOT

NAMES = sorted(path.stem for path in ROOT.glob("roles/*/library/*.py"))
PARTS = ("type", "elements", "required", "default", "choices")


def test_the_collection_has_every_module() -> None:
    """By a link, which also has mypy read it."""
    linked = {path.stem: path.resolve() for path in (ROOT / "plugins/modules").iterdir()}
    files = {path.stem: path.resolve() for path in ROOT.glob("roles/*/library/*.py")}
    assert linked == files


@pytest.fixture(scope="module")
def documented() -> dict[str, Any]:
    """What ansible-doc says of each module."""
    program = Path(sys.executable).with_name("ansible-doc")
    done = subprocess.run(
        [program, "-t", "module", "-M", ROOT / "plugins/modules", "--json", *NAMES],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return dict(json.loads(done.stdout))


class AskedError(Exception):
    """Raised with what a module says to Ansible about itself."""


def taken(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The keywords that a module gives to AnsibleModule."""

    def fake(**keywords: object) -> None:
        raise AskedError(keywords)

    module = ansible_module(name)
    monkeypatch.setattr(module, "AnsibleModule", fake)
    with pytest.raises(AskedError) as asked:
        module.main()
    return dict(asked.value.args[0])


def simplified(options: dict[str, Any], below: str) -> dict[str, Any]:
    """The parts of options that both descriptions have."""
    return {
        name: {part: option[part] for part in PARTS if option.get(part, False) is not False}
        | {"below": simplified(option.get(below, {}), below)}
        for name, option in options.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_options_are_documented_as_they_are(
    name: str, documented: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken_options = simplified(taken(name, monkeypatch)["argument_spec"], "options")
    assert simplified(documented[name]["doc"]["options"], "suboptions") == taken_options


@pytest.mark.parametrize("name", NAMES)
def test_a_dry_run_is_supported_and_documented(
    name: str, documented: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert taken(name, monkeypatch)["supports_check_mode"]
    doc = documented[name]["doc"]
    assert doc["attributes"]["check_mode"]["support"] == "full"
    assert doc["attributes"]["diff_mode"]["support"] in {"full", "none"}


@pytest.mark.parametrize("name", NAMES)
def test_examples_use_what_there_is(name: str, documented: dict[str, Any]) -> None:
    tasks = yaml.safe_load(documented[name]["examples"])
    assert tasks
    for task in tasks:
        assert set(task[name]) <= set(documented[name]["doc"]["options"])
    assert all(value["description"] for value in documented[name]["return"].values())
