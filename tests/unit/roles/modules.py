# SPDX-License-Identifier: GPL-2.0-only
"""Loads the roles' Ansible modules, and runs them: in this process, or as Ansible runs them."""

import json
import subprocess
import sys
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import pytest

from tests.unit.roles.programs import ROOT

Answer = dict[str, Any]


def path_of(name: str) -> Path:
    """The file of an Ansible module."""
    (path,) = ROOT.glob(f"roles/*/library/{name}.py")
    return path


@cache
def ansible_module(name: str) -> ModuleType:
    """The file as a module of Python."""
    spec = spec_from_file_location(name, path_of(name))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    # Dataclasses look their module up by name.
    sys.modules[name] = module
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module


def executed(
    name: str, *, dry: bool = False, env: dict[str, str] | None = None, **arguments: object
) -> Answer:
    """Run a module as Ansible does, in a process with JSON arguments. Returns its answer."""
    task = {"ANSIBLE_MODULE_ARGS": {**arguments, "_ansible_check_mode": dry}}
    done = subprocess.run(
        [sys.executable, str(path_of(name))],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        check=False,
        env=env,
    )
    answer: Answer = json.loads(done.stdout)
    return answer


class AnsweredError(Exception):
    """Raised with a module's answer, where a real module ends its process."""


class FakeAnsible:
    """What a module sees of Ansible: arguments, with defaults for those that are not given."""

    def __init__(
        self, argument_spec: dict[str, dict[str, Any]], arguments: Answer, *, dry: bool
    ) -> None:
        assert set(arguments) <= set(argument_spec)
        missing = [n for n, option in argument_spec.items() if option.get("required")]
        assert set(missing) <= set(arguments)
        defaults = {name: option.get("default") for name, option in argument_spec.items()}
        self.params = {**defaults, **arguments}
        self.check_mode = dry

    def exit_json(self, **answer: object) -> NoReturn:
        raise AnsweredError({"failed": False, **answer})

    def fail_json(self, **answer: object) -> NoReturn:
        raise AnsweredError({"failed": True, **answer})


def answered(name: str, *, dry: bool = False, **arguments: object) -> Answer:
    """Run a module's main() in this process, where a test can replace its parts."""
    module = ansible_module(name)

    def fake(*, argument_spec: dict[str, Any], supports_check_mode: bool) -> FakeAnsible:
        assert supports_check_mode
        return FakeAnsible(argument_spec, arguments, dry=dry)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AnsibleModule", fake)
        with pytest.raises(AnsweredError) as ended:
            module.main()
    (answer,) = ended.value.args
    return dict(answer)
