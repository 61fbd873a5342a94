# SPDX-License-Identifier: GPL-2.0-only
"""Recipes and their keys; images are built once, whole or not at all."""

import io
import os
import re
import subprocess
import tarfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import archive, cache, image, recipe
from ktcp_testbed.lab.recipe import Recipe

RECIPE = Recipe(release="trixie")


@pytest.fixture
def place(fakes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a host with keyrings, and mmdebstrap's stand-in."""
    assert fakes.is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(image, "keyring", lambda _release: Path("/keys.gpg"))
    monkeypatch.setattr(image, "SPACE_NEEDED_BYTES", 1024**2)
    monkeypatch.setattr(image, "Recipe", small_recipe)
    return tmp_path / "cache" / "ktcp"


def small_recipe(*, release: recipe.Release) -> Recipe:
    return Recipe(release=release, disk_bytes=4 * 1024**2)


def test_the_key_is_stable_and_depends_on_all_that_matters(tmp_path: Path) -> None:
    assert RECIPE.key() == Recipe(release="trixie").key()
    changed = [
        Recipe(release="bookworm"),
        replace(RECIPE, packages=(*RECIPE.packages, "vim")),
        replace(RECIPE, left_out=()),
        replace(RECIPE, customize=()),
        replace(RECIPE, disk_bytes=1),
        replace(RECIPE, rootfs=tmp_path),
    ]
    keys = {each.key() for each in [RECIPE, *changed]}
    assert len(keys) == len(changed) + 1


def test_the_key_follows_content_and_executable_bit_of_files(tmp_path: Path) -> None:
    file = tmp_path / "etc" / "motd"
    file.parent.mkdir()
    file.write_text("one")
    file.chmod(0o644)
    made = replace(RECIPE, rootfs=tmp_path)
    keys = [made.key()]
    file.chmod(0o600)
    assert made.key() == keys[0]
    file.chmod(0o755)
    keys.append(made.key())
    file.write_text("two")
    keys.append(made.key())
    file.rename(tmp_path / "etc" / "issue")
    keys.append(made.key())
    assert len(set(keys)) == 4


def test_directories_are_not_packed() -> None:
    with tarfile.open(fileobj=io.BytesIO(archive.pack(RECIPE.files()))) as packed:
        modes = {entry.name: (entry.mode, entry.uid, entry.isfile()) for entry in packed}
    assert modes["usr/local/sbin/ktcp-lab-configure"] == (0o755, 0, True)
    assert modes["etc/systemd/system/ktcp-lab.service"] == (0o644, 0, True)
    assert all(is_file for _, _, is_file in modes.values())


def test_shell_scripts_of_the_guest_are_valid() -> None:
    scripts = [file for file in RECIPE.files() if file.content.startswith(b"#!/bin/sh")]
    assert len(scripts) == 3
    for file in scripts:
        subprocess.run(["sh", "-n"], input=file.content, check=True)


def test_hosts_behind_a_proxy_pass_it_on() -> None:
    dump = """\
Acquire "";
Acquire::http "";
Acquire::http::Proxy "http://192.0.2.1:3128";
Acquire::https::Verify-Peer "true";
Acquire::Check-Valid-Until "false";
Acquire::Languages:: "none";
Acquire::cdrom::mount "/media/cdrom/";
APT::Architecture "amd64";
"""
    assert recipe.apt_options(dump) == [
        'Acquire::http::Proxy "http://192.0.2.1:3128"',
        'Acquire::https::Verify-Peer "true"',
        'Acquire::Check-Valid-Until "false"',
    ]


def test_the_command_has_packages_options_and_sources(tmp_path: Path) -> None:
    command = recipe.mmdebstrap_command(
        RECIPE,
        files=tmp_path / "my files.tar",
        output=tmp_path / "rootfs.tar",
        apt_sources=recipe.sources("trixie", "http://192.0.2.1/debian", Path("/k.gpg")),
        options=["Acquire::Retries 3"],
    )
    assert "--mode=auto" in command
    assert "--aptopt=Acquire::Retries 3" in command
    assert f"--essential-hook=tar-in '{tmp_path}/my files.tar' /" in command
    included = next(word for word in command if word.startswith("--include="))
    assert {"dkms", "linux-headers-amd64", "nginx-light"} <= set(included[10:].split(","))
    assert command[-5:] == [
        "trixie",
        str(tmp_path / "rootfs.tar"),
        "deb [signed-by=/k.gpg] http://192.0.2.1/debian trixie main",
        "deb [signed-by=/k.gpg] http://192.0.2.1/debian trixie-updates main",
        "deb [signed-by=/k.gpg] http://192.0.2.1/debian-security trixie-security main",
    ]


def test_a_keyring_without_the_release_is_too_old(tmp_path: Path) -> None:
    (tmp_path / "debian-archive-keyring.gpg").touch()
    (tmp_path / "debian-archive-bookworm-stable.gpg").touch()
    assert recipe.keyring("trixie", tmp_path) is None
    assert recipe.keyring("bookworm", tmp_path) == tmp_path / "debian-archive-keyring.gpg"


def test_newer_hosts_call_keyrings_otherwise(tmp_path: Path) -> None:
    (tmp_path / "debian-archive-keyring.pgp").touch()
    (tmp_path / "debian-archive-trixie-stable.pgp").touch()
    assert recipe.keyring("trixie", tmp_path) == tmp_path / "debian-archive-keyring.pgp"


def test_an_image_is_built_once(place: Path, fakes: Path, said: list[str]) -> None:
    built = image.ensure("trixie", progress=said.append)
    assert built.kernel_release == "6.12.0-test"
    assert built.kernel.read_text() == "kernel\n"
    assert built.initrd.read_text() == "ramdisk\n"
    assert built.disk.stat().st_size == 4 * 1024**2
    assert built.disk.read_bytes()[0x438:0x43A] == b"\x53\xef"  # ext4's magic number
    assert built.rootfs.exists()
    assert built.identity.stat().st_mode & 0o777 == 0o600
    assert built.identity.with_suffix(".pub").read_text().startswith("ssh-ed25519 ")
    assert "image trixie: installing packages" in said

    (fakes / "mmdebstrap.log").unlink()
    key = built.identity.read_text()
    assert image.ensure("trixie", progress=said.append) == built
    assert not (fakes / "mmdebstrap.log").exists()
    assert built.identity.read_text() == key
    assert not list(place.glob("*.partial"))


def test_two_builders_do_not_collide(place: Path, fakes: Path, said: list[str]) -> None:
    results: list[image.Image] = []

    def build() -> None:
        results.append(image.ensure("trixie", progress=said.append))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3
    assert said.count("image trixie: installing packages") == 1
    assert place.is_dir()
    assert fakes.is_dir()


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("E: Failed to fetch http://192.0.2.1/x  Connection failed", "archive is out of reach"),
        ("Temporary failure resolving 'archive.example'", "archive is out of reach"),
        ("cannot write: No space left on device", "the disk is full"),
        ("E: cannot find newuidmap", "user namespaces are not usable"),
        ("E: something new", "mmdebstrap ended with 1"),
    ],
)
def test_a_failure_is_explained_and_leaves_nothing(
    place: Path, fakes: Path, output: str, sentence: str, said: list[str]
) -> None:
    (fakes / "mmdebstrap.fails").write_text(output + "\n")
    with pytest.raises(KtcpError, match=sentence) as caught:
        image.ensure("trixie", progress=said.append)
    assert output in caught.value.message
    log = re.search(r"the log is (\S+)", caught.value.message)
    assert log is not None
    assert output in Path(log[1]).read_text()
    assert not list(place.glob("*.partial"))
    assert not list(place.glob("image-*/image.json"))


def test_leftovers_of_a_killed_builder_are_replaced(place: Path, said: list[str]) -> None:
    partial = place / f"{small_recipe(release='trixie').name}.partial"
    partial.mkdir(parents=True)
    (partial / "rootfs.tar").write_text("half")
    assert image.ensure("trixie", progress=said.append).kernel_release == "6.12.0-test"
    assert not partial.exists()


def test_a_missing_tool_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.name == "ktcp"
    monkeypatch.setattr("shutil.which", lambda _tool, **_: None)
    with pytest.raises(KtcpError, match="mmdebstrap is missing: install the package mmdebstrap"):
        image.ensure("trixie", progress=print)


def test_too_little_space_is_said_first(
    place: Path, fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "SPACE_NEEDED_BYTES", 2**62)
    with pytest.raises(KtcpError, match=rf"{place} has \d+ MiB free and \d+ MiB are needed"):
        image.ensure("trixie", progress=print)
    assert not (fakes / "mmdebstrap.log").exists()


def test_an_old_keyring_is_said_first(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.name == "ktcp"
    monkeypatch.setattr(image, "keyring", lambda _release: None)
    with pytest.raises(KtcpError, match="upgrade the package debian-archive-keyring"):
        image.ensure("trixie", progress=print)


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache.directory() == tmp_path / "x" / "ktcp"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "h"))
    assert cache.directory() == tmp_path / "h" / ".cache" / "ktcp"
    assert os.access(cache.directory(), os.W_OK)
