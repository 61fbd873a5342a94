# SPDX-License-Identifier: GPL-2.0-only
"""Which module ktcp_dkms installs, keeps and restores, with a fake DKMS made of files."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.modules import Answer, ansible_module, answered

KERNEL = "6.1.0-1-amd64"
dkms = ansible_module("ktcp_dkms")


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
            case "modinfo", _ if "sig_key" in rest:
                said = ""
            case "modinfo", _ if "-k" in rest:
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
        "BUILT": tmp_path / "src/ktcp-built",
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


def conf(version: str) -> str:
    return f'PACKAGE_VERSION="{version}"\nBUILD_EXCLUSIVE_KERNEL="^6\\."\nAUTOINSTALL="yes"\n'


def source(text: str, version: str = "1.0.0") -> Any:  # noqa: ANN401 - of a program's own class
    return dkms.Source({"dkms.conf": conf(version), "main.c": text})


def install(text: str, version: str = "1.0.0", *, dry: bool = False) -> Answer:
    """Have Ansible write a source to the host and install it. Returns the module's answer."""
    path = dkms.SOURCES / "ktcp.json"
    path.write_text(json.dumps(source(text, version).files))
    return answered("ktcp_dkms", source=str(path), dry=dry)


def roll_back(to: str | None = None, *, dry: bool = False) -> Answer:
    return answered("ktcp_dkms", state="former", srcversion=to, dry=dry)


def load(fake: FakeDkms) -> None:
    """Load what is installed, as a restart of the service does."""
    dkms.LOADED.write_text(fake.module.read_text())


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_the_module_that_ran_is_kept_and_comes_back_without_a_build(
    fake: FakeDkms, version: str
) -> None:
    first = install("old")
    assert (first["changed"], first["reload"]) == (True, False)
    load(fake)
    assert "ktcp/1.0.0: kept" in install("new", version)["steps"]
    load(fake)
    back = roll_back()
    assert (back["changed"], back["reload"]) == (True, True)
    assert back["diff"] == {
        "before": f"kernel {KERNEL}: ktcp/{version}, srcversion new\nkept: srcversion old\n",
        "after": f"kernel {KERNEL}: ktcp/1.0.0, srcversion old\nkept: srcversion new\n",
    }
    assert (fake.module.read_text(), fake.builds) == ("old", ["old", "new"])
    assert dkms.known_versions() == {"1.0.0": [KERNEL]}
    # The replaced module is kept in exchange.
    load(fake)
    assert roll_back()["changed"]
    assert (fake.module.read_text(), fake.builds) == ("new", ["old", "new"])


def test_what_is_installed_is_not_installed_again(fake: FakeDkms) -> None:
    install("old")
    for dry in (False, True):
        again = install("old", dry=dry)
        assert (again["changed"], again["steps"], again["reload"]) == (False, [], False)
        assert again["diff"]["before"] == again["diff"]["after"]
    dkms.LOADED.write_text("older")
    assert (install("old")["changed"], install("old")["reload"]) == (False, True)
    assert fake.builds == ["old"]


def test_a_module_that_never_ran_is_not_kept(fake: FakeDkms) -> None:
    install("old")
    load(fake)
    install("bad")
    install("good")
    assert dkms.kept_srcversion() == "old"
    load(fake)
    install("good")
    assert dkms.kept_srcversion() == "old"


@pytest.mark.parametrize("dry", [False, True])
def test_nothing_is_kept_where_nothing_ran(fake: FakeDkms, dry: bool) -> None:
    install("old")
    install("new")
    assert not dkms.KEPT.exists()
    answer = roll_back(dry=dry)
    assert answer["failed"]
    assert answer["msg"] == f"the module that ran before: not kept in {dkms.KEPT}"
    assert fake.module.read_text() == "new"


def files_below(*places: Path) -> dict[Path, str]:
    found = [path for place in places for path in place.rglob("*") if path.is_file()]
    return {path: path.read_text() for path in found}


@pytest.mark.parametrize("version", ["1.0.0", "1.1.0"])
def test_a_build_that_fails_leaves_everything_as_it_was(fake: FakeDkms, version: str) -> None:
    install("old")
    load(fake)
    fake.broken.add("bad")
    (dkms.SOURCES / "ktcp.json").unlink()
    before = files_below(fake.root)
    answer = install("bad", version)
    (dkms.SOURCES / "ktcp.json").unlink()
    assert (answer["failed"], answer["changed"], answer["steps"]) == (True, False, [])
    first, *_, last = answer["msg"].splitlines()
    assert first == f"kernel {KERNEL}: ktcp/{version} did not build:"
    assert last == f"ktcp/{version}: not installed; what was installed stays"
    assert files_below(fake.root) == before
    assert dkms.known_versions() == {"1.0.0": [KERNEL]}
    assert not roll_back("old")["failed"]
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
    answer = install("new")
    assert answer["msg"].startswith(f"kernel {KERNEL}: ktcp/1.0.0 was not installed")
    # By then the former module was gone.
    assert answer["changed"]
    assert "ktcp/1.0.0: kept" in answer["steps"]
    assert dkms.kept_srcversion() == "old"
    fake.full = False
    assert not roll_back("old")["failed"]
    assert fake.module.read_text() == "old"


def test_what_is_undone_is_not_kept(fake: FakeDkms) -> None:
    install("old")
    load(fake)
    install("bad")
    load(fake)
    assert not roll_back("old")["failed"]
    assert not dkms.KEPT.exists()
    assert not roll_back("old")["failed"]
    assert roll_back("older")["msg"].startswith("older: not kept")


def test_a_rollback_that_fails_keeps_what_it_had(
    fake: FakeDkms, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("old")
    load(fake)
    install("new")
    load(fake)
    monkeypatch.setattr(dkms, "brought", lambda _source, _kernel: None)
    fake.broken.add("old")
    assert "did not build" in roll_back()["msg"]
    assert dkms.kept_srcversion() == "old"


def scene(fake: FakeDkms, name: str) -> None:
    """Bring a host into a state from which a dry run can differ from the real one."""
    if name == "fresh":
        return
    install("old")
    if name != "nothing loaded":
        load(fake)
    install("new", "1.1.0")
    if name == "failed build":
        trial = source("half").trial()
        trial.unpack()
        fake.run("dkms", "add", f"ktcp/{trial.version}")
    if name != "old loaded":
        load(fake)


SCENES = ("fresh", "nothing loaded", "old loaded", "new loaded", "failed build")


def same_but_for_the_build(text: str) -> str:
    """A difference without what nobody knows before the build."""
    return text.replace(", to be built", ", srcversion next")


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("text", ["new", "next"])
def test_a_dry_run_foresees_an_installation(fake: FakeDkms, name: str, text: str) -> None:
    scene(fake, name)
    if name == "fresh":
        text = "next"
    before = files_below(fake.root / "dkms", fake.root / "lib")
    dry = install(text, "1.1.0", dry=True)
    assert files_below(fake.root / "dkms", fake.root / "lib") == before
    real = install(text, "1.1.0")
    assert dry["changed"] == real["changed"]
    assert dry["reload"] == real["reload"]
    assert dry["diff"]["before"] == real["diff"]["before"]
    assert same_but_for_the_build(dry["diff"]["after"]) == real["diff"]["after"]


@pytest.mark.parametrize("name", ["old loaded", "new loaded", "failed build"])
@pytest.mark.parametrize("to", [None, "old", "new"])
def test_a_dry_run_foresees_a_rollback(fake: FakeDkms, name: str, to: str | None) -> None:
    scene(fake, name)
    before = files_below(fake.root)
    dry = roll_back(to, dry=True)
    assert files_below(fake.root) == before
    real = roll_back(to)
    assert not real["failed"]
    for part in ("changed", "reload", "diff"):
        assert dry[part] == real[part], part


def test_a_dry_run_knows_a_source_that_was_not_written(fake: FakeDkms) -> None:
    """Nor are DKMS and headers there yet: a dry run does not install packages either."""
    (fake.root / "lib" / KERNEL / "build/Makefile").unlink()
    answer = answered("ktcp_dkms", source="/nowhere", planned=conf("2.0.0"), dry=True)
    assert answer["steps"] == [f"kernel {KERNEL}: ktcp/2.0.0 to be installed"]
    assert answer["diff"] == {"before": "", "after": f"kernel {KERNEL}: ktcp/2.0.0, to be built\n"}
    assert (answer["changed"], answer["reload"]) == (True, False)
    real = answered("ktcp_dkms", source="/nowhere")
    assert "/nowhere" in real["msg"]


def test_a_missing_command_ends_as_in_a_shell() -> None:
    done = ansible_module("ktcp_dkms").run("no-such-command-of-ktcp", "--help")
    assert (done.returncode, done.stdout) == (127, "")


def test_a_dry_run_foresees_the_removal_of_all(fake: FakeDkms) -> None:
    install("old")
    load(fake)
    install("new")
    before = files_below(fake.root)
    dry = answered("ktcp_dkms", state="absent", dry=True)
    assert files_below(fake.root) == before
    real = answered("ktcp_dkms", state="absent")
    assert dry["diff"] == real["diff"]
    assert real["diff"]["after"] == ""
    assert (dry["changed"], real["changed"]) == (True, True)
    assert not dkms.KEPT.exists()
    assert not fake.module.exists()
    for again in (True, False):
        assert not answered("ktcp_dkms", state="absent", dry=again)["changed"]


def test_a_module_that_dkms_does_not_know_stays_and_is_named(fake: FakeDkms) -> None:
    fake.module.parent.mkdir(parents=True)
    fake.module.write_text("somebody's")
    answer = answered("ktcp_dkms", state="absent")
    assert answer["msg"] == f"still there, and not DKMS's: {fake.module}"
