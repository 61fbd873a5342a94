# SPDX-License-Identifier: GPL-2.0-only
"""The wheel: a `pip install` of it has all that a rollout needs; and so has the collection."""

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

import ktcp_ops

CHECKOUT = Path(__file__).resolve().parents[3]
COLLECTION = "ansible_collections/pathway/ktcp"
SITE = "playbooks/site.yml"

Call = Callable[..., str]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    directory = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", directory],
        cwd=CHECKOUT,
        check=True,
        capture_output=True,
    )
    (wheel,) = directory.iterdir()
    assert wheel.name == f"ktcp_ops-{ktcp_ops.__version__}-py3-none-any.whl"
    return wheel


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files in it."""
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed; its dependencies come from this environment."""
    directory = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "--no-deps", "--no-index", "--target", directory, wheel],
        check=True,
        capture_output=True,
    )
    return directory


def committed(*paths: str) -> set[str]:
    listing = subprocess.check_output(["git", "ls-files", "-z", *paths], cwd=CHECKOUT, text=True)
    return {name for name in listing.split("\0") if name and (CHECKOUT / name).is_file()}


def test_the_collection_is_complete(names: set[str]) -> None:
    parts = ("galaxy.yml", "kmod", "meta", "playbooks", "plugins", "roles")
    wanted = {f"{COLLECTION}/{name}" for name in committed(*parts)}
    assert wanted - names == set()


def test_the_package_is_complete_and_the_test_bed_stays_out(names: set[str]) -> None:
    assert committed("ktcp_ops") - names == set()
    assert [name for name in names if "ktcp_testbed" in name] == []


def test_nothing_that_a_build_left_behind(names: set[str]) -> None:
    left = {".o", ".ko", ".cmd", ".mod", ".symvers", ".order", ".pyc"}
    assert [name for name in names if Path(name).suffix in left] == []


@pytest.fixture
def call(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs an installed program beside a copy of the example inventory, without the checkout."""
    (tmp_path / "password").write_text("example\n")
    monkeypatch.setenv("ANSIBLE_VAULT_PASSWORD_FILE", "password")
    shutil.copytree(CHECKOUT / "inventories/example", tmp_path / "mine")
    monkeypatch.setenv("PYTHONPATH", str(installed))
    for name in ("ANSIBLE_CONFIG", "ANSIBLE_ROLES_PATH", "ANSIBLE_INVENTORY_PLUGINS"):
        monkeypatch.delenv(name, raising=False)

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_an_installed_program_finds_its_own_collection(call: Call, installed: Path) -> None:
    program = installed / "bin/ktcp-ops"
    assert call(program, "--version") == f"ktcp-ops {ktcp_ops.__version__}\n"
    valid = call(program, "mesh", "validate", "-i", "mine")
    assert valid == "mine: the mesh is valid: 2 relays, 1 pair, 2 paths\n"
    assert "add 198.51.100.20:5565" in call(program, "mesh", "plan", "-i", "mine")
    where = "from ktcp_ops.run.environment import playbook; print(playbook('site.yml'))"
    assert call(sys.executable, "-c", where).strip() == str(installed / COLLECTION / SITE)


def test_an_installed_role_finds_the_modules_source(installed: Path) -> None:
    collection = installed / COLLECTION
    defaults = yaml.safe_load((collection / "roles/ktcp_module/defaults/main.yml").read_text())
    path = str(collection / "roles/ktcp_module")
    source = Path(defaults["ktcp_module_source"].replace("{{ role_path }}", path))
    assert {"dkms.conf", "Kbuild", "main.c"} <= {found.name for found in source.iterdir()}


def test_ansible_takes_installed_playbooks_by_their_names(
    call: Call, installed: Path, tmp_path: Path
) -> None:
    """Without ktcp-ops: Ansible knows the collection where pip has put it."""
    (tmp_path / "mine/mesh.ktcp.yml").write_text("plugin: pathway.ktcp.ktcp_mesh\n")
    ansible = (sys.executable, "-m", "ansible", "playbook", "-i", "mine")
    found = (installed / COLLECTION / "playbooks").glob("*.yml")
    call(*ansible, "--syntax-check", *(f"pathway.ktcp.{path.stem}" for path in found))
    listed = call(*ansible, "--list-tasks", "--list-hosts", "pathway.ktcp.site")
    assert "ktcp_module : Build" in listed
    assert "tokyo" in listed


def test_the_checkout_is_a_collection_that_stands_alone(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH")
    galaxy = (sys.executable, "-m", "ansible", "galaxy", "collection")
    call(*galaxy, "build", CHECKOUT)
    (archive,) = tmp_path.glob("pathway-ktcp-*.tar.gz")
    call(*galaxy, "install", "--offline", "-p", tmp_path / "collections", archive)
    monkeypatch.setenv("ANSIBLE_COLLECTIONS_PATH", str(tmp_path / "collections"))
    (tmp_path / "mine/mesh.ktcp.yml").write_text("plugin: pathway.ktcp.ktcp_mesh\n")
    node = call(sys.executable, "-m", "ansible", "inventory", "-i", "mine", "--host", "tokyo")
    assert "ktcp_node" in node
    doc = call(sys.executable, "-m", "ansible", "doc", "--json", "pathway.ktcp.ktcp_dkms")
    assert "Build, install, roll back or remove KTCP's kernel module" in doc
