# SPDX-License-Identifier: GPL-2.0-only
"""/proc/net/ktcp: strict, all lines or none, and what a file prints can be written back."""

import errno
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.mesh import KEY, OTHER_KEY, clear
from tests.kernel.namespace import Namespace, RefusedError
from tests.kernel.topology import Topology

MODES = {
    "version": 0o400,
    "settings": 0o600,
    "thread_pool": 0o600,
    "listeners": 0o600,
    "peers": 0o600,
    "routes": 0o600,
    "exits": 0o600,
    "keys": 0o200,
    "drain": 0o600,
    "splits": 0o400,
    "stats": 0o400,
    "last_error": 0o400,
}

PEER = "192.0.2.1:5565"
PEER6 = "[2001:db8::1]:5565"
STATE: dict[str, list[str]] = {
    "keys": [f"add 1 {KEY}"],
    "peers": [f"add {PEER} low 2 high 4 key 1", f"add {PEER6} low 0 high 0 key 65535"],
    "routes": [
        f"add mark 0x7 via {PEER}",
        "add mark 0x101 direct",
        f"add mark 0x102 via {PEER6},192.0.2.9:1,[2001:db8::9]:65535",
        f"add mark 0x103 via {PEER} target 198.51.100.1:443",
        "add mark 0x104 direct proxy",
        f"add mark 0x105 via {PEER} target 198.51.100.1:443 proxy transparent",
        f"add mark 0x106 via {PEER},192.0.2.9:1 backup {PEER6},192.0.2.9:1 target 198.51.100.1:443",
        "add mark 0x7fffffff direct target [2001:db8::443]:443",
    ],
    "exits": [
        "deny 203.0.113.9/32",
        "allow 203.0.113.0/24 port 80-443",
        "allow 2001:db8::/32",
        "allow 0.0.0.0/0 port 65535-65535",
        "deny ::/0",
    ],
    "listeners": [
        "add client 5557",
        "add client 5558 tproxy",
        "add client 5559 untracked",
        "add relay 5565",
    ],
    "drain": ["on"],
}
READABLE = [name for name in STATE if name != "keys"]


@dataclass(frozen=True)
class Wrong:
    """A write that must fail, with its error."""

    file: str
    lines: Sequence[str]
    errno: int
    word: str = ""
    line: int = 1

    def __str__(self) -> str:
        return f"{self.file}: {' / '.join(self.lines)[:40]}"


def wrong(file: str, line: str, error: int, word: str = "") -> Wrong:
    """One wrong line."""
    return Wrong(file, [line], error, word)


SETTINGS = [
    wrong("settings", "unheard_of 1", errno.EINVAL, "unheard_of"),
    wrong("settings", "buffer_bytes", errno.EINVAL),
    wrong("settings", "buffer_bytes 16384 16384", errno.EINVAL, "16384"),
    wrong("settings", "buffer_bytes many", errno.EINVAL, "many"),
    wrong("settings", "buffer_bytes -1", errno.EINVAL, "-1"),
    wrong("settings", "buffer_bytes 16k", errno.EINVAL, "16k"),
    wrong("settings", "buffer_bytes 0", errno.ERANGE, "0"),
    wrong("settings", "buffer_bytes 4294967296", errno.ERANGE, "4294967296"),
    wrong("settings", "buffer_bytes 18446744073709551616", errno.ERANGE, "18446744073709551616"),
    wrong("settings", "handshake_timeout_ms 0", errno.ERANGE, "0"),
    wrong("settings", "connect_timeout_ms 0", errno.ERANGE, "0"),
    wrong("settings", "idle_timeout_s 2592001", errno.ERANGE, "2592001"),
    wrong("settings", "keepalive_s 32768", errno.ERANGE, "32768"),
    wrong("settings", "max_splits 0", errno.ERANGE, "0"),
    wrong("settings", "early_syn maybe", errno.EINVAL, "maybe"),
    wrong("settings", "early_syn ON", errno.EINVAL, "ON"),
    wrong("settings", "engine fibres", errno.EINVAL, "fibres"),
    wrong("settings", "datapath", errno.EINVAL),
    wrong("settings", "source4", errno.EINVAL),
    wrong("settings", "source4 2001:db8::1", errno.EINVAL, "2001:db8::1"),
    wrong("settings", "source4 127.0.0.1", errno.EINVAL, "127.0.0.1"),
    wrong("settings", "source4 10.0.0.0/8", errno.EINVAL, "10.0.0.0/8"),
    wrong("settings", "source6 192.0.2.1", errno.EINVAL, "192.0.2.1"),
    wrong("settings", "source6 ::ffff:192.0.2.1", errno.EINVAL, "::ffff:192.0.2.1"),
]
THREAD_POOL = [
    wrong("thread_pool", "middle 3", errno.EINVAL, "middle"),
    wrong("thread_pool", "low", errno.EINVAL),
    wrong("thread_pool", "low 3 4", errno.EINVAL, "4"),
    wrong("thread_pool", "low 0", errno.ERANGE, "0"),
    wrong("thread_pool", "high 65537", errno.ERANGE, "65537"),
    Wrong("thread_pool", ["low 9", "high 8"], errno.ERANGE, "low", line=2),
]
LISTENERS = [
    wrong("listeners", "listen client 5557", errno.EINVAL, "listen"),
    wrong("listeners", "add", errno.EINVAL),
    wrong("listeners", "add server 5557", errno.EINVAL, "server"),
    wrong("listeners", "add client", errno.EINVAL),
    wrong("listeners", "add client 5557 5558", errno.EINVAL, "5558"),
    wrong("listeners", "add client 0", errno.ERANGE, "0"),
    wrong("listeners", "add client 65536", errno.ERANGE, "65536"),
    wrong("listeners", "add client http", errno.EINVAL, "http"),
    wrong("listeners", "add client 5557 proxy", errno.EINVAL, "proxy"),
    wrong("listeners", "add relay 5565 tproxy", errno.EINVAL, "tproxy"),
    wrong("listeners", "add relay 5565 untracked", errno.EINVAL, "untracked"),
    wrong("listeners", "del client 5557", errno.ENOENT, "5557"),
    Wrong("listeners", ["add client 5557", "add client 5557"], errno.EEXIST, "5557", line=2),
    Wrong("listeners", ["add client 5557", "add relay 5557"], errno.EEXIST, "5557", line=2),
    Wrong("listeners", ["add client 5557", "del relay 5557"], errno.ENOENT, "5557", line=2),
]
PEERS = [
    wrong("peers", "join 192.0.2.1:5565 key 1", errno.EINVAL, "join"),
    wrong("peers", "add", errno.EINVAL),
    wrong("peers", "add 192.0.2.1 key 1", errno.EINVAL, "192.0.2.1"),
    wrong("peers", "add 192.0.2.256:1 key 1", errno.EINVAL, "192.0.2.256:1"),
    wrong("peers", "add 192.0.2.1:0 key 1", errno.ERANGE, "192.0.2.1:0"),
    wrong("peers", "add 192.0.2.1:65536 key 1", errno.ERANGE, "192.0.2.1:65536"),
    wrong("peers", "add relay.example:5565 key 1", errno.EINVAL, "relay.example:5565"),
    wrong("peers", "add 2001:db8::1:5565 key 1", errno.EINVAL, "2001:db8::1:5565"),
    wrong("peers", "add [2001:db8::1]5565 key 1", errno.EINVAL, "[2001:db8::1]5565"),
    wrong("peers", "add [2001:db8::1:5565 key 1", errno.EINVAL, "[2001:db8::1:5565"),
    wrong("peers", "add 127.0.0.1:5565 key 1", errno.EINVAL, "127.0.0.1:5565"),
    wrong("peers", "add 224.0.0.1:5565 key 1", errno.EINVAL, "224.0.0.1:5565"),
    wrong("peers", "add [fe80::1]:5565 key 1", errno.EINVAL, "[fe80::1]:5565"),
    wrong("peers", "add [::ffff:192.0.2.1]:5565 key 1", errno.EINVAL, "[::ffff:192.0.2.1]:5565"),
    wrong("peers", f"add {PEER}", errno.EINVAL),
    wrong("peers", f"add {PEER} key", errno.EINVAL),
    wrong("peers", f"add {PEER} key 0", errno.ERANGE, "0"),
    wrong("peers", f"add {PEER} key 65536", errno.ERANGE, "65536"),
    wrong("peers", f"add {PEER} colour red key 1", errno.EINVAL, "colour"),
    wrong("peers", f"add {PEER} low 5 high 4 key 1", errno.ERANGE, PEER),
    wrong("peers", f"add {PEER} low 1 high 9999999 key 1", errno.ERANGE, "9999999"),
    wrong("peers", f"set {PEER} low 1", errno.ENOENT, PEER),
    wrong("peers", f"del {PEER}", errno.ENOENT, PEER),
    Wrong("peers", [f"add {PEER} key 1", f"add {PEER} key 2"], errno.EEXIST, PEER, line=2),
    Wrong("peers", [f"add {PEER} key 1", f"del {PEER} key 1"], errno.EINVAL, "key", line=2),
]
ROUTES = [
    wrong("routes", "add 0x101 direct", errno.EINVAL, "0x101"),
    wrong("routes", "add mark", errno.EINVAL),
    wrong("routes", "add mark 0x101", errno.EINVAL),
    wrong("routes", "add mark 0 direct", errno.ERANGE, "0"),
    wrong("routes", "add mark 0x80000000 direct", errno.ERANGE, "0x80000000"),
    wrong("routes", "add mark 0x100000000 direct", errno.ERANGE, "0x100000000"),
    wrong("routes", "add mark red direct", errno.EINVAL, "red"),
    wrong("routes", "add mark 0x101 straight", errno.EINVAL, "straight"),
    wrong("routes", "add mark 0x101 via", errno.EINVAL),
    wrong("routes", f"add mark 0x101 via {PEER}", errno.ENOENT, PEER),
    wrong("routes", "add mark 0x101 direct target", errno.EINVAL),
    wrong("routes", f"add mark 0x101 direct backup {PEER}", errno.EINVAL, "backup"),
    wrong("routes", "add mark 0x101 direct target 192.0.2.1", errno.EINVAL, "192.0.2.1"),
    wrong("routes", "add mark 0x101 direct target 127.0.0.1:80", errno.EINVAL, "127.0.0.1:80"),
    wrong("routes", "add mark 0x101 direct target [::1]:80", errno.EINVAL, "[::1]:80"),
    wrong("routes", "add mark 0x101 direct tgt 192.0.2.1:80", errno.EINVAL, "tgt"),
    wrong("routes", "add mark 0x101 direct target 192.0.2.1:80 80", errno.EINVAL, "80"),
    wrong("routes", "add mark 0x101 direct proxy proxy", errno.EINVAL, "proxy"),
    wrong("routes", "add mark 0x101 direct transparent proxy", errno.EINVAL, "proxy"),
    wrong("routes", "del mark 0x101", errno.ENOENT, "0x101"),
    Wrong("routes", ["add mark 1 direct", "add mark 0x1 direct"], errno.EEXIST, "0x1", line=2),
    Wrong("routes", ["add mark 1 direct", "del mark 1 direct"], errno.EINVAL, "direct", line=2),
]
EXITS = [
    wrong("exits", "permit 192.0.2.0/24", errno.EINVAL, "permit"),
    wrong("exits", "allow", errno.EINVAL),
    wrong("exits", "allow 192.0.2.0/33", errno.ERANGE, "192.0.2.0/33"),
    wrong("exits", "allow 2001:db8::/129", errno.ERANGE, "2001:db8::/129"),
    wrong("exits", "allow 192.0.2.1/24", errno.EINVAL, "192.0.2.1/24"),
    wrong("exits", "allow 192.0.2/24", errno.EINVAL, "192.0.2/24"),
    wrong("exits", "allow 192.0.2.0/", errno.EINVAL, "192.0.2.0/"),
    wrong("exits", "allow 192.0.2.0/24 ports 80", errno.EINVAL, "ports"),
    wrong("exits", "allow 192.0.2.0/24 port", errno.EINVAL),
    wrong("exits", "allow 192.0.2.0/24 port 0", errno.ERANGE, "0"),
    wrong("exits", "allow 192.0.2.0/24 port 65536", errno.ERANGE, "65536"),
    wrong("exits", "allow 192.0.2.0/24 port 443-80", errno.ERANGE, "443-80"),
    wrong("exits", "allow 192.0.2.0/24 port 80-", errno.EINVAL, "80-"),
    wrong("exits", "allow 192.0.2.0/24 port 80 443", errno.EINVAL, "443"),
    wrong("exits", "del allow 192.0.2.0/24", errno.ENOENT, "192.0.2.0/24"),
    Wrong("exits", ["allow 192.0.2.1", "allow 192.0.2.1/32"], errno.EEXIST, "192.0.2.1/32", line=2),
    Wrong("exits", ["allow 192.0.2.1", "del deny 192.0.2.1"], errno.ENOENT, "192.0.2.1", line=2),
]
KEYS = [
    wrong("keys", f"add {KEY}", errno.ERANGE),
    wrong("keys", "add 1", errno.EINVAL),
    wrong("keys", "add 1 11", errno.EINVAL),
    wrong("keys", f"add 1 {KEY}0", errno.EINVAL),
    wrong("keys", f"add 1 {KEY[:-1]}g", errno.EINVAL),
    wrong("keys", f"add 0 {KEY}", errno.ERANGE, "0"),
    wrong("keys", f"add 65536 {KEY}", errno.ERANGE, "65536"),
    wrong("keys", f"add 1 {KEY} {KEY}", errno.EINVAL),
    wrong("keys", "del 1", errno.ENOENT, "1"),
    wrong("keys", f"set 1 {KEY}", errno.EINVAL, "set"),
    Wrong("keys", [f"add 1 {KEY}", f"add 1 {OTHER_KEY}"], errno.EEXIST, "1", line=2),
]
DRAIN = [
    wrong("drain", "yes", errno.EINVAL, "yes"),
    wrong("drain", "on now", errno.EINVAL, "now"),
]
EVERY = [
    *SETTINGS,
    *THREAD_POOL,
    *LISTENERS,
    *PEERS,
    *ROUTES,
    *EXITS,
    *KEYS,
    *DRAIN,
]


def snapshot(host: Namespace) -> dict[str, list[str]]:
    """Everything that can be read and written back."""
    files = [*READABLE, "settings", "thread_pool"]
    return {file: host.lines(file) for file in files}


@pytest.mark.parametrize("case", EVERY, ids=str)
def test_wrong_write(relay: Topology, case: Wrong) -> None:
    before = snapshot(relay.rc)
    with pytest.raises(RefusedError) as refused:
        relay.rc.write(case.file, *case.lines)
    assert refused.value.errno == case.errno, refused.value.reason
    where, _, why = refused.value.reason.partition(f'"{case.word}": ')
    if case.word:
        assert where == f"{case.file}: line {case.line}: "
        assert why
    else:
        assert where.startswith(f"{case.file}: line {case.line}: ")
    assert snapshot(relay.rc) == before


BACKUPS = [
    ("backup", errno.EINVAL, ""),
    ("backup 192.0.2.7:5565", errno.ENOENT, "192.0.2.7:5565"),
    (f"backup {PEER}", errno.EINVAL, PEER),
    (f"backup {PEER6},192.0.2.7:1,192.0.2.7:1", errno.EINVAL, "192.0.2.7:1"),
    (f"backup {PEER6} backup {PEER6}", errno.EINVAL, PEER6),
    ("backup 192.0.2.21:1 backup 192.0.2.22:1 backup 192.0.2.23:1 backup x", errno.ERANGE, "x"),
    (f"target 198.51.100.1:80 backup {PEER6}", errno.EINVAL, "backup"),
    (f"spare {PEER6}", errno.EINVAL, "spare"),
]


@pytest.mark.parametrize(("words", "error", "word"), BACKUPS)
def test_wrong_backup(relay: Topology, words: str, error: int, word: str) -> None:
    others = [f"add 192.0.2.{number}:1 low 0 high 0 key 1" for number in (21, 22, 23)]
    relay.rc.write("peers", *STATE["peers"], *others)
    with pytest.raises(RefusedError) as refused:
        relay.rc.write("routes", f"add mark 1 via {PEER} {words}")
    assert refused.value.errno == error, refused.value.reason
    assert f'"{word}": ' in refused.value.reason or not word
    assert relay.rc.lines("routes") == []


@pytest.mark.parametrize(
    "line",
    [
        f"add 1 {KEY[:-1]}",
        f"add 1 {KEY}00",
        f"add 1 {KEY.replace('1', 'g')}",
        f"add {KEY} 1",
        f"{KEY} 1",
        f"add 1{KEY}",
        f"add 1 {KEY} {KEY}",
        f"del 1 {KEY}",
    ],
)
def test_last_error_never_quotes_a_secret(relay: Topology, line: str) -> None:
    with pytest.raises(RefusedError) as refused:
        relay.rc.write("keys", line)
    assert KEY[:8] not in refused.value.reason
    assert "g" * 8 not in refused.value.reason


def test_last_error_is_kept_until_the_next_failure(relay: Topology) -> None:
    with pytest.raises(RefusedError) as first:
        relay.rc.write("drain", "yes")
    relay.rc.write("drain", "on")
    assert relay.rc.read("last_error") == f"{first.value.reason}\n"
    with pytest.raises(RefusedError) as second:
        relay.rc.write("drain", "no")
    assert second.value.reason != first.value.reason


def test_last_error_is_of_its_namespace(relay: Topology) -> None:
    with pytest.raises(RefusedError):
        relay.rc.write("drain", "not here")
    assert "not" not in relay.rs.read("last_error")


def test_several_lines_are_all_or_none(relay: Topology) -> None:
    good = [f"add mark {n} direct" for n in range(1, 100)]
    with pytest.raises(RefusedError) as refused:
        relay.rc.write("routes", *good, "# a comment counts as a line", "", "add mark 5 direct")
    assert refused.value.errno == errno.EEXIST
    assert refused.value.reason.startswith('routes: line 102: "5": ')
    assert relay.rc.lines("routes") == []
    relay.rc.write("routes", *good)
    assert len(relay.rc.lines("routes")) == len(good)


def test_listener_of_a_failed_write_listens_not(relay: Topology) -> None:
    with pytest.raises(RefusedError):
        relay.rc.write("listeners", "add client 5557", "add client 0")
    listening = relay.rc.run(["ss", "-Hltn"]).stdout
    assert ":5557" not in listening


def test_port_of_another_program(relay: Topology) -> None:
    with relay.rc.socket(2) as taken:
        # Otherwise KTCP's own connections would be in the way.
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", 5557))
        taken.listen()
        with pytest.raises(RefusedError) as refused:
            relay.rc.write("listeners", "add client 5557")
    assert refused.value.errno == errno.EEXIST
    assert relay.rc.lines("listeners") == []


def test_comments_blank_lines_and_spaces(relay: Topology) -> None:
    relay.rc.write("routes", "# routes", "", "   ", "\tadd  mark\t0x5   direct ", "  # end")
    assert relay.rc.lines("routes") == ["add mark 0x5 direct"]


def test_last_line_without_its_end(relay: Topology) -> None:
    relay.rc.run(["sh", "-c", "printf 'add mark 1 direct' > /proc/net/ktcp/routes"])
    assert relay.rc.lines("routes") == ["add mark 0x1 direct"]


def test_replacing_in_one_write(relay: Topology) -> None:
    relay.rc.write("routes", "add mark 1 direct")
    relay.rc.write("routes", "del mark 1", "add mark 1 direct target 192.0.2.1:80")
    assert relay.rc.lines("routes") == ["add mark 0x1 direct target 192.0.2.1:80"]


def test_what_is_read_recreates_the_state(relay: Topology) -> None:
    for file, lines in STATE.items():
        relay.rc.write(file, *lines)
    relay.rc.write("settings", "buffer_bytes 32768", "max_splits 77", "idle_timeout_s 5")
    before = snapshot(relay.rc)
    for file in READABLE:
        assert before[file] == STATE[file]

    texts = {file: relay.rc.read(file) for file in before}
    clear(relay.rc)
    relay.rc.write("settings", "buffer_bytes 16384", "max_splits 1", "idle_timeout_s 1")
    for file in ("settings", "thread_pool", "peers", "routes", "exits", "listeners", "drain"):
        # With all comments, as a shell would copy it.
        relay.rc.write(file, *texts[file].splitlines())
    assert snapshot(relay.rc) == before


def test_peer_changes_by_set(relay: Topology) -> None:
    relay.rc.write("peers", f"add {PEER} low 1 high 2 key 3")
    relay.rc.write("peers", f"set {PEER} high 9")
    assert relay.rc.lines("peers") == [f"add {PEER} low 1 high 9 key 3"]


def test_exits_keep_their_order(relay: Topology) -> None:
    rules = [f"allow 192.0.2.{n}/32" for n in (9, 3, 7, 1)]
    relay.rs.write("exits", *rules)
    relay.rs.write("exits", "del allow 192.0.2.3")
    assert relay.rs.lines("exits") == [rules[0], *rules[2:]]


@pytest.mark.parametrize("file", MODES)
def test_only_root_reads(relay: Topology, file: str) -> None:
    with relay.rc.entered():
        mode = os.stat(f"/proc/thread-self/net/ktcp/{file}")  # noqa: PTH116 - as the kernel names it
    assert mode.st_mode & 0o777 == MODES[file]
    assert (mode.st_uid, mode.st_gid) == (0, 0)


def test_these_files_and_no_others(relay: Topology) -> None:
    with relay.rc.entered():
        names = os.listdir("/proc/thread-self/net/ktcp")  # noqa: PTH208 - as the kernel names it
    assert sorted(names) == sorted(MODES)


def test_keys_cannot_be_read(relay: Topology) -> None:
    """The mode forbids it, and so does the module, since modes do not bind root."""
    relay.rc.write("keys", f"add 1 {KEY}")
    done = relay.rc.run(["cat", "/proc/net/ktcp/keys"], check=False)
    assert KEY not in done.stdout
    assert not done.stdout


@pytest.mark.parametrize("file", [name for name, mode in MODES.items() if mode == 0o400])
def test_read_only_files_cannot_be_written(relay: Topology, file: str) -> None:
    with pytest.raises((RefusedError, PermissionError, OSError)):
        relay.rc.write(file, "# nothing")


WITHOUT_THE_CAPABILITY = [
    *["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"],
    sys.executable,
    "-c",
]
WRITER = """
import os, sys
fd = os.open(f"/proc/net/ktcp/{sys.argv[1]}", os.O_WRONLY)
try:
    os.write(fd, sys.argv[2].encode())
except OSError as error:
    sys.exit(error.errno)
"""


CONFIGURATION = [
    ("settings", "max_splits 7"),
    ("thread_pool", "low 1"),
    ("listeners", "add client 5557"),
    ("peers", f"add {PEER} key 1"),
    ("routes", "add mark 1 direct"),
    ("exits", "allow 192.0.2.1"),
    ("keys", f"add 1 {KEY}"),
    ("drain", "on"),
]


@pytest.mark.parametrize(("file", "line"), CONFIGURATION)
def test_root_without_the_capability(relay: Topology, file: str, line: str) -> None:
    """A container's root has root's number, but not root's capabilities."""
    before = snapshot(relay.rc)
    done = relay.rc.run([*WITHOUT_THE_CAPABILITY, WRITER, file, line], check=False)
    assert done.returncode == errno.EPERM
    assert snapshot(relay.rc) == before


IN_A_USER_NAMESPACE = ["unshare", "--user", "--map-root-user", "--net", sys.executable, "-c"]


@contextmanager
def user_namespaces_may() -> Iterator[None]:
    """Within this block root of a user namespace may configure its own network namespaces."""
    parameter = Path("/sys/module/ktcp/parameters/user_namespaces")
    parameter.write_text("1")
    try:
        yield
    finally:
        parameter.write_text("0")


@pytest.mark.parametrize(("file", "line"), CONFIGURATION)
def test_root_of_a_user_namespace(relay: Topology, file: str, line: str) -> None:
    """Anybody can be that root, so it may configure nothing and gets no kernel thread."""
    before = relay.rc.comments("thread_pool")["created"]
    done = relay.rc.run([*IN_A_USER_NAMESPACE, WRITER, file, line], check=False)
    assert done.returncode == errno.EPERM
    assert relay.rc.comments("thread_pool")["created"] == before


def test_root_of_a_user_namespace_that_is_trusted(relay: Topology) -> None:
    with user_namespaces_may():
        results = {
            file: relay.rc.run([*IN_A_USER_NAMESPACE, WRITER, file, line], check=False).returncode
            for file, line in CONFIGURATION
        }
    # The threads serve other namespaces, too.
    assert results.pop("thread_pool") == errno.EPERM
    assert not any(results.values()), results


def test_write_of_more_than_64_kib(relay: Topology) -> None:
    line = "# " + "x" * 1021
    relay.rc.write("routes", *[line] * 64)
    with pytest.raises(RefusedError):
        relay.rc.write("routes", *[line] * 64, "#")
    assert relay.rc.lines("routes") == []


def test_very_long_word(relay: Topology) -> None:
    with pytest.raises(RefusedError) as refused:
        relay.rc.write("routes", "x" * 60_000)
    assert refused.value.errno == errno.EINVAL
    assert len(refused.value.reason) < 256


@pytest.mark.parametrize(
    "text", [b"\0", b"add mark 1 direct\0\n", b"\xff\xfe\n", b"a" * 10 + b"\0"]
)
def test_bytes_that_are_no_text(relay: Topology, text: bytes) -> None:
    with relay.rc.entered():
        fd = os.open("/proc/thread-self/net/ktcp/routes", os.O_WRONLY)
        try:
            with pytest.raises(OSError, match="Invalid argument"):
                os.write(fd, text)
        finally:
            os.close(fd)
    assert relay.rc.lines("routes") == []


def test_version(relay: Topology) -> None:
    words = dict(line.split() for line in relay.rc.read("version").splitlines())
    assert set(words) == {"module", "wire", "srcversion"}
    assert words["wire"] == "2"
    assert words["srcversion"] != "unknown"


def test_counters_of_stats_never_go_back(relay: Topology) -> None:
    names = [line.split()[0] for line in relay.rc.read("stats").splitlines()]
    assert len(set(names)) == len(names)
    assert {
        "splits_opened_total",
        "splits_closed_total",
        "splits_active",
        "splits_failed_total",
        "early_syn_total",
        "pool_hits_total",
        "pool_misses_total",
        "handshake_failures_total",
        "open_rejected_total",
        "exit_denied_total",
        "connect_failures_total",
        "bytes_up_total",
        "bytes_down_total",
        "resets_total",
        "half_closes_total",
        "limit_passed_total",
    } <= set(names)


def test_namespaces_know_nothing_of_each_other(relay: Topology) -> None:
    for file, lines in STATE.items():
        relay.rc.write(file, *lines)
    relay.rc.write("settings", "max_splits 5")
    for file in READABLE:
        assert relay.rs.lines(file) == (["off"] if file == "drain" else [])
    assert relay.rs.setting("max_splits") != "5"
