# SPDX-License-Identifier: GPL-2.0-only
"""The states of a split: what docs/design.md says is what the module allows."""

import re
from dataclasses import dataclass

from tests.contract.conftest import sections, text
from tests.contract.test_rooms import code

LIFE = "datapath/life.c"
STATE = re.compile(r"\[KTCP_LIFE_(\w+)\] = \{(.*?)\}", re.DOTALL)
FIELD = r"\.{} = ([^,]+),"


@dataclass(frozen=True)
class State:
    """Which states may follow, which steps come too late, and procfs's word or none."""

    next: frozenset[str]
    late: frozenset[str]
    word: str


def field(body: str, name: str) -> str:
    """The value of a member of a state in the C source, empty where it has none."""
    found = re.search(FIELD.format(name), body)
    return found[1] if found else ""


def names(value: str) -> frozenset[str]:
    """The states of a value like `HALF | OPEN`."""
    return frozenset(word.lower() for word in re.findall(r"\w+", value))


def allowed() -> dict[str, State]:
    """The table of the module."""
    return {
        name.lower(): State(
            names(field(body, "next")), names(field(body, "late")), field(body, "word").strip('"')
        )
        for name, body in STATE.findall(code()[LIFE])
    }


def section() -> str:
    """What docs/design.md says of the life of a split."""
    module = sections(text("docs/design.md"))["The module"]
    return module.split("### The life of a split\n")[1].split("\n### ")[0]


def steps(cell: str) -> frozenset[str]:
    """The states of a cell like `half, open; closed: nothing was left`."""
    parts = [part.split(":")[0] for part in re.split(r"[,;]", cell)]
    return frozenset(part.strip() for part in parts) - {""}


def written() -> dict[str, State]:
    """The table of the document."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section().splitlines()
        if line.startswith("|")
    ]
    return {row[0]: State(steps(row[2]), steps(row[3]), row[4]) for row in rows[2:]}


def test_the_document_has_the_table_of_the_module() -> None:
    assert written() == allowed()


def test_the_table_has_each_state() -> None:
    states = re.findall(r"^\tKTCP_LIFE_(\w+),", code()["datapath/life.h"], re.MULTILINE)
    assert [state.lower() for state in states] == list(allowed())


def test_the_drawing_has_each_state() -> None:
    drawn = set(re.findall(r"\w+", section().split("```")[1]))
    assert allowed().keys() <= drawn


def test_each_state_is_reached_and_left() -> None:
    table = allowed()
    reached = frozenset[str]().union(*(state.next for state in table.values()))
    assert table.keys() - reached == {"new", "waiting"}
    assert {name for name, state in table.items() if not state.next} == {"closed"}


def test_no_step_is_both_taken_and_too_late() -> None:
    assert {name for name, state in allowed().items() if state.next & state.late} == set()


def test_procfs_has_these_words() -> None:
    words = {state.word for state in allowed().values()} - {""}
    splits = sections(text("docs/procfs-abi.md"))["splits"]
    of_state = splits.split("`state` is ")[1].split(". `up`")[0]
    assert set(re.findall(r"`(\w+)`", of_state)) == words


def test_states_change_in_one_file() -> None:
    writes = re.compile(r"(\w+->life = |(?:WRITE_ONCE|smp_store_release|cmpxchg)\(&?\w+->life)")
    found = [(file, write) for file, source in code().items() for write in writes.findall(source)]
    # A split begins with one.
    assert found == [("datapath/split.c", "split->life = ")]
