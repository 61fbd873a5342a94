# SPDX-License-Identifier: GPL-2.0-only
"""ktcp-apply against a kernel made of plain files that behaves as procfs does."""

import errno
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.roles.programs import program

apply = program("ktcp_peers", "ktcp-apply")

KEY = "ab" * 32
OTHER_KEY = "cd" * 32

SETTINGS = "thread_pool on\nbuffer_bytes 16384\nmax_splits 16384\n"
POOL = "low 32\nhigh 256\n# ready 32\n"

MESH = {
    "settings": "# comment\nbuffer_bytes 65536\n",
    "thread_pool": "low 8\nhigh 16\n",
    "listeners": "add client 5557\nadd relay 5565\n",
    "peers": "add 10.77.2.2:5565 low 16 high 64 key 1\nadd [fd77:0:0:2::2]:5565 key 1\n",
    "routes": "add mark 0x101 via 10.77.2.2:5565\n",
    "exits": "allow 10.77.3.0/24 port 80\ndeny 0.0.0.0/0\n",
    "keys": f"add 1 {KEY}\n",
}


@dataclass
class Procfs:
    """The lines that were written, and those to refuse."""

    directory: Path
    writes: list[tuple[str, list[str]]] = field(default_factory=list)
    refuse: str = ""

    def put(self, path: Path, text: bytes) -> None:
        assert len(text) <= apply.WRITE_LIMIT
        lines = text.decode().splitlines()
        for number, line in enumerate(lines, start=1):
            if self.refuse and line.startswith(self.refuse):
                (self.directory / "last_error").write_text(
                    f'{path.name}: line {number}: "WORD": not today\n'
                )
                raise OSError(errno.EINVAL, "Invalid argument")
        self.writes.append((path.name, lines))
        if path.name != "keys":
            old = path.read_text().splitlines()
            for line in lines:
                old = self.after(path.name, old, line)
            path.write_text("".join(f"{line}\n" for line in old))

    def after(self, file: str, lines: list[str], line: str) -> list[str]:
        """Lines of a file after one line was written to it."""
        words = line.split()
        if file in apply.VALUES:
            return [line if old.split()[0] == words[0] else old for old in lines]
        if words[0] == "del":
            gone = " ".join(words[1:])
            kept = [old for old in lines if not old.removeprefix("add ").startswith(gone)]
            assert len(kept) == len(lines) - 1, f"{file}: {line}: no such line in {lines}"
            return kept
        if words[0] == "set":
            return [
                f"add {' '.join(words[1:])}" if old.split()[1] == words[1] else old for old in lines
            ]
        if file == "exits":
            line = " ".join(apply.parse_exit(words)[0].split())
        return [*lines, line]


@dataclass
class Relay:
    """One relay's directories."""

    root: Path
    procfs: Procfs

    def configure(self, **files: str) -> None:
        for name, text in files.items():
            (self.root / "conf" / f"{name}.conf").write_text(text)

    def run(self, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
        options = [
            "--conf",
            str(self.root / "conf"),
            "--proc",
            str(self.root / "proc"),
            "--module",
            str(self.root / "module"),
            "--memory",
            str(self.root / "run" / "applied.json"),
        ]
        monkeypatch.setattr("sys.argv", ["ktcp-apply", *options, *words])
        return int(apply.main())

    def reload_module(self) -> None:
        proc = self.root / "proc"
        for name in apply.PARSERS:
            (proc / name).write_text("")
        (proc / "settings").write_text(SETTINGS)
        (proc / "thread_pool").write_text(POOL)
        if (self.root / "module").exists():
            (self.root / "module").rename(self.root / "unloaded")
        (self.root / "module").mkdir()


@pytest.fixture
def relay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relay:
    for name in ("conf", "proc"):
        (tmp_path / name).mkdir()
    procfs = Procfs(tmp_path / "proc")
    monkeypatch.setattr(apply, "put", procfs.put)
    relay = Relay(tmp_path, procfs)
    relay.reload_module()
    relay.configure(**MESH)
    return relay


Command = Callable[..., int]


@pytest.fixture
def run(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Command:
    return lambda *words: relay.run(monkeypatch, *words)


def test_a_fresh_module_gets_everything_in_a_safe_order(relay: Relay, run: Command) -> None:
    assert run() == 0
    assert [file for file, _ in relay.procfs.writes] == [
        "keys",
        "settings",
        "thread_pool",
        "peers",
        "exits",
        "routes",
        "listeners",
    ]
    assert relay.procfs.writes[2] == ("thread_pool", ["low 8", "high 16"])


def test_a_second_run_writes_nothing(relay: Relay, run: Command) -> None:
    run()
    relay.procfs.writes.clear()
    assert run() == 0
    assert relay.procfs.writes == []
    assert run("--check") == 0


def test_check_prints_and_writes_nothing(
    relay: Relay, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--check") == 6
    assert relay.procfs.writes == []
    assert "settings: buffer_bytes 65536" in capsys.readouterr().out.splitlines()


def test_drift_is_mended(relay: Relay, run: Command) -> None:
    run()
    (relay.root / "proc" / "routes").write_text("")
    assert run("--check") == 6
    relay.procfs.writes.clear()
    assert run() == 0
    assert relay.procfs.writes == [("routes", ["add mark 0x101 via 10.77.2.2:5565"])]


def test_what_is_no_longer_configured_goes_in_the_reverse_order(relay: Relay, run: Command) -> None:
    run()
    relay.procfs.writes.clear()
    relay.configure(**dict.fromkeys(MESH, ""))
    assert run() == 0
    assert [file for file, _ in relay.procfs.writes] == [
        "listeners",
        "settings",
        "thread_pool",
        "exits",
        "routes",
        "peers",
        "keys",
    ]


def test_a_setting_that_is_no_longer_named_returns_to_its_default(
    relay: Relay, run: Command
) -> None:
    run()
    relay.configure(settings="")
    assert run() == 0
    assert (relay.root / "proc" / "settings").read_text() == SETTINGS


def test_clear_leaves_nothing_but_settings(relay: Relay, run: Command) -> None:
    run()
    assert run("--clear") == 0
    for file in ("listeners", "peers", "routes", "exits"):
        assert (relay.root / "proc" / file).read_text() == ""


def test_clear_without_the_module_has_nothing_to_do(relay: Relay, run: Command) -> None:
    (relay.root / "proc").rename(relay.root / "gone")
    assert run("--clear") == 0


def test_a_peer_is_changed_without_removing_it(relay: Relay, run: Command) -> None:
    run()
    relay.procfs.writes.clear()
    relay.configure(peers=MESH["peers"].replace("high 64", "high 128"))
    assert run() == 0
    assert relay.procfs.writes == [("peers", ["set 10.77.2.2:5565 low 16 high 128 key 1"])]


def test_a_route_is_replaced_in_one_write(relay: Relay, run: Command) -> None:
    run()
    relay.procfs.writes.clear()
    relay.configure(routes="add mark 257 direct\n")
    assert run() == 0
    assert relay.procfs.writes == [("routes", ["del mark 0x101", "add mark 257 direct"])]


def test_a_listener_changes_its_way_in_two_writes(relay: Relay, run: Command) -> None:
    """Two listeners cannot have one port, and the kernel frees it when the write is done."""
    run()
    relay.procfs.writes.clear()
    for line in ("add client 5557 untracked", "add client 5557 tproxy", "add client 5557"):
        relay.configure(listeners=f"{line}\nadd relay 5565\n")
        assert run("--check") == 6
        assert run() == 0
        assert relay.procfs.writes == [
            ("listeners", ["del client 5557"]),
            ("listeners", [line]),
        ]
        assert run("--check") == 0
        relay.procfs.writes.clear()


def test_a_listener_is_what_it_was_when_its_new_way_is_refused(relay: Relay, run: Command) -> None:
    run()
    before = (relay.root / "proc" / "listeners").read_text()
    relay.configure(listeners="add client 5557 untracked\nadd relay 5565\n")
    relay.procfs.refuse = "add client 5557 untracked"
    assert run() == 1
    after = (relay.root / "proc" / "listeners").read_text()
    assert sorted(after.splitlines()) == sorted(before.splitlines())


@pytest.mark.parametrize(
    "line", ["add relay 5565 untracked", "add client 5557 other", "add client 5557 tproxy tproxy"]
)
def test_a_listener_has_a_way_that_the_module_knows(
    relay: Relay, run: Command, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    relay.configure(listeners=f"{line}\n")
    assert run() == 1
    assert "expected: add client PORT [tproxy|untracked]" in capsys.readouterr().err
    assert relay.procfs.writes == []


def test_exits_keep_their_common_head_and_their_order(relay: Relay, run: Command) -> None:
    run()
    relay.procfs.writes.clear()
    relay.configure(exits="allow 10.77.3.0/24 port 80\nallow 10.9.0.1\ndeny 0.0.0.0/0\n")
    assert run() == 0
    assert relay.procfs.writes == [
        ("exits", ["del deny 0.0.0.0/0", "allow 10.9.0.1", "deny 0.0.0.0/0"])
    ]


def prefixes(count: int, word: str) -> str:
    return "".join(f"{word} 10.{n >> 8}.{n & 255}.0/24 port 8000-8100\n" for n in range(count))


@pytest.fixture
def short_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that takes only short writes; the test's procfs asserts that."""
    monkeypatch.setattr(apply, "WRITE_LIMIT", 1000)


@pytest.mark.usefixtures("short_writes")
def test_what_is_longer_than_a_write_is_sent_in_parts(relay: Relay, run: Command) -> None:
    relay.configure(
        exits=prefixes(99, "allow"),
        peers="".join(f"add [fd77::{n:x}]:5565 low 16 high 64 key 1\n" for n in range(1, 99)),
    )
    assert run() == 0
    files = [file for file, _ in relay.procfs.writes]
    assert files.count("exits") > 1
    assert files.count("peers") > 1
    written = [line for file, lines in relay.procfs.writes if file == "exits" for line in lines]
    assert [line.split()[1] for line in written] == [
        line.split()[1] for line in prefixes(99, "allow").splitlines()
    ]
    assert run("--check") == 0


@pytest.mark.usefixtures("short_writes")
def test_no_part_of_a_change_allows_what_neither_list_does(relay: Relay, run: Command) -> None:
    """Rules are deleted from the end: an allow never outlives the deny before it."""
    relay.configure(exits="deny 10.0.0.0/8\n" + prefixes(99, "allow"))
    run()
    relay.procfs.writes.clear()
    relay.configure(exits="allow 203.0.113.0/24\n")
    assert run() == 0
    written = [line for file, lines in relay.procfs.writes if file == "exits" for line in lines]
    assert written[-2:] == ["del deny 10.0.0.0/8", "allow 203.0.113.0/24"]


@pytest.mark.usefixtures("short_writes")
def test_a_part_refused_takes_the_parts_before_it_back(relay: Relay, run: Command) -> None:
    run()
    before = (relay.root / "proc/exits").read_text()
    relay.configure(exits=prefixes(99, "allow"))
    relay.procfs.refuse = "allow 10.0.90.0/24"
    assert run() == 1
    assert (relay.root / "proc/exits").read_text() == before


@pytest.mark.usefixtures("short_writes")
def test_a_route_and_what_takes_its_place_are_in_one_part(relay: Relay, run: Command) -> None:
    lines = [f"add mark {n:#x} via [fd77::{n:x}]:5565" for n in range(0x101, 0x161)]
    relay.configure(routes="\n".join(lines))
    run()
    relay.procfs.writes.clear()
    relay.configure(routes="\n".join(f"{line} proxy" for line in lines))
    assert run() == 0
    assert len(relay.procfs.writes) > 1
    for _, written in relay.procfs.writes:
        assert written[0].startswith("del ")
        assert len(written) % 2 == 0


@pytest.mark.parametrize(
    ("file", "running"),
    [
        ("exits", "allow 10.77.3.0/24 port 80-80\n# allow hits 3\ndeny 0.0.0.0/0\n"),
        (
            "peers",
            "add 10.77.2.2:5565 low 16 high 64 key 1\nadd [fd77::2:0:0:2]:5565 low 1 key 1\n",
        ),
        ("routes", "add mark 0x101 via 10.77.2.2:5565\n"),
    ],
)
def test_other_spellings_are_no_difference(
    relay: Relay, run: Command, file: str, running: str
) -> None:
    run()
    relay.configure(peers="add 10.77.2.2:5565 high 64\nadd [fd77:0:0::2:0:0:2]:5565 key 1\n")
    run()
    (relay.root / "proc" / file).write_text(running)
    assert run("--check") == 0


def test_other_spellings_of_a_backup_are_no_difference(relay: Relay, run: Command) -> None:
    spelt = "add mark {} via 10.77.2.2:5565 backup {}:5565,10.77.2.9:5565"
    relay.configure(routes=spelt.format(257, "[fd77:0:0:2::2]") + "\n")
    run()
    (relay.root / "proc" / "routes").write_text(spelt.format("0x101", "[fd77:0:0:2:0::2]"))
    assert run("--check") == 0


def test_a_new_key_under_an_old_number_is_replaced(relay: Relay, run: Command) -> None:
    run()
    relay.procfs.writes.clear()
    relay.configure(keys=f"add 1 {OTHER_KEY}\n")
    assert run() == 0
    assert relay.procfs.writes == [("keys", ["del 1", f"add 1 {OTHER_KEY}"])]


def test_a_module_loaded_anew_gets_its_keys_again(relay: Relay, run: Command) -> None:
    run()
    relay.reload_module()
    relay.procfs.writes.clear()
    assert run() == 0
    assert relay.procfs.writes[0] == ("keys", [f"add 1 {KEY}"])


def test_no_key_is_printed_or_kept(
    relay: Relay, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--check")
    run()
    relay.configure(keys=f"remove 1 {OTHER_KEY}\n")
    assert run() == 1
    output = capsys.readouterr()
    memory = relay.root / "run" / "applied.json"
    assert "keys: add 1" in output.out
    for secret in (KEY, OTHER_KEY):
        assert secret not in output.out + output.err + memory.read_text()
    assert memory.stat().st_mode & 0o777 == 0o600


def test_every_problem_is_said_at_once_and_nothing_is_written(
    relay: Relay, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    relay.configure(
        peers="add 10.77.2.2\n",
        listeners="# fine\nopen client 5557\n",
        exits="allow 10.0.0.1/8\nallow 10.0.0.0/8\nallow 10.0.0.0/8\n",
        paers="",
    )
    assert run() == 1
    assert relay.procfs.writes == []
    said = capsys.readouterr().err.splitlines()
    assert any("paers.conf: no such file" in line for line in said)
    assert any("peers.conf: line 1" in line for line in said)
    assert any("listeners.conf: line 2" in line for line in said)
    assert any("exits.conf: line 1" in line for line in said)
    assert any("exits.conf: line 3" in line and "twice" in line for line in said)


def test_what_the_kernel_refuses_is_named_and_the_rest_taken_back(
    relay: Relay, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    before = {file: (relay.root / "proc" / file).read_text() for file in MESH}
    relay.configure(settings="", peers="", routes="", exits="", listeners="add relay 5566\n")
    relay.procfs.refuse = "add relay 5566"
    assert run() == 1
    said = capsys.readouterr().err
    assert "listeners.conf line 1: listeners: add relay 5566: refused" in said
    assert "not today" in said
    after = {file: (relay.root / "proc" / file).read_text() for file in MESH}
    assert {file: sorted(text.split("\n")) for file, text in after.items()} == {
        file: sorted(text.split("\n")) for file, text in before.items()
    }


def test_without_the_module_check_says_so(
    relay: Relay, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in (relay.root / "proc").iterdir():
        path.unlink()
    assert run("--check") == 6
    assert "is the module ktcp loaded?" in capsys.readouterr().out
    assert run() == 1


def test_a_damaged_memory_is_no_memory(relay: Relay, run: Command) -> None:
    run()
    (relay.root / "run" / "applied.json").write_text(json.dumps({"load_id": "other"})[:-3])
    relay.reload_module()
    assert run() == 0


def refused(relay: Relay, **files: str) -> None:
    """Write a configuration that the module refuses."""
    relay.configure(listeners="add client 5557\nadd relay 5566\n", **files)
    relay.procfs.refuse = "add relay 5566"


def test_files_that_are_refused_give_way_to_those_that_were_applied(
    relay: Relay, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--restore") == 0
    conf = relay.root / "conf"
    (conf / "exits.conf").unlink()
    refused(relay, keys=f"add 1 {OTHER_KEY}\n")
    assert run("--restore") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"ktcp-apply: {conf}/listeners.conf line 2: ")
    assert [line for line in said if "restored" in line] == [
        f"ktcp-apply: {conf}/{name}.conf: restored as applied last"
        for name in ("listeners", "keys", "exits")
    ]
    assert {path.stem: path.read_text() for path in conf.glob("*.conf")} == MESH
    assert (conf / "keys.conf").stat().st_mode & 0o777 == 0o600
    # The next boot finds the files that worked before.
    relay.reload_module()
    assert run() == 0


def test_files_that_make_no_sense_give_way_too(relay: Relay, run: Command) -> None:
    run()
    relay.configure(peers="add nonsense\n")
    assert run("--restore") == 1
    assert (relay.root / "conf" / "peers.conf").read_text() == MESH["peers"]


def test_no_file_is_to_blame_for_a_module_that_is_not_loaded(relay: Relay, run: Command) -> None:
    run()
    relay.configure(peers="")
    for path in (relay.root / "proc").iterdir():
        path.unlink()
    assert run("--restore") == 1
    assert run("--boot") == 1
    assert (relay.root / "conf" / "peers.conf").read_text() == ""


def test_a_boot_uses_what_was_applied_where_files_are_refused(
    relay: Relay, run: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    relay.reload_module()
    refused(relay)
    assert run("--boot") == 0
    conf = relay.root / "conf"
    assert f"{conf}: refused: {conf}/applied, which was applied last" in capsys.readouterr().err
    assert "add relay 5565" in (relay.root / "proc" / "listeners").read_text()
    # It must not report success: the files stay, and differ from the running state.
    assert "5566" in (conf / "listeners.conf").read_text()
    assert run("--check") == 6


@pytest.mark.parametrize("option", ["--restore", "--boot"])
def test_where_nothing_was_applied_before_a_refusal_is_one(
    relay: Relay, run: Command, option: str
) -> None:
    refused(relay)
    assert run(option) == 1
    assert "5566" in (relay.root / "conf" / "listeners.conf").read_text()
