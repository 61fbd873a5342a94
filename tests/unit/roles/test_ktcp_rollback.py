# SPDX-License-Identifier: GPL-2.0-only
"""Which module ktcp-dkms keeps and restores, with a fake DKMS made of files."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.programs import program

KERNEL = "6.1.0-1-amd64"
dkms = program("ktcp_module", "ktcp-dkms")


class FakeDkms:
    """DKMS and modinfo over files below a root; a module's text is its srcversion."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.builds: list[str] = []
        self.broken: set[str] = set()
        self.active = ""
        self.full = False
        self.module = root / "lib" / KERNEL / "updates/dkms/ktcp.ko"

    def build(self, version: str) -> Path:
        return self.root / "dkms" / version / KERNEL / "x86_64/module/ktcp.ko"

    def run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        action, *rest = argv[1:]
        said = ""
        match argv[0], action:
            case "modinfo", "-k":
                said = self.module.read_text() if self.module.exists() else ""
            case "modinfo", _:
                said = Path(rest[-1]).read_text()
            case _, "status":
                said = self.status()
            case _, "add":
                (self.root / "dkms" / rest[0].split("/")[1]).mkdir(parents=True, exist_ok=True)
            case _, "build":
                self.compile(rest[0].split("/")[1])
            case _, "unbuild":
                self.unbuild(rest[0].split("/")[1])
            case _, "install":
                self.install(rest[1].split("/")[1])
            case _, "remove":
                self.remove(rest[0].split("/")[1])
        return subprocess.CompletedProcess(argv, 0, said, "")

    def status(self) -> str:
        lines = []
        for place in sorted((self.root / "dkms").glob("*")):
            built = self.build(place.name)
            if not built.exists():
                lines.append(f"ktcp/{place.name}: added")
                continue
            state = "installed" if self.is_installed(place.name) else "built"
            lines.append(f"ktcp/{place.name}, {KERNEL}, x86_64: {state}")
        return "\n".join(lines)

    def compile(self, version: str) -> None:
        text = (self.root / "src" / f"ktcp-{version}" / "main.c").read_text()
        if text not in self.broken:
            self.builds.append(text)
            self.build(version).parent.mkdir(parents=True)
            self.build(version).write_text(text)

    def install(self, version: str) -> None:
        # Like DKMS: an installed module is not replaced by the same version.
        if self.is_installed(version) or self.full:
            return
        self.module.parent.mkdir(parents=True, exist_ok=True)
        self.module.write_text(self.build(version).read_text())
        self.active = version

    def is_installed(self, version: str) -> bool:
        return self.module.exists() and self.active == version

    def unbuild(self, version: str) -> None:
        if self.is_installed(version):
            self.module.unlink()
        dkms.shutil.rmtree(self.root / "dkms" / version / KERNEL, ignore_errors=True)

    def remove(self, version: str) -> None:
        self.unbuild(version)
        dkms.shutil.rmtree(self.root / "dkms" / version)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDkms:
    """A relay with one kernel and no module."""
    for name in ("src", "dkms", f"lib/{KERNEL}/build", "sys"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "lib" / KERNEL / "modules.builtin").touch()
    (tmp_path / "lib" / KERNEL / "build/Makefile").touch()
    fake = FakeDkms(tmp_path)
    places = {
        "SOURCES": tmp_path / "src",
        "KEPT": tmp_path / "src/ktcp-kept",
        "MODULES": tmp_path / "lib",
        "DKMS": tmp_path / "dkms",
        "LOADED": tmp_path / "sys/srcversion",
    }
    for name, place in places.items():
        monkeypatch.setattr(dkms, name, place)
    monkeypatch.setattr(dkms, "run", fake.run)
    monkeypatch.setattr(dkms.platform, "release", lambda: KERNEL)
    monkeypatch.setattr(dkms.platform, "machine", lambda: "x86_64")
    return fake


def source(text: str, version: str = "1.0.0") -> Any:  # noqa: ANN401 - of a program's own class
    conf = f'PACKAGE_VERSION="{version}"\nBUILD_EXCLUSIVE_KERNEL="^6\\."\nAUTOINSTALL="yes"\n'
    return dkms.Source({"dkms.conf": conf, "main.c": text})


def install(text: str, version: str = "1.0.0") -> None:
    assert dkms.install(source(text, version), []) == 0


def load(fake: FakeDkms) -> None:
    """Load what is installed, as a restart of the service does."""
    dkms.LOADED.write_text(fake.module.read_text())


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_the_module_that_ran_is_kept_and_comes_back_without_a_build(
    fake: FakeDkms, version: str, capsys: pytest.CaptureFixture[str]
) -> None:
    install("old")
    load(fake)
    install("new", version)
    assert "ktcp/1.0.0: kept" in capsys.readouterr().out
    load(fake)
    assert dkms.rollback(None, [], check=False) == 0
    assert "loaded: srcversion new, installed is old" in capsys.readouterr().out
    assert (fake.module.read_text(), fake.builds) == ("old", ["old", "new"])
    assert dkms.known_versions() == {"1.0.0": [KERNEL]}
    # The replaced module is kept in exchange.
    load(fake)
    assert dkms.rollback(None, [], check=False) == 0
    assert (fake.module.read_text(), fake.builds) == ("new", ["old", "new"])


def test_a_module_that_never_ran_is_not_kept(fake: FakeDkms) -> None:
    install("old")
    load(fake)
    install("bad")
    install("good")
    assert dkms.kept_srcversion() == "old"
    load(fake)
    install("good")
    assert dkms.kept_srcversion() == "old"


def test_nothing_is_kept_where_nothing_ran(fake: FakeDkms) -> None:
    install("old")
    install("new")
    assert not dkms.KEPT.exists()
    with pytest.raises(dkms.DkmsError, match="not kept"):
        dkms.rollback(None, [], check=False)
    assert fake.module.read_text() == "new"


def files_below(*places: Path) -> dict[Path, str]:
    found = [path for place in places for path in place.rglob("*") if path.is_file()]
    return {path: path.read_text() for path in found}


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_a_build_that_fails_leaves_everything_as_it_was(fake: FakeDkms, version: str) -> None:
    install("old")
    load(fake)
    before = files_below(fake.root)
    fake.broken.add("bad")
    with pytest.raises(dkms.DkmsError) as error:
        dkms.install(source("bad", version), [])
    first, *_, last = str(error.value).splitlines()
    assert first == f"kernel {KERNEL}: ktcp/{version} did not build:"
    assert last == f"ktcp/{version}: not installed; what was installed stays"
    assert files_below(fake.root) == before
    assert dkms.known_versions() == {"1.0.0": [KERNEL]}
    assert dkms.rollback("old", [], check=False) == 0
    assert (fake.module.read_text(), fake.builds) == ("old", ["old"])


def test_the_installed_module_is_there_while_the_new_one_is_built(
    fake: FakeDkms, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("old")
    load(fake)
    seen = []
    compiles = fake.compile

    def compile_and_look(version: str) -> None:
        conf = (fake.root / "src" / f"ktcp-{version}" / "dkms.conf").read_text()
        seen.append((fake.module.read_text(), "AUTOINSTALL" in conf))
        compiles(version)

    monkeypatch.setattr(fake, "compile", compile_and_look)
    install("new")
    assert seen == [("old", False)]
    assert fake.module.read_text() == "new"
    assert "AUTOINSTALL" in (fake.root / "src/ktcp-1.0.0/dkms.conf").read_text()


def test_what_an_interrupted_build_left_is_removed(fake: FakeDkms) -> None:
    left = source("half").trial()
    left.unpack()
    fake.run("dkms", "add", f"ktcp/{left.version}")
    install("new")
    assert dkms.known_versions() == {"1.0.0": [KERNEL]}
    assert not left.tree.exists()


def test_a_module_that_cannot_be_installed_is_told_and_the_former_one_is_kept(
    fake: FakeDkms,
) -> None:
    install("old")
    load(fake)
    fake.full = True
    with pytest.raises(dkms.DkmsError, match=r"ktcp/1\.0\.0 was not installed"):
        dkms.install(source("new"), [])
    assert dkms.kept_srcversion() == "old"
    fake.full = False
    assert dkms.rollback("old", [], check=False) == 0
    assert fake.module.read_text() == "old"


def test_what_is_undone_is_not_kept(fake: FakeDkms) -> None:
    install("old")
    load(fake)
    install("bad")
    load(fake)
    assert dkms.rollback("old", [], check=False) == 0
    assert not dkms.KEPT.exists()
    assert dkms.rollback("old", [], check=False) == 0
    with pytest.raises(dkms.DkmsError, match="older: not kept"):
        dkms.rollback("older", [], check=False)


def test_a_rollback_that_fails_keeps_what_it_had(
    fake: FakeDkms, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("old")
    load(fake)
    install("new")
    load(fake)
    monkeypatch.setattr(dkms, "brought", lambda _source, _kernel: None)
    fake.broken.add("old")
    with pytest.raises(dkms.DkmsError, match="did not build"):
        dkms.rollback(None, [], check=False)
    assert dkms.kept_srcversion() == "old"


def test_a_dry_run_changes_nothing(fake: FakeDkms, capsys: pytest.CaptureFixture[str]) -> None:
    install("old")
    load(fake)
    install("new")
    load(fake)
    capsys.readouterr()
    assert dkms.rollback(None, [], check=True) == dkms.DRIFT
    assert capsys.readouterr().out == "loaded: srcversion old would be\n"
    assert dkms.rollback("new", [], check=True) == 0
    assert fake.module.read_text() == "new"


def test_the_kept_module_goes_with_all_others(
    fake: FakeDkms, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("old")
    load(fake)
    install("new")
    monkeypatch.setattr(dkms.shutil, "which", lambda _name: "dkms")
    assert dkms.remove() == 0
    assert not dkms.KEPT.exists()
    assert not fake.module.exists()
