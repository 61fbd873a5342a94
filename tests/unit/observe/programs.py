# SPDX-License-Identifier: GPL-2.0-only
"""Loads the playbooks' stand-alone programs."""

import importlib.util
import sys
from functools import cache
from types import ModuleType

from tests.unit.roles.programs import ROOT


@cache
def playbook_file(name: str) -> ModuleType:
    """The program as a module, without running it."""
    path = ROOT / "playbooks/files" / name
    spec = importlib.util.spec_from_file_location(f"playbook_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
    return module
