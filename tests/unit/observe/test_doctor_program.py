# SPDX-License-Identifier: GPL-2.0-only
"""The facts that ``playbooks/files/doctor.py`` reads, from a directory in place of a host."""

import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from ktcp_ops.mesh.diagnosis.facts import Facts
from tests.unit.observe.programs import playbook_file

program = playbook_file("doctor.py")

KERNEL = "6.12.57+deb13-amd64"
NETSTAT = "TcpExt: SyncookiesSent IPReversePathFilter\nTcpExt: 0 41\nIpExt: InOctets\nIpExt: 9\n"
FILES = {
    f"lib/modules/{KERNEL}/modules.builtin": "",
    f"lib/modules/{KERNEL}/build/Makefile": "",
    "lib/modules/6.1.0-44-amd64/modules.builtin": "",
    "lib/modules/left-over/updates": "",
    "sys/module/ktcp/srcversion": "ABC\n",
    "sys/class/net/eth0/mtu": "1500\n",
    "sys/class/net/lo/mtu": "65536\n",
    "sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
    "proc/sys/net/ipv4/ip_forward": "1\n",
    "proc/sys/net/ipv4/conf/all/rp_filter": "0\n",
    "proc/sys/net/ipv4/conf/eth0/rp_filter": "2\n",
    "proc/sys/net/ipv6/conf/eth0/accept_ra": "1\n",
    "proc/sys/net/netfilter/nf_conntrack_max": "65536\n",
    "proc/net/netstat": NETSTAT,
    "proc/net/stat/nf_conntrack": "entries drop\n0000000c 00000010\n0000000c 0000000a\n",
}

COMMANDS: dict[tuple[str, ...], tuple[int, list[str]]] = {
    ("modinfo", "-k", KERNEL, "-F", "srcversion", "ktcp"): (0, ["ABC"]),
    ("modinfo", "-k", KERNEL, "-F", "signer", "ktcp"): (0, ["DKMS module signing key"]),
    ("ip", "-o", "addr"): (
        0,
        ["1: lo inet 127.0.0.1/8 scope host", "2: eth0 inet6 fd77::1/64 scope global"],
    ),
    ("ip", "-6", "route", "show", "default"): (0, ["default via fe80::1 dev eth0 proto ra"]),
    ("ip", "-o", "route", "get", "10.77.2.2"): (
        0,
        ["10.77.2.2 via 10.0.0.1 dev eth0 src 10.0.0.2 uid 0 \\    cache expires 9sec mtu 1400"],
    ),
    ("ip", "-o", "route", "get", "10.77.3.1"): (2, ["RTNETLINK answers: unreachable"]),
    ("timedatectl", "show", "--property=NTPSynchronized", "--value"): (0, ["yes"]),
    ("systemctl", "is-active", "ktcp.service"): (0, ["active"]),
    ("systemctl", "is-active", "ktcp-steering.service"): (3, ["failed"]),
}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def run(*argv: str) -> tuple[int | None, list[str]]:
        return COMMANDS.get(argv, (None, []))

    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "run", run)
    return tmp_path


@pytest.fixture
def facts(host: Path, monkeypatch: pytest.MonkeyPatch) -> Facts:
    """All facts of the fake host; only packets of up to 1400 bytes arrive."""
    (host / program.SECURE_BOOT).parent.mkdir(parents=True)
    (host / program.SECURE_BOOT).write_bytes(b"\6\0\0\0\1")

    def echo(_address: str, size: int) -> bool:
        return size <= 1400

    monkeypatch.setattr(program, "echo", echo)
    monkeypatch.setattr(program, "connects", lambda _address, port: f"no {port}")
    monkeypatch.setattr(program, "metadata_status", lambda: 401)
    monkeypatch.setattr(program.platform, "release", lambda: KERNEL)
    asked = {"peers": ["10.77.2.2"], "targets": ["10.77.3.1"], "port": 5565}
    return Facts.model_validate_json(json.dumps(program.facts(asked)))


ALL = {
    "running": KERNEL,
    "kernels": [
        {"release": "6.1.0-44-amd64", "headers": False, "srcversion": None, "signer": None},
        {
            "release": KERNEL,
            "headers": True,
            "srcversion": "ABC",
            "signer": "DKMS module signing key",
        },
    ],
    "loaded": "ABC",
    "secure_boot": True,
    "sysctls": {
        "net.ipv4.ip_forward": 1,
        "net.ipv4.conf.all.rp_filter": 0,
        "net.netfilter.nf_conntrack_max": 65536,
    },
    "interfaces": {"eth0": {"mtu": 1500, "rp_filter": 2, "accept_ra": 1}},
    "default6": "default via fe80::1 dev eth0 proto ra",
    "counters": {"rp_filter_drops": 41, "conntrack_drops": 26},
    "synchronized": "yes",
    "services": {"ktcp.service": "active", "ktcp-steering.service": "failed"},
    "configuration": {"code": None, "lines": []},
    "rules": {"code": None, "lines": []},
    "cloud": "aws",
    "metadata_status": 401,
    "peers": {
        "10.77.2.2": {
            "route": {"dev": "eth0", "src": "10.0.0.2", "via": "10.0.0.1"},
            "mtu": 1500,
            "arrives": 1400,
            "learned": 1400,
            "refusal": "no 5565",
        }
    },
    "targets": {"10.77.3.1": None},
}
"""What the program finds out about that host, but for the time."""


def test_all_of_a_host(facts: Facts) -> None:
    said = facts.model_dump()
    assert said.pop("time") > 0
    assert said == ALL


def test_the_running_kernel_is_one_of_the_installed(facts: Facts) -> None:
    kernel = facts.module()
    assert kernel
    assert kernel.srcversion == "ABC"
    assert facts.model_copy(update={"running": "6.9.9"}).module() is None


@pytest.mark.usefixtures("host")
def test_a_host_without_uefi() -> None:
    assert program.secure_boot() is None


@pytest.mark.parametrize(
    ("vendor", "tag", "cloud"),
    [
        ("Google", "", "gcp"),
        ("Microsoft Corporation", "7783-7084-3265-9085-8269-3286-77", "azure"),
        ("Microsoft Corporation", "a Hyper-V of one's own", None),
        ("QEMU", "", None),
    ],
)
def test_clouds(host: Path, vendor: str, tag: str, cloud: str | None) -> None:
    (host / "sys/class/dmi/id/sys_vendor").write_text(f"{vendor}\n")
    (host / "sys/class/dmi/id/chassis_asset_tag").write_text(f"{tag}\n")
    assert program.cloud() == cloud


def test_a_bare_host_has_facts_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "run", lambda *_: (None, []))
    said = program.facts({"peers": [], "targets": [], "port": 5565})
    facts = Facts.model_validate_json(json.dumps(said))
    assert (facts.loaded, facts.kernels, facts.cloud, facts.synchronized) == (None, [], None, None)


def test_commands_really_run() -> None:
    assert program.run("sh", "-c", "echo one; echo two; exit 6") == (6, ["one", "two"])
    assert program.run("ktcp-no-such-program") == (None, [])
    assert program.first("echo", " said ") == "said"
    assert program.first("false") is None


@pytest.mark.parametrize("payload", [b"", b"odd", b"\xff" * 1472])
def test_a_packet_has_the_checksum_of_rfc_1071(payload: bytes) -> None:
    packet = program.packet(8, payload)
    assert packet[:2] == b"\x08\0"
    assert packet[8:] == payload
    # Over all bytes, with the checksum in them, the sum is 0.
    assert program.checksum(packet) == 0
    padded = packet + b"\0" * (len(packet) % 2)
    assert sum(struct.unpack(f"!{len(padded) // 2}H", padded)) % 0xFFFF == 0


class Wire:
    """Replaces a raw socket by one end of a pair, which reports a family."""

    def __init__(self, end: socket.socket, family: int) -> None:
        self.end, self.family = end, family

    def fileno(self) -> int:
        return self.end.fileno()

    def recv(self, size: int) -> bytes:
        return self.end.recv(size)


MARK = b"m" * 32
HEADER = b"\x45" + bytes(19)


@pytest.mark.parametrize(
    ("family", "packets", "expected"),
    [
        (socket.AF_INET, [HEADER + b"\0\0" + bytes(6) + MARK], True),
        (socket.AF_INET6, [b"\x81\0" + bytes(6) + MARK], True),
        # Our own request, another program's answer, and only then our answer.
        (socket.AF_INET6, [b"\x80\0" + MARK, b"\x81\0" + b"n" * 32, b"\x81\0" + MARK], True),
        (socket.AF_INET, [HEADER + b"\x08\0" + MARK], False),
        (socket.AF_INET, [], False),
    ],
)
def test_only_our_own_answer_is_one(
    family: int, packets: list[bytes], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "PATIENCE_S", 0.05)
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with here, there:
        for packet in packets:
            there.send(packet)
        kind = 0 if family == socket.AF_INET else 129
        assert program.answered(Wire(here, family), kind, MARK) is expected


@pytest.mark.parametrize(
    ("largest", "mtu", "arrives"), [(9001, 1500, 1500), (1450, 9001, 1420), (0, 1500, None)]
)
def test_the_largest_packet_that_arrives(
    largest: int, mtu: int, arrives: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def echo(_address: str, size: int) -> bool:
        asked.append(size)
        return size <= largest

    monkeypatch.setattr(program, "echo", echo)
    assert program.arriving("192.0.2.1", mtu) == arrives
    assert max(asked) == mtu


def test_a_port_that_listens_and_one_that_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert program.connects("127.0.0.1", port) == ""
    assert "refused" in program.connects("127.0.0.1", port)


@pytest.mark.parametrize(
    ("told", "from_"),
    [("127.0.0.9", "127.0.0.9"), ("192.0.2.1", "127.0.0.1"), ("any", "127.0.0.1")],
)
def test_a_peer_is_asked_from_the_address_of_the_legs(
    told: str, from_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tmp_path / "proc/net/ktcp/settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"source4 {told}\nsource6 any\n")
    monkeypatch.setattr(program, "ROOT", tmp_path)
    monkeypatch.setattr(program, "addresses", lambda: ["127.0.0.1", "127.0.0.9"])
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert program.connects("127.0.0.1", server.getsockname()[1]) == ""
        connection, (address, _) = server.accept()
        connection.close()
    assert address == from_


def test_addresses_are_asked_about_in_their_order() -> None:
    def double(address: str) -> Any:  # noqa: ANN401 - as the program's own
        return address * 2

    assert program.each(double, ["b", "a"]) == {"b": "bb", "a": "aa"}
