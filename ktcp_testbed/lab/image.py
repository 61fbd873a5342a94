# SPDX-License-Identifier: GPL-2.0-only
"""Guest images, built once with mmdebstrap and kept in the cache.

``recipe`` says what is in an image. Here the image is built, named after the
recipe's key, and moved into the cache in one step.
"""

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops import console
from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import archive, cache, program
from ktcp_testbed.lab.recipe import (
    DEFAULT_MIRROR,
    MAKE_DISK,
    Recipe,
    Release,
    apt_options,
    keyring,
    mmdebstrap_command,
    sources,
)

Progress = Callable[[str], None]

# The tar archive, the disk and mmdebstrap's working copy, with room to spare.
SPACE_NEEDED_BYTES = 4 * 1024**3

PACKAGE_OF = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
}

# What apt says when it cannot download.
OUT_OF_REACH = (
    "Could not",
    "Failed to fetch",
    "Temporary failure resolving",
    "Unable to connect",
)


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image; its files never change."""

    release: Release
    disk: Path
    """ext4 without a partition table, raw and sparse; guests use overlays on it."""
    kernel: Path
    initrd: Path
    kernel_release: str
    """What ``uname -r`` says in a guest."""
    rootfs: Path
    """The same files as a tar archive, for a chroot to compile in."""
    identity: Path
    """The private ssh key that guests accept for root."""


def ensure(release: Release, *, progress: Progress = console.print_note) -> Image:
    """Return the lab's image of ``release``, building it if the cache has none.

    Raises:
        KtcpError: as for ``follow``.
    """
    return follow(Recipe(release=release), progress=progress)


def follow(recipe: Recipe, *, progress: Progress = console.print_note) -> Image:
    """Return the image that ``recipe`` describes, building it if the cache has none.

    Raises:
        KtcpError: a tool or keyring is missing, the archive is out of reach or
            the disk is full; the cache then holds nothing new.
    """
    place = cache.directory() / recipe.name
    if not (place / "image.json").exists():
        with cache.locked(cache.directory() / f"{recipe.name}.lock"):
            if not (place / "image.json").exists():
                build(recipe, place, progress)
    return load(place, identity(cache.directory()))


def load(place: Path, key: Path) -> Image:
    """Read the image in the directory ``place``."""
    facts = json.loads((place / "image.json").read_text())
    return Image(
        release=facts["release"],
        kernel_release=facts["kernel_release"],
        disk=place / "disk.raw",
        kernel=place / "vmlinuz",
        initrd=place / "initrd.img",
        rootfs=place / "rootfs.tar",
        identity=key,
    )


def identity(directory: Path) -> Path:
    """The ssh key of all labs of this cache, made when it is first needed."""
    key = directory / "identity"
    with cache.locked(directory / "identity.lock"):
        if not key.with_suffix(".pub").exists():
            require("ssh-keygen")
            key.unlink(missing_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ktcp-lab", "-f"]
            subprocess.run([*command, str(key)], check=True, stdin=subprocess.DEVNULL)
    return key


def build(recipe: Recipe, place: Path, progress: Progress) -> None:
    """Build ``recipe`` beside ``place``, and move it there when it is complete."""
    keys = preflight(recipe.release, place.parent)
    partial = place.with_name(f"{place.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    progress(f"image {recipe.release}: building, once for this recipe (minutes)")
    try:
        make_rootfs(recipe, keys, partial, progress)
        progress(f"image {recipe.release}: making the disk")
        make_disk(recipe, partial)
        kernel_release = extract_boot(partial)
        facts = {"release": recipe.release, "kernel_release": kernel_release}
        (partial / "image.json").write_text(json.dumps(facts) + "\n")
        shutil.rmtree(place, ignore_errors=True)
        partial.rename(place)
    except OSError as error:
        raise KtcpError(f"image {recipe.release}: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    progress(f"image {recipe.release}: ready, kernel {kernel_release}, in {place}")


def preflight(release: Release, directory: Path) -> Path:
    """Check beforehand what would make the build fail minutes later; return the keyring."""
    require("mmdebstrap")
    require("mke2fs")
    keys = keyring(release)
    if keys is None:
        raise KtcpError(
            f"image {release}: no keyring for Debian {release} in /usr/share/keyrings; "
            "install or upgrade the package debian-archive-keyring"
        )
    free = shutil.disk_usage(directory).free
    if free < SPACE_NEEDED_BYTES:
        raise KtcpError(
            f"image {release}: {directory} has {free // 1024**2} MiB free and "
            f"{SPACE_NEEDED_BYTES // 1024**2} MiB are needed; free some, or set "
            "XDG_CACHE_HOME to a larger file system"
        )
    return keys


def require(tool: str) -> str:
    """The path of ``tool``, which Debian keeps out of a user's PATH if it is in sbin."""
    found = shutil.which(tool, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise KtcpError(f"{tool} is missing: install the package {PACKAGE_OF[tool]}")
    return found


def make_rootfs(recipe: Recipe, keys: Path, partial: Path, progress: Progress) -> None:
    """Write ``rootfs.tar``; all output of mmdebstrap goes to a log."""
    files = partial / "files.tar"
    files.write_bytes(archive.pack(recipe.files()))
    command = mmdebstrap_command(
        recipe,
        files=files,
        output=partial / "rootfs.tar",
        apt_sources=sources(recipe.release, os.environ.get("KTCP_MIRROR", DEFAULT_MIRROR), keys),
        options=apt_options(apt_configuration()),
    )
    log = partial.parent / f"{recipe.name}.log"

    def heard(line: str) -> None:
        if line.startswith("I: ") and "hook" not in line:
            progress(f"image {recipe.release}: {line[3:].strip()}")

    ended = program.run(command, log=log, heard=heard)
    if ended.code != 0:
        raise KtcpError(explain(recipe.release, ended.code, ended.last, log))
    files.unlink()


def apt_configuration() -> str:
    """The host's apt configuration; empty if there is no apt."""
    tool = shutil.which("apt-config")
    if tool is None:
        return ""
    return subprocess.run([tool, "dump"], capture_output=True, text=True, check=True).stdout


def explain(release: Release, code: int, last: Sequence[str], log: Path) -> str:
    """Why mmdebstrap failed, in a sentence, with its last lines and the log's name."""
    text = "\n".join(last)
    if "No space left on device" in text:
        why = "the disk is full; free some, or set TMPDIR and XDG_CACHE_HOME to a larger one"
    elif any(sign in text for sign in OUT_OF_REACH):
        why = (
            "the Debian archive is out of reach; check the network and apt's proxy, "
            "or name a mirror in KTCP_MIRROR"
        )
    elif "newuidmap" in text or "unshare" in text:
        why = "user namespaces are not usable here; install the package uidmap, or run as root"
    else:
        why = f"mmdebstrap ended with {code}"
    return "\n".join([f"image {release}: {why}; the log is {log}", *last])


def make_disk(recipe: Recipe, partial: Path) -> None:
    """Write ``disk.raw`` from ``rootfs.tar``, with the right owners also without root."""
    disk = partial / "disk.raw"
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"}
    helper = [] if os.geteuid() == 0 else ["mmdebstrap", "--unshare-helper"]
    with disk.open("wb") as file, (partial / "rootfs.tar").open("rb") as rootfs:
        file.truncate(recipe.disk_bytes)
        # Outside of the namespace, its root is another user.
        disk.chmod(0o666)
        with subprocess.Popen(
            [*helper, "sh", "-c", MAKE_DISK, "make-disk", str(file.fileno())],
            stdin=rootfs,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=(file.fileno(),),
            env=environment,
        ) as process:
            try:
                _, said = process.communicate()
            except BaseException:
                # Not killed: it still has to remove its own directory.
                process.terminate()
                raise
    disk.chmod(0o444)
    if process.returncode != 0:
        raise KtcpError(f"image {recipe.release}: making the disk failed\n{said.strip()}")


def extract_boot(partial: Path) -> str:
    """Copy kernel and initial ramdisk out of the archive; return the kernel's release."""
    kernel_release = ""
    with tarfile.open(partial / "rootfs.tar", "r:") as rootfs:
        for entry in rootfs:
            kind, _, version = entry.name.removeprefix("./").removeprefix("boot/").partition("-")
            if Path(entry.name).parent.name != "boot" or kind not in {"vmlinuz", "initrd.img"}:
                continue
            content = rootfs.extractfile(entry)
            if content is None:
                continue
            with (partial / kind).open("wb") as file:
                shutil.copyfileobj(content, file)
            kernel_release = version
    if not kernel_release:
        raise KtcpError("the image holds no kernel")
    return kernel_release
