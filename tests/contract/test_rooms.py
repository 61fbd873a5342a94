# SPDX-License-Identifier: GPL-2.0-only
"""The rooms of kmod/: a file may use files of lower rooms, never of higher ones."""

import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.contract.conftest import ROOT, kmod_sources, sections, text

KMOD = ROOT / "kmod"
# From the top floor down. On the roof, main.c wires the rooms together.
ROOMS = ("intercept", "session", "datapath", "relay", "control", "lib")
# Tests that run inside a kernel; they are no room.
BESIDE = "selftest"

INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
# At the start of a line, not static: a function's head with its body, or an object.
FUNCTION = re.compile(r"^(?!static\b)\w[\w \t\n*]*?\b(ktcp_\w+)\([^;{}]*\)\s*\{", re.MULTILINE)
OBJECT = re.compile(r"^(?!static\b|extern\b)\w[\w \t*]*?\b(ktcp_\w+)(?: = |;$)", re.MULTILINE)


def name(path: Path) -> str:
    """A file's path below kmod/."""
    return str(path.relative_to(KMOD))


def room(file: str) -> str:
    """The room that a file is in; main.c is in none."""
    return file.rpartition("/")[0].partition("/")[0]


def floor(file: str) -> int:
    """The floor that a file is on, counted from the top."""
    return ROOMS.index(room(file)) if room(file) else -1


@cache
def code() -> dict[str, str]:
    """The module's files without their comments."""
    files = {name(path): path.read_text(encoding="utf-8") for path in kmod_sources()}
    return {file: COMMENT.sub("", source) for file, source in files.items() if room(file) != BESIDE}


@cache
def definitions() -> dict[str, str]:
    """The file that defines each global name of the module."""
    found: dict[str, str] = {}
    for file, source in code().items():
        if file.endswith(".c"):
            for pattern in (FUNCTION, OBJECT):
                found |= dict.fromkeys(pattern.findall(source), file)
    return found


def arrows(file: str) -> Iterator[str]:
    """The files that a file includes, or whose functions and objects it uses."""
    yield from INCLUDE.findall(code()[file])
    if file.endswith(".c"):
        words = set(re.findall(r"\bktcp_\w+", code()[file]))
        yield from {definitions()[word] for word in words & definitions().keys()} - {file}


def all_arrows() -> set[tuple[str, str]]:
    """Each arrow between two files."""
    return {(file, to) for file in code() for to in arrows(file)}


def test_each_folder_is_a_room() -> None:
    folders = {path.name for path in KMOD.iterdir() if path.is_dir() and any(path.rglob("*.c"))}
    assert folders == {*ROOMS, BESIDE}


def test_only_main_is_on_the_roof() -> None:
    assert [file for file in code() if not room(file)] == ["main.c"]


def test_an_include_names_its_room() -> None:
    unknown = {
        (file, included)
        for file in code()
        for included in INCLUDE.findall(code()[file])
        if included not in code()
    }
    assert unknown == set()


def test_arrows_lead_down() -> None:
    assert {(a, b) for a, b in all_arrows() if floor(b) < floor(a)} == set()


def circle() -> list[str]:
    """The files of a circle, if there is one."""
    graph: dict[str, set[str]] = {file: set() for file in code()}
    for file, to in all_arrows():
        graph[file].add(to)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_files_form_no_circle() -> None:
    assert circle() == []


def drawn_rooms() -> dict[str, set[str]]:
    """The boxes of the drawing in docs/design.md, from the top, with the files in each."""
    drawing = sections(text("docs/design.md"))["The rooms of the module"].split("```")[1]
    rooms: dict[str, set[str]] = {}
    for line in re.findall(r"^ \| (.*)\|$", drawing, re.MULTILINE):
        head = re.match(r"(\w+): ", line)
        if head:
            rooms[head[1]] = set()
        else:
            rooms[list(rooms)[-1]] |= set(line.split())
    return rooms


def test_the_drawing_has_each_room_and_file() -> None:
    files = {
        room: {path.stem if path.is_file() else f"{path.name}/" for path in (KMOD / room).iterdir()}
        for room in ROOMS
    }
    assert list(drawn_rooms()) == list(ROOMS)
    assert drawn_rooms() == files


def test_definitions_are_found() -> None:
    known = definitions()
    assert known["ktcp_gate_open"] == "intercept/gate.c"
    assert known["ktcp_split_create"] == "datapath/split.c"
    assert known["ktcp_exits_file"] == "session/exit.c"
    assert "ktcp_split_get" in known
