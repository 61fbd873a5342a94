# SPDX-License-Identifier: GPL-2.0-only
"""What ktcp-dkms makes of the words of DKMS and of the module's source."""

import subprocess
from pathlib import Path

import pytest

from tests.unit.roles.programs import program

dkms = program("ktcp_module", "ktcp-dkms")

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
