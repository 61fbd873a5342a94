# SPDX-License-Identifier: GPL-2.0-only
"""How ktcp_dkms reads the output of DKMS and the module's source, and what ktcp-dkms names."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.roles.modules import ansible_module
from tests.unit.roles.programs import ROOT, program

dkms = ansible_module("ktcp_dkms")
command = program("ktcp_module", "ktcp-dkms")

CONF = 'PACKAGE_NAME="ktcp"\nPACKAGE_VERSION="1.2.3"\nBUILD_EXCLUSIVE_KERNEL="^6\\.[1-9]"\n'


def says(monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, output, "")

    monkeypatch.setattr(dkms, "run", run)


@pytest.mark.parametrize(
    ("output", "versions"),
    [
        ("", {}),
        ("ktcp/0.1.0: added\n", {"0.1.0": []}),
        ("ktcp/0.1.0, 6.1.0-44-amd64, x86_64: built\n", {"0.1.0": []}),
        (
            (
                "ktcp/0.1.0, 6.1.0-44-amd64, x86_64: installed\n"
                "ktcp/0.1.0, 6.12.57+deb13-amd64, x86_64: installed\n"
                "ktcp/0.0.9: added\n"
            ),
            {"0.1.0": ["6.1.0-44-amd64", "6.12.57+deb13-amd64"], "0.0.9": []},
        ),
        (
            (
                "ktcp/0.1.0, 6.1.0-44-amd64, x86_64: installed "
                "(WARNING! Diff between built and installed module!)\n"
            ),
            {"0.1.0": []},
        ),
    ],
)
def test_only_installed_counts(
    monkeypatch: pytest.MonkeyPatch, output: str, versions: dict[str, list[str]]
) -> None:
    says(monkeypatch, output)
    assert dkms.known_versions() == versions


def test_the_tree_holds_exactly_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkms, "SOURCES", tmp_path)
    source = dkms.Source({"dkms.conf": CONF, "compat/sock.h": "/* */\n"})
    assert source.tree == tmp_path / "ktcp-1.2.3"
    assert not source.is_unpacked()
    source.unpack()
    assert source.is_unpacked()
    (source.tree / "left-over.c").write_text("")
    assert not source.is_unpacked()
    source.unpack()
    assert source.is_unpacked()


def test_kernels_without_headers_are_all_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dkms, "MODULES", tmp_path)
    monkeypatch.setattr(dkms.platform, "release", lambda: "5.10.0-amd64")
    for kernel in ("6.1.0-1-amd64", "6.1.0-2-amd64", "6.1.0-3-amd64", "5.10.0-amd64"):
        (tmp_path / kernel).mkdir()
        (tmp_path / kernel / "modules.builtin").touch()
    (tmp_path / "6.1.0-9-removed").mkdir()
    with pytest.raises(dkms.DkmsError) as error:
        dkms.wanted_kernels(dkms.Source({"dkms.conf": CONF}), ["6.1.0-3-amd64"])
    assert [line.split(":")[0] for line in str(error.value).splitlines()] == [
        "kernel 6.1.0-1-amd64",
        "kernel 6.1.0-2-amd64",
        "kernel 5.10.0-amd64 runs, but ktcp is made for ^6\\.[1-9]",
    ]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """The source that Ansible has written to the host."""
    (tmp_path / "ktcp.json").write_text(json.dumps({"dkms.conf": CONF}))
    return tmp_path / "ktcp.json"


def test_kernels_that_could_be_booted_without_the_module_are_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "MODULES", tmp_path)
    for kernel in ("6.1.0-1-amd64", "6.1.0-2-amd64", "6.1.0-3-amd64", "5.10.0-amd64"):
        (tmp_path / kernel / "build").mkdir(parents=True)
        (tmp_path / kernel / "modules.builtin").touch()
    (tmp_path / "6.1.0-2-amd64/build/Makefile").touch()
    has = {"6.1.0-1-amd64"}
    monkeypatch.setattr(command, "has_module", lambda kernel: kernel in has)
    run = "run `dkms autoinstall -k 6.1.0-2-amd64` before it is booted"
    assert list(command.lacking(source, ["6.1.0-3-amd64"], None)) == [
        f"kernel 6.1.0-2-amd64: no ktcp module: {run}"
    ]
    assert list(command.lacking(source, [], "6.1.0-1-amd64")) == []
    get = "install linux-headers-6.1.0-3-amd64 before it is booted"
    assert list(command.lacking(source, [], "6.1.0-3-amd64")) == [
        f"kernel 6.1.0-3-amd64: no ktcp module: {get}"
    ]
    has.add("6.1.0-2-amd64")
    assert list(command.lacking(source, ["6.1.0-3-amd64"], None)) == []


def test_a_kernel_that_comes_and_is_not_supported_is_named(source: Path) -> None:
    kernel = "7.3.4+deb13-amd64"
    assert list(command.lacking(source, [], kernel)) == [
        f"kernel {kernel}: ktcp does not support it: a boot into it splits nothing"
    ]
    assert list(command.lacking(source, [kernel], kernel)) == []


def test_the_command_ends_with_what_it_found(source: Path, tmp_path: Path) -> None:
    def called(path: Path) -> tuple[int, str, str]:
        program = [sys.executable, str(ROOT / "roles/ktcp_module/files/ktcp-dkms"), "lacking"]
        words = [*program, f"--source={path}", "--kernel=7.3.4"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    wanted = "kernel 7.3.4: ktcp does not support it: a boot into it splits nothing\n"
    assert called(source) == (6, wanted, "")
    source.write_text(json.dumps({"dkms.conf": CONF.replace("^6", "^7")}))
    assert called(source) == (0, "", "")
    source.write_text(json.dumps({"dkms.conf": ""}))
    wanted = "ktcp-dkms: dkms.conf of the source has no BUILD_EXCLUSIVE_KERNEL\n"
    assert called(source) == (1, "", wanted)
    assert called(tmp_path / "none")[0] == 1


class Signer:
    """A DKMS that signs the modules it builds, and knows one certificate."""

    def __init__(self, root: Path, *, key: str) -> None:
        self.root = root
        self.key = key
        self.sig_key = "11:22"
        self.commands: list[str] = []

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        output = ""
        match argv:
            case ("openssl", *_):
                output = "serial=0ABC\n"
            case ("modinfo", "-F", "sig_key", "-k", *_):
                output = self.sig_key
            case ("modinfo", "-F", "sig_key", path):
                output = Path(path).read_text()
            case ("modinfo", *_):
                output = "ABCD\n"
            case ("dkms", "status", *_):
                output = "ktcp/1.2.3, 6.1.0-1-amd64, x86_64: installed\n"
            case ("dkms", word, *_):
                self.commands.append(word)
                self.obey(word)
        return subprocess.CompletedProcess(argv, 0, output, "")

    def obey(self, word: str) -> None:
        if word == "build":
            module = dkms.built_modules("1.2.3.trial", "6.1.0-1-amd64") / "ktcp.ko"
            module.parent.mkdir(parents=True)
            module.write_text(self.key)
        if word == "install":
            module = dkms.built_modules("1.2.3", "6.1.0-1-amd64") / "ktcp.ko"
            self.sig_key = module.read_text()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories of the source and of DKMS."""
    monkeypatch.setattr(dkms, "SOURCES", tmp_path / "src")
    monkeypatch.setattr(dkms, "DKMS", tmp_path / "dkms")
    return tmp_path


def test_a_module_that_is_signed_otherwise_is_built_anew(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer(places, key="0A:BC")
    monkeypatch.setattr(dkms, "run", signer.run)
    source = dkms.Source({"dkms.conf": CONF}, certificate=Path("/root/mok.der"))
    source.unpack()
    kernels = ["6.1.0-1-amd64"]
    steps: list[str] = []
    known = dkms.known_versions()
    assert dkms.missing(source, kernels, known) == kernels
    dkms.bring(source, dkms.build(source, kernels), known, steps.append)
    assert signer.commands == ["add", "build", "unbuild", "install"]
    assert steps == ["kernel 6.1.0-1-amd64: ktcp/1.2.3 installed"]
    assert dkms.missing(source, kernels, known) == []


def test_a_module_that_is_brought_is_taken_only_if_it_is_signed_as_it_should_be(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer(places, key="0A:BC")
    monkeypatch.setattr(dkms, "run", signer.run)
    source = dkms.Source({"dkms.conf": CONF}, places / "built", Path("/root/mok.der"))
    module = places / "built" / "6.1.0-1-amd64" / "ktcp.ko"
    module.parent.mkdir(parents=True)
    module.write_text("0A:BC")
    assert dkms.brought(source, "6.1.0-1-amd64") == module.parent
    module.write_text("99")
    assert dkms.brought(source, "6.1.0-1-amd64") is None


def test_a_module_that_stays_signed_otherwise_is_a_problem(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dkms, "run", Signer(places, key="99").run)
    source = dkms.Source({"dkms.conf": CONF}, certificate=Path("/root/mok.der"))
    with pytest.raises(dkms.DkmsError, match=r"not signed with the key of /root/mok\.der"):
        dkms.build(source, ["6.1.0-1-amd64"])


def test_what_is_no_certificate_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    says(monkeypatch, "")
    source = dkms.Source({"dkms.conf": CONF}, certificate=Path("/root/mok.der"))
    with pytest.raises(dkms.DkmsError, match="is no certificate"):
        dkms.is_installed_signed(source, "6.1.0-1-amd64")


def test_the_kernels_hook_never_fails_and_says_what_it_finds(tmp_path: Path) -> None:
    for name, body in (
        ("ktcp-dkms", 'echo "asked $*"; exit 6'),
        ("logger", f'echo "$*" >>{tmp_path}/log'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    hook = (ROOT / "roles/ktcp_module/files/zz-ktcp").read_text()
    script = hook.replace("/usr/local/sbin/ktcp-dkms", "ktcp-dkms")
    done = subprocess.run(
        ["/bin/sh", "-c", script, "zz-ktcp", "6.1.0-9-amd64", "/boot/vmlinuz"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    wanted = "asked lacking --kernel 6.1.0-9-amd64"
    assert done.stderr == f"ktcp: {wanted}\n"
    assert (tmp_path / "log").read_text() == f"-p daemon.err -t ktcp -- {wanted}\n"
