# SPDX-License-Identifier: GPL-2.0-only
"""Tracepoints: each event comes when it should, with its split's addresses."""

import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.mesh import RELAY_PORT, Mesh
from tests.kernel.topology import Family
from tests.kernel.traffic import (
    Payload,
    connect,
    echo,
    is_refused,
    receive,
    receive_end,
    send,
    serving,
)
from tests.kernel.wait import until

TRACING = Path("/sys/kernel/tracing")
# How often each event occurs for a split between two relays.
LIFE = {"early_syn": 1, "session": 2, "open": 2, "half_close": 4, "close": 2, "abort": 0}
EVENT = re.compile(r" (ktcp_\w+): (.*)")


@pytest.fixture(autouse=True, scope="module")
def _tracefs() -> Iterator[None]:
    """Mount the file system that events are read from."""
    subprocess.run(["mount", "-t", "tracefs", "tracefs", str(TRACING)], check=True)
    yield
    subprocess.run(["umount", str(TRACING)], check=True)


@contextmanager
def traced() -> Iterator[list[tuple[str, str]]]:
    """The module's events within the block; the list is filled at its end."""
    found: list[tuple[str, str]] = []
    switch = TRACING / "events" / "ktcp" / "enable"
    (TRACING / "trace").write_text("", encoding="ascii")
    switch.write_text("1\n", encoding="ascii")
    try:
        yield found
    finally:
        switch.write_text("0\n", encoding="ascii")
    found += EVENT.findall((TRACING / "trace").read_text(encoding="ascii"))


def texts(found: list[tuple[str, str]], name: str) -> list[str]:
    """The texts of all events of a name."""
    return [text for event, text in found if event == name]


def test_life_of_a_split(mesh: Mesh, family: Family) -> None:
    peer = family.at(family.rs, RELAY_PORT)
    mesh.rc.write("peers", f"set {peer} low 1 high 1")
    until(lambda: f"{peer} ready 1 connecting 0" in mesh.rc.read("peers"), "not one ready")
    with serving(mesh.s, family, echo) as at, traced() as found:
        with connect(mesh.c, family, at.address, at.port) as sock:
            client = family.at(*sock.getsockname()[:2])
            send(sock, Payload(1000))
            sock.shutdown(socket.SHUT_WR)
            receive(sock, Payload(1000))
            receive_end(sock)
        mesh.wait_idle()
        until(lambda: f"{peer} ready 1 connecting 0" in mesh.rc.read("peers"), "not refilled")
    flow = f"{client} -> {family.at(at.address, at.port)}"
    said = {name: [text for text in texts(found, f"ktcp_{name}") if flow in text] for name in LIFE}
    # Of the two relays only the first one sees the client's SYN.
    assert {name: len(each) for name, each in said.items()} == LIFE
    assert all("up=1000 down=1000" in text and "end=fin" in text for text in said["close"])
    assert not said["abort"]
    [taken] = texts(found, "ktcp_pool_take")
    assert taken.startswith(f"peer={peer} ")
    assert taken.endswith(" hit")
    assert any(f"peer={peer} " in text for text in texts(found, "ktcp_pool_refill"))


def test_split_that_comes_to_nothing(mesh: Mesh, family: Family) -> None:
    """The pool has no connection for it, and the target refuses."""
    peer = family.at(family.rs, RELAY_PORT)
    mesh.rc.write("peers", f"set {peer} low 0 high 0")
    until(lambda: f"{peer} ready 0 connecting 0" in mesh.rc.read("peers"), "not emptied")
    with traced() as found:
        assert is_refused(mesh.c, family, family.server, 9)
        mesh.wait_idle()
    assert texts(found, "ktcp_pool_take") == [f"peer={peer} ready=0 miss"]
    assert texts(found, "ktcp_abort")
    assert ["end=reset" in text for text in texts(found, "ktcp_close")] == [True, True]
