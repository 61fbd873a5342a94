# SPDX-License-Identifier: GPL-2.0-only
"""Reading the texts of /proc/net/ktcp."""

import pytest

from ktcp_ops.mesh.relay import procfs
from ktcp_ops.mesh.relay.procfs import Exit, Peer, ProcfsError, Route, Split

TEXTS = {
    "version": "module 0.1.0\nwire 1\nsrcversion 5C9B\n",
    "settings": "early_syn off\nengine threads\nbuffer_bytes 16384\n",
    "thread_pool": "low 32\nhigh 256\n# ready 30\n# busy 2\n# created 40\n# ended 8\n",
    "listeners": "add client 5557\nadd relay 5565\n",
    "peers": (
        "add 10.77.2.2:5565 low 16 high 64 key 1\n"
        "# 10.77.2.2:5565 ready 15 connecting 1 hits 7 misses 2 failures 0 rtt_us 215123\n"
        "add [fd77::2]:5565 low 0 high 4 key 2\n"
        "# [fd77::2]:5565 ready 0 connecting 0 hits 0 misses 0 failures 3 novelty 9\n"
    ),
    "routes": (
        "add mark 0x101 via 10.77.2.2:5565,[fd77::3]:5565\n"
        "add mark 0x102 direct proxy transparent\n"
        "add mark 0x103 via 10.77.2.2:5565 target 192.0.2.1:80\n"
    ),
    "exits": (
        "allow 10.77.3.0/24 port 1-65535\n# allow 10.77.3.0/24 port 1-65535 hits 12\n"
        "deny ::/0\n# deny ::/0 hits 0\n"
    ),
    "drain": "off\n# splits 3\n",
    "splits": (
        "10.77.1.2:40000 -> 10.77.3.2:80 mark 0x101 role client state open "
        "up 78 down 10240 age_s 1\n"
    ),
    "stats": "splits_opened_total 12\nsplits_active 3\nbytes_up_total 99999999999\n",
    "last_error": 'settings: line 1: "fast": expected off or on\n',
}


def test_everything() -> None:
    state = procfs.parse(TEXTS)
    assert state.version == {"module": "0.1.0", "wire": "1", "srcversion": "5C9B"}
    assert state.settings["buffer_bytes"] == "16384"
    assert state.thread_pool == {
        "low": 32,
        "high": 256,
        "ready": 30,
        "busy": 2,
        "created": 40,
        "ended": 8,
    }
    assert state.listeners == {"client": 5557, "relay": 5565}
    assert state.peers == (
        Peer("10.77.2.2:5565", 16, 64, 1, ready=15, connecting=1, hits=7, misses=2, rtt_us=215123),
        Peer("[fd77::2]:5565", 0, 4, 2, failures=3),
    )
    assert state.routes == (
        Route(0x101, ("10.77.2.2:5565", "[fd77::3]:5565")),
        Route(0x102, proxy=True, transparent=True),
        Route(0x103, ("10.77.2.2:5565",), "192.0.2.1:80"),
    )
    assert state.exits == (Exit("allow 10.77.3.0/24 port 1-65535", 12), Exit("deny ::/0", 0))
    assert state.draining is False
    assert state.splits == (
        Split(
            "10.77.1.2:40000",
            "10.77.3.2:80",
            {
                "mark": "0x101",
                "role": "client",
                "state": "open",
                "up": "78",
                "down": "10240",
                "age_s": "1",
            },
        ),
    )
    assert state.stats["bytes_up_total"] == 99999999999
    assert "expected" in state.last_error


def test_nothing_configured() -> None:
    state = procfs.parse(dict.fromkeys(procfs.FILES, ""))
    assert state == procfs.State()


@pytest.mark.parametrize(
    ("text", "interception"),
    [
        ("add relay 5565\nadd client 5557 untracked\n", "untracked"),
        ("add client 5557 tproxy\n", "tproxy"),
        ("add client 5557\nadd relay 5565\n", "redirect"),
    ],
)
def test_how_flows_come_to_the_client_listener(text: str, interception: str) -> None:
    state = procfs.parse({"listeners": text})
    assert state.interception == interception
    assert state.listeners["client"] == 5557


def test_draining() -> None:
    assert procfs.parse({"drain": "on\n# splits 0\n"}).draining


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("version", "module"),
        ("settings", "turbo"),
        ("thread_pool", "low many"),
        ("thread_pool", "# ready"),
        ("listeners", "client 5557"),
        ("listeners", "add client 5557 other"),
        ("listeners", "add relay 5565 untracked"),
        ("peers", "add 10.0.0.1:5565 low 16"),
        ("peers", "add 10.0.0.1:5565 low x high 2 key 1"),
        ("peers", "# 10.0.0.1:5565 ready"),
        ("routes", "add mark 0x101"),
        ("routes", "add mark 0x101 via"),
        ("exits", "# allow ::/0 hits many"),
        ("splits", "10.0.0.1:1 10.0.0.2:2"),
        ("splits", "10.0.0.1:1 -> 10.0.0.2:2 mark"),
        ("stats", "splits_active -1"),
    ],
)
def test_a_line_that_is_not_understood_is_named(name: str, line: str) -> None:
    with pytest.raises(ProcfsError) as caught:
        procfs.parse({name: line + "\n"})
    assert f"/proc/net/ktcp/{name}" in caught.value.message
    assert line.lstrip("# ") in caught.value.message


def test_the_output_of_grep_is_taken_apart() -> None:
    output = (
        "/proc/net/ktcp/version:module 0.1.0\n"
        "/proc/net/ktcp/peers:add [fd77::2]:5565 low 0 high 4 key 2\n"
        "/proc/net/ktcp/version:wire 1\n"
        "motd: some banner: of the host\n"
    )
    assert procfs.split_files(output) == {
        "version": "module 0.1.0\nwire 1\n",
        "peers": "add [fd77::2]:5565 low 0 high 4 key 2\n",
    }
