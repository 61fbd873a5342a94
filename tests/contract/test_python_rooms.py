# SPDX-License-Identifier: GPL-2.0-only
"""The rooms of the Python code: what is above may know what is below, never the other way round."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.contract.conftest import ROOT, sections, text

PRODUCT, TESTBED = "ktcp_ops", "ktcp_testbed"
DIVIDED = f"{PRODUCT}/mesh"
"""The room that has rooms of its own."""
# Folders of the checkout that hold no part of the control plane.
BESIDE = {"build", "dist", "docs", "inventories", "meta", "molecule", "tests"}


@cache
def files() -> dict[str, Path]:
    """The modules of both packages; a package is called by its folder."""
    found = {}
    for path in [*ROOT.glob(f"{PRODUCT}/**/*.py"), *ROOT.glob(f"{TESTBED}/**/*.py")]:
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in files() else node.module


@cache
def arrows() -> set[tuple[str, str]]:
    """Each import of one of our modules by another."""
    return {
        (name, to)
        for name, path in files().items()
        for to in imported(path)
        if to in files() and to != name
    }


def room(module: str) -> str:
    """The room that a module is in, as ``ktcp_ops/run`` or ``ktcp_ops/mesh/model``."""
    parts = module.split(".")
    return "/".join(parts[: 3 if "/".join(parts[:2]) == DIVIDED else 2])


@cache
def drawn() -> dict[str, int]:
    """The rooms in the drawing of docs/design.md, and how far down each one is."""
    drawing = sections(text("docs/design.md"))["The rooms of the control plane"].split("```")[1]
    found: dict[str, int] = {}
    package = outer = ""
    for floor, line in enumerate(re.findall(r"^ \| (.*)\|$", drawing, re.MULTILINE)):
        head = re.match(r" *(\w+)/ ", line)
        names = re.match(r"  (  )?(\w+(?:, \w+)*): ", line)
        if head:
            package = head[1]
            found[package] = floor
        elif names:
            above = outer if names[1] else package
            found |= {f"{above}/{name}": floor for name in names[2].split(", ")}
            outer = outer if names[1] else f"{package}/{names[2]}"
    return found


def test_the_drawing_has_each_room() -> None:
    folders = {path.name for path in ROOT.glob("[a-z]*") if path.is_dir()}
    rooms = {
        f"{package}/{path.stem}"
        for package in (PRODUCT, TESTBED, DIVIDED)
        for path in (ROOT / package).iterdir()
        if not path.name.startswith("__")
    }
    assert set(drawn()) == rooms | (folders - BESIDE)


def test_the_product_knows_nothing_of_the_test_bed() -> None:
    known = {(a, b) for a, b in arrows() if a.startswith(PRODUCT) and b.startswith(TESTBED)}
    assert known == set()
    for path in ROOT.glob("plugins/**/*.py"):
        assert not any(name.startswith(TESTBED) for name in imported(path))


def test_arrows_lead_down() -> None:
    between = {
        (a, b)
        for a, b in arrows()
        if room(a) != room(b) and {room(a), room(b)} <= set(drawn()) - {PRODUCT, TESTBED}
    }
    assert len(between) > 100
    assert {(a, b) for a, b in between if drawn()[room(b)] <= drawn()[room(a)]} == set()


def circle() -> list[str]:
    """The modules of a circle, where there is one."""
    graph: dict[str, set[str]] = {name: set() for name in files()}
    for name, to in arrows():
        graph[name].add(to)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_modules_form_no_circle() -> None:
    assert circle() == []


def programs() -> Iterator[Path]:
    """All Python of the checkout; what roles install has no suffix."""
    for folder in (PRODUCT, TESTBED, "molecule", "playbooks", "plugins", "roles", "tests"):
        yield from ROOT.glob(f"{folder}/**/*.py")
    for path in ROOT.glob("roles/*/files/ktcp-*"):
        if path.read_text(encoding="utf-8").startswith("#!/usr/bin/python3"):
            yield path


def test_functions_fit_a_screen() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in programs()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, kinds)
    }
    assert len(lengths) > 3000
    assert {name: lines for name, lines in lengths.items() if lines > 40} == {}


def test_commands_end_in_one_place() -> None:
    """Errors, gates and drift are found below; here they are only told, with their exit code."""
    ends = {
        name
        for name, path in files().items()
        if re.search(r"\bsys\.exit\(|\btyper\.Exit\(", path.read_text(encoding="utf-8"))
    }
    assert ends == {
        f"{PRODUCT}.cli.answer",  # a command's answer
        f"{PRODUCT}.cli.main",  # an error, by its kind
        f"{PRODUCT}.run.surveyor",
        f"{TESTBED}.demo.__main__",
    }
