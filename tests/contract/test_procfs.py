# SPDX-License-Identifier: GPL-2.0-only
"""The three sides of /proc/net/ktcp agree: document, module, and its readers and writers."""

import ast
import operator
import re
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from types import ModuleType
from typing import get_args

import pytest
from pydantic import BaseModel

from ktcp_ops.mesh.diagnosis import bundle, doctor
from ktcp_ops.mesh.inventory.reader import read
from ktcp_ops.mesh.model.mesh import (
    MAX_BACKUPS,
    MAX_HOPS,
    ConnectionPool,
    Mesh,
    Path,
    Settings,
    ThreadPool,
)
from ktcp_ops.mesh.model.values import Integer
from ktcp_ops.mesh.observation import status
from ktcp_ops.mesh.relay import procfs
from ktcp_ops.mesh.relay.plan import plan
from tests.contract.conftest import ROOT, kmod_sources, sections, text
from tests.unit.mesh.conftest import make_description

DASH = "\N{EN DASH}"

ABI = sections(text("docs/procfs-abi.md"))
SETTINGS_C = text("kmod/control/settings.c")

OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.LShift: operator.lshift,
    ast.Mult: operator.mul,
}


def number(expression: str) -> int:
    """Compute a C constant like ``1 << 20``, ``30 * 86400`` or ``U16_MAX``."""
    return evaluate(ast.parse(expression.replace("U16_MAX", "65535"), mode="eval").body)


def evaluate(node: ast.expr) -> int:
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](evaluate(node.left), evaluate(node.right))
    assert isinstance(node, ast.Constant)
    assert isinstance(node.value, int)
    return node.value


def constant(path: str, name: str) -> int:
    """Read a macro of the module."""
    found = re.search(rf"^#define {name}\s+(\w+)$", text(path), re.MULTILINE)
    assert found, f"{path} has no {name}"
    return int(found[1].rstrip("uU"), 0)


def module_files() -> set[str]:
    """Find the files that the module makes."""
    found: set[str] = set()
    for path in kmod_sources():
        pattern = r"struct ktcp_proc_file \w+ = \{\s*\.name = \"(\w+)\""
        found |= set(re.findall(pattern, path.read_text()))
    return found


def module_numbers() -> dict[str, tuple[int, int]]:
    """Find the settings that are numbers, with their ranges."""
    rows = re.findall(r"^\tNUMBER\((\w+), [^,]+, ([^,]+), ([^,]+)\),$", SETTINGS_C, re.MULTILINE)
    return {name: (number(low), number(high)) for name, low, high in rows}


def module_words() -> dict[str, list[str]]:
    """Find the settings that are words, with the words."""
    lists = {
        name: re.findall(r'"(\w+)"', words)
        for name, words in re.findall(r"(\w+)\[\] = \{([^}]*NULL) \}", SETTINGS_C)
    }
    rows = re.findall(r"^\tWORDS\((\w+), (\w+),", SETTINGS_C, re.MULTILINE)
    return {name: lists[words] for name, words in rows}


def module_addresses() -> set[str]:
    """Find the settings that are addresses, which the mesh sets by what it knows of a relay."""
    return set(re.findall(r"^\tADDRESS\((\w+), \w+\),$", SETTINGS_C, re.MULTILINE))


def bounds(model: type[BaseModel], field: str) -> tuple[int, int]:
    """Find the range that the model gives a number."""
    info = model.model_fields[field]
    inner = [item for part in get_args(info.annotation) for item in get_args(part)]
    for item in (*info.metadata, *inner):
        if isinstance(item, Integer):
            return item.low, item.high
    raise AssertionError(f"{model.__name__}.{field} has no range")


def apply_program() -> ModuleType:
    """Load ktcp-apply, which is a program without a suffix."""
    loader = SourceFileLoader("ktcp_apply", str(ROOT / "roles/ktcp_peers/files/ktcp-apply"))
    spec = spec_from_loader("ktcp_apply", loader)
    assert spec
    module = module_from_spec(spec)
    sys.modules["ktcp_apply"] = module  # its dataclasses look themselves up
    try:
        loader.exec_module(module)
    finally:
        del sys.modules["ktcp_apply"]
    return module


def test_the_files_are_the_documented_ones() -> None:
    documented = {name for name in ABI if re.fullmatch(r"[a-z_]+", name)}
    assert module_files() == documented == {*procfs.FILES, "keys"}


def test_the_states_of_peers_are_the_documented_ones() -> None:
    names = re.findall(r'return "(\w+)";', text("kmod/relay/health.c"))
    documented = re.findall(r"^\| `(\w+)` \|", ABI["peers"], re.MULTILINE)
    assert documented == names == ["up", "down", "recovering"]
    assert procfs.Peer("", 0, 0, 0).state == names[0]


def test_the_settings_are_the_documented_ones() -> None:
    documented = re.findall(r"^\| `(\w+) ([\w ]+)` \|", ABI["settings"], re.MULTILINE)
    names = {*module_words(), *module_numbers()}
    assert {name for name, _ in documented} == names | module_addresses()
    assert names == set(Settings.model_fields)


@pytest.mark.parametrize("name", sorted(module_numbers()))
def test_a_number_has_one_range(name: str) -> None:
    low, high = module_numbers()[name]
    row = next(line for line in ABI["settings"].splitlines() if line.startswith(f"| `{name} "))
    assert f"| {low} {DASH} {high} |" in row
    assert bounds(Settings, name) == (low, high)


def test_the_documented_defaults_are_the_modules() -> None:
    rows = re.findall(r"^\t(?:NUMBER|WORDS)\((\w+), (.*)\),$", SETTINGS_C, re.MULTILINE)
    assert rows
    for name, arguments in rows:
        values = arguments.split(", ")
        if name in module_numbers():
            default = str(number(values[0]))
        else:
            # A switch starts as 0 or 1, a choice as the constant named after its word.
            default = next(
                word
                for place, word in enumerate(module_words()[name])
                if values[1] == str(place) or values[1].endswith(f"_{word.upper()}")
            )
        assert f"| `{name} {default}` | {default} |" in ABI["settings"]


@pytest.mark.parametrize("name", sorted(module_words()))
def test_words_are_the_same(name: str) -> None:
    words = module_words()[name]
    row = next(line for line in ABI["settings"].splitlines() if line.startswith(f"| `{name} "))
    assert set(re.findall(r"`(\w+)`", row)) == set(words)
    kind = get_args(Settings.model_fields[name].annotation)[0]
    if get_args(kind)[0] is bool:
        assert words == ["off", "on"]
    else:
        assert set(get_args(kind)) == set(words)


def test_watermarks_and_limits_are_the_same() -> None:
    pool = 0, constant("kmod/relay/peer.c", "MARK_MAX")
    threads = 1, constant("kmod/control/thread_marks.c", "MARK_MAX")
    for field in ("low", "high"):
        assert bounds(ConnectionPool, field) == pool
        assert bounds(ThreadPool, field) == threads
    assert f"({pool[0]} {DASH} {pool[1]})" in ABI["peers"]
    assert f"{threads[0]} {DASH} {threads[1]}" in ABI["thread_pool"]
    assert constant("kmod/relay/route.h", "KTCP_HOPS_MAX") == MAX_HOPS
    assert f"up to {MAX_HOPS} relays" in ABI["routes"]
    # The module counts the route's own path too.
    assert constant("kmod/relay/route.h", "KTCP_PATHS_MAX") == 1 + MAX_BACKUPS
    assert f"at most {MAX_BACKUPS} and" in ABI["routes"]
    assert bounds(Path, "mark") == (1, constant("kmod/relay/route.h", "KTCP_MARK_MAX"))
    assert bounds(Mesh, "key") == (1, 65535)
    assert f"N is 1 {DASH} 65535" in ABI["keys"]


def test_the_counters_are_the_documented_ones() -> None:
    counters = set(re.findall(r'"(\w+_total)"', text("kmod/control/stats.c")))
    rows = [line.split("|")[1] for line in ABI["stats"].splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert counters | {"splits_active"} == documented


def test_the_tracepoints_are_the_documented_ones() -> None:
    documented = set(re.findall(r"^\| `(ktcp_\w+)` \|", ABI["Tracepoints"], re.MULTILINE))
    source = text("kmod/datapath/trace.h") + text("kmod/relay/trace.h")
    alone = re.findall(r"^TRACE_EVENT\((\w+),", source, re.MULTILINE)
    alike = re.findall(r"^DEFINE_EVENT\(\w+, (\w+),", source, re.MULTILINE)
    assert documented == {*alone, *alike}


def test_ops_asks_for_counters_that_there_are() -> None:
    documented = set(re.findall(r"`(\w+)`", ABI["stats"]))
    asked: set[str] = set()
    for name in ("observation/rates", "observation/status", "diagnosis/verify"):
        source = text(f"ktcp_ops/mesh/{name}.py")
        asked |= set(re.findall(r"[\"'](\w+_total|splits_active)[\"']", source))
    assert asked
    assert asked <= documented


def test_the_figures_of_a_peer_are_the_documented_ones() -> None:
    printing = text("kmod/relay/peer.c").partition('seq_printf(seq, "# ')[2].partition("\n}")[0]
    printed = re.findall(r"(\w+) %(?:d|u|lu|lld|s)\b", printing)
    example = next(line for line in ABI["peers"].splitlines() if line.startswith("# "))
    assert printed == example.split()[2::2] == list(procfs.Peer.__annotations__)[4:]
    # Fields that the program on the relay reads itself.
    asked = set(re.findall(r'values(?:\.get\(|\[)"(\w+)"', text("playbooks/files/rtt.py")))
    assert asked == {"ready", "rtt_us"}
    assert asked <= set(printed)


def test_the_documents_examples_can_be_read() -> None:
    examples = {
        name: "".join(re.findall(r"```\n(.*?)```", body, re.DOTALL))
        for name, body in ABI.items()
        if name in procfs.FILES
    }
    state = procfs.parse(examples)
    assert state.version["wire"] == "2"
    assert state.thread_pool["ready"] == 32
    assert state.peers[0].misses == 3
    assert state.peers[0].state == "up"
    assert state.exits[0].hits == 12
    assert state.draining
    assert state.splits[0].fields["role"] == "client"
    assert state.last_error.startswith("peers: line 2")


def test_every_planned_line_is_one_that_the_relay_applies() -> None:
    """Lines of the plan pass through ktcp-apply unchanged."""
    program = apply_program()
    for name, node in plan(read(make_description())).items():
        assert set(node["conf"]) <= module_files()
        for file, lines in node["conf"].items():
            entries, problems = program.parse(file, "\n".join(lines), file)
            assert problems == []
            assert [entry.text for entry in entries.values()] == lines, (name, file)


def test_the_tasks_that_ops_listens_to_are_there() -> None:
    assert f"- name: {status.READ_TASK} {{{{" in text("playbooks/tasks/procfs.yml")
    assert "- name: Fetch the probes" in text("playbooks/fetch.yml")
    for task in (doctor.EXAMINE_TASK, doctor.CLOUD_TASK):
        assert f"- name: {task}\n" in text("playbooks/doctor.yml")
    assert f"- name: {bundle.COLLECT_TASK}\n" in text("playbooks/bundle.yml")
    for moment in ("before", "after"):
        assert f"ktcp_moment: {moment}" in text("playbooks/fetch.yml")


def test_the_steering_knows_the_modules_bit() -> None:
    taken = constant("kmod/relay/route.h", "KTCP_MARK_TAKEN")
    found = re.search(
        r"^ktcp_steering_taken: (\S+)", text("roles/ktcp_steering/vars/main.yml"), re.MULTILINE
    )
    assert found
    assert int(found[1], 0) == taken
    assert f"{taken:#x}" in text("docs/procfs-abi.md")
