# SPDX-License-Identifier: GPL-2.0-only
"""ktcp-wireguard with a fake interface made of a few Python values."""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.roles.programs import program

wireguard = program("ktcp_wireguard", "ktcp-wireguard")

CONF = """\
# managed
# KTCP's tunnel
[Interface]
Address = fd6b::1/64
ListenPort = 51820
MTU = 1420

# rs
[Peer]
PublicKey = RS=
AllowedIPs = fd6b::2/128
Endpoint = 10.77.2.2:51820

# branch
[Peer]
PublicKey = BRANCH=
AllowedIPs = fd6b::e/128, 10.5.0.0/24
PersistentKeepalive = 25
"""


@dataclass
class Host:
    """The state that `ip` and `wg` show, and the commands that changed it."""

    directory: Path
    there: bool = False
    up: bool = False
    mtu: int = 1500
    addresses: list[str] = field(default_factory=list)
    device: dict[str, str] = field(default_factory=dict)
    peers: dict[str, str] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    keys: int = 0

    def run(self, argv: tuple[str, ...], **options: str) -> subprocess.CompletedProcess[str]:
        text = ""
        match argv:
            case ("wg", "genkey"):
                self.keys += 1
                text = f"private{self.keys}=\n"
            case ("wg", "pubkey"):
                text = options["input"].replace("private", "public") + "\n"
            case ("wg", "show", *_):
                text = self.dump()
            case ("wg", "syncconf", *_):
                self.sync(options["input"])
            case ("ip", "-json", *_):
                text = self.shown()
            case ("ip", *words):
                self.ip(words)
        return subprocess.CompletedProcess(argv, 0, text, "")

    def dump(self) -> str:
        first = "\t".join([self.device["PrivateKey"], "pub", self.device["ListenPort"], "off"])
        rest = [f"{key}\t(none)\tend\t{allowed}\t0" for key, allowed in self.peers.items()]
        return "\n".join([first, *rest]) + "\n"

    def sync(self, text: str) -> None:
        self.changes.append("sync")
        self.peers = {}
        blocks = text.split("[Peer]")
        for number, block in enumerate(blocks):
            lines = [line.split(" = ") for line in block.splitlines() if " = " in line]
            values = dict(lines)
            assert not {"Address", "MTU"} & values.keys()
            if number:
                self.peers[values["PublicKey"]] = values["AllowedIPs"].replace(" ", "")
            else:
                self.device = values

    def shown(self) -> str:
        infos = [
            {"local": local, "prefixlen": int(length), "scope": "global"}
            for local, _, length in (address.partition("/") for address in self.addresses)
        ]
        flags = ["NOARP", *(["UP"] if self.up else [])]
        return json.dumps([{"mtu": self.mtu, "flags": flags, "addr_info": infos}])

    def ip(self, words: list[str]) -> None:
        self.changes.append(" ".join(words))
        match words:
            case ["link", "add", *_]:
                self.there = True
            case ["link", "del", *_]:
                self.there = self.up = False
                self.addresses = []
            case ["link", "set", _, "mtu", mtu, "up"]:
                self.mtu, self.up = int(mtu), True
            case ["address", "replace", address, *_]:
                self.addresses = [*{*self.addresses, address}]
            case ["address", "del", address, *_]:
                self.addresses.remove(address)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    monkeypatch.setattr(wireguard.subprocess, "run", host.run)
    monkeypatch.setattr(wireguard.Tunnel, "exists", lambda _: host.there)
    return host


@pytest.fixture
def configured(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    command(host, monkeypatch, "key")
    (host.directory / "wireguard.conf").write_text(CONF)
    return host


def command(host: Host, monkeypatch: pytest.MonkeyPatch, action: str) -> int:
    where = [f"--directory={host.directory}", f"--memory={host.directory / 'run'}"]
    monkeypatch.setattr("sys.argv", ["ktcp-wireguard", *where, action])
    return int(wireguard.main())


def test_a_key_is_made_once_and_only_root_reads_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert command(host, monkeypatch, "key") == 0
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {"public_key": "public1=", "made": True, "known": {}}
    assert second == {**first, "made": False}
    files = [path.name for path in host.directory.iterdir()]
    assert files == ["wireguard.key"]
    assert (host.directory / "wireguard.key").stat().st_mode & 0o777 == 0o600


def test_a_dry_run_makes_no_key(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(host, monkeypatch, "known") == 0
    assert json.loads(capsys.readouterr().out) == {"public_key": "", "made": False, "known": {}}
    assert list(host.directory.iterdir()) == []


def test_keys_of_peers_are_remembered_by_their_names(
    configured: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    command(configured, monkeypatch, "key")
    known = json.loads(capsys.readouterr().out)["known"]
    assert known == {"rs": "RS=", "branch": "BRANCH="}


def test_the_interface_is_brought_once(
    configured: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(configured, monkeypatch, "check") == wireguard.DRIFT
    assert configured.changes == []
    assert command(configured, monkeypatch, "up") == 0
    assert configured.peers == {"RS=": "fd6b::2/128", "BRANCH=": "fd6b::e/128,10.5.0.0/24"}
    assert configured.device == {"PrivateKey": "private1=", "ListenPort": "51820"}
    assert (configured.addresses, configured.mtu) == (["fd6b::1/64"], 1420)
    configured.changes.clear()
    capsys.readouterr()
    for action in ("up", "check"):
        assert command(configured, monkeypatch, action) == 0
    assert configured.changes == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("up", False),
        ("mtu", 1500),
        ("addresses", ["fd6b::9/64"]),
        ("peers", {"RS=": "fd6b::2/128"}),
        ("peers", {"RS=": "(none)", "BRANCH=": "fd6b::e/128,10.5.0.0/24"}),
        ("device", {"PrivateKey": "other", "ListenPort": "51820"}),
        ("device", {"PrivateKey": "private1=", "ListenPort": "1"}),
        ("there", False),
    ],
)
def test_what_somebody_changed_is_mended(
    configured: Host, monkeypatch: pytest.MonkeyPatch, name: str, value: object
) -> None:
    command(configured, monkeypatch, "up")
    setattr(configured, name, value)
    assert command(configured, monkeypatch, "check") == wireguard.DRIFT
    assert command(configured, monkeypatch, "up") == 0
    assert command(configured, monkeypatch, "check") == 0


def test_an_end_that_moved_in_the_file_is_loaded(
    configured: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    command(configured, monkeypatch, "up")
    (configured.directory / "wireguard.conf").write_text(CONF.replace("10.77.2.2", "10.77.2.9"))
    configured.changes.clear()
    assert command(configured, monkeypatch, "up") == 0
    assert "sync" in configured.changes
    assert "link add ktcp-wg type wireguard" not in configured.changes


def test_a_failed_load_is_said(
    configured: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(configured, "ip", lambda _: None)
    configured.there = True
    configured.device = {"PrivateKey": "x", "ListenPort": "1"}
    assert command(configured, monkeypatch, "up") == wireguard.FAILED
    assert "mtu is not as configured, although loaded" in capsys.readouterr().err


def test_down_removes_it_once(
    configured: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command(configured, monkeypatch, "up")
    capsys.readouterr()
    for _ in range(2):
        assert command(configured, monkeypatch, "down") == 0
    assert capsys.readouterr().out == "ktcp-wg: removed\n"
    assert not configured.there


def test_without_a_key_nothing_is_loaded(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (host.directory / "wireguard.conf").write_text(CONF)
    assert command(host, monkeypatch, "up") == wireguard.FAILED
    assert host.changes == []
    assert "wireguard.key: no such file" in capsys.readouterr().err
    (host.directory / "wireguard.conf").write_text("[Interfaces]\n")
    assert command(host, monkeypatch, "check") == wireguard.FAILED
    assert "line 1" in capsys.readouterr().err
