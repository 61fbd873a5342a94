# SPDX-License-Identifier: GPL-2.0-only
"""A Debian root file system with compilers, for each release that is supported.

Modules and kernels are compiled in it with the release's own compiler, on the
host's CPU: an emulated guest would take ten times as long.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import cached, progress
from ktcp_testbed.kbuild.privilege import as_root
from ktcp_testbed.lab.image import Image, apt_configuration
from ktcp_testbed.lab.recipe import DEFAULT_MIRROR, LEFT_OUT, Release, apt_options, keyring, sources

PACKAGES = (
    "bc",
    "bison",
    "cpio",
    "flex",
    "gcc",
    "kmod",
    "libelf-dev",
    "libssl-dev",
    "linux-headers-amd64",
    "linux-source",
    "make",
    "perl",
    "sparse",
    "xz-utils",
)

# checkpatch is only in the package of the kernel's source.
FROM_SOURCE = (
    "scripts/checkpatch.pl",
    "scripts/const_structs.checkpatch",
    "scripts/spelling.txt",
)

# $1 is the root directory; $2 is seen in it as /work, $3 as /kernel; the other
# words are the command that is run there.
CHROOT = """
set -eu
root=$1 work=$2 kernel=$3
shift 3
mkdir -p "$root/work" "$root/kernel"
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
mount --bind "$work" "$root/work"
mount --bind "$kernel" "$root/kernel"
exec chroot "$root" sh -c 'cd /work && exec "$@"' sh "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Buildroot:
    """The root file system of a release."""

    release: Release
    root: Path

    def command(self, argv: Sequence[str], work: Path, *, kernel: Path | None = None) -> list[str]:
        """The host's command that runs `argv` inside.

        Args:
            argv: What to run.
            work: A directory of the host, seen as /work, where it runs.
            kernel: Another directory, seen as /kernel.
        """
        places = [str(path.resolve()) for path in (self.root, work, kernel or work)]
        return [*as_root(), "sh", "-c", CHROOT, "sh", *places, *argv]

    def kernel_releases(self) -> list[str]:
        """The stock kernels that a module can be built for, oldest first."""
        # Debian 12's links are absolute: they are valid only inside of the build root.
        kernels = self.root.glob("lib/modules/*")
        return sorted(path.name for path in kernels if os.path.lexists(path / "build"))

    def headers(self, image: Image) -> str:
        """Make sure that the headers of the image's kernel are here; return its release.

        The archive may have a newer kernel than the image; then the headers come
        from the image itself.
        """
        if image.kernel_release not in self.kernel_releases():
            names = ("./usr/src/linux-headers-*", "./usr/lib/linux-kbuild-*")
            build = f"./usr/lib/modules/{image.kernel_release}/build"
            unpack = ["tar", "-C", str(self.root), "--wildcards", "-xf", str(image.rootfs)]
            progress.logged(
                [*as_root(), *unpack, *names, build],
                log=self.root.with_suffix(".headers.log"),
                what=f"headers of {image.kernel_release} from the image",
            )
        return image.kernel_release

    def sources(self) -> Path:
        """The kernel's source archive, as the release ships it."""
        return next(self.root.glob("usr/src/linux-source-*.tar.xz"))


def ensure(release: Release) -> Buildroot:
    """The build root of a release, made if the cache has none.

    Raises:
        KtcpError: A program or keyring is missing, or the archive cannot be reached.
    """
    parts = [release, *PACKAGES, *FROM_SOURCE, *LEFT_OUT]
    name = f"buildroot-{release}-{cached.key_of(*parts)}"
    place = cached.directory(name, lambda partial: make(release, partial))
    return Buildroot(release=release, root=place / "root")


def make(release: Release, place: Path) -> None:
    """Make a build root in `place`."""
    bootstrap(release, place, PACKAGES)
    unpack_tools(place / "root")


def bootstrap(
    release: Release,
    place: Path,
    packages: Sequence[str],
    *,
    options: Sequence[str] = (),
    suites: Sequence[str] = (),
) -> None:
    """Make the root file system `place`/root.

    Args:
        release: Debian's.
        place: A directory of the cache.
        packages: What is installed.
        options: More words for mmdebstrap.
        suites: Suites of the mirror besides those of the release.

    Raises:
        KtcpError: A program or keyring is missing, or the archive cannot be reached.
    """
    archive = place / "root.tar"
    mirror = os.environ.get("KTCP_MIRROR", DEFAULT_MIRROR)
    keys = required_keyring(release)
    included = f"--include={','.join(packages)}"
    progress.logged(
        [
            *("mmdebstrap", "--variant=apt", included),
            *(f"--dpkgopt=path-exclude={path}" for path in LEFT_OUT),
            *(f"--aptopt={line}" for line in apt_options(apt_configuration())),
            *options,
            release,
            str(archive),
            *sources(release, mirror, keys, suites),
        ],
        log=place.parent / f"{place.stem}.log",
        what=f"build root for {release}",
    )
    unpack(archive, place / "root")
    archive.unlink()


def required_keyring(release: Release) -> Path:
    """The keyring of a release, where the programs that need it are here too.

    Raises:
        KtcpError: One of them is missing.
    """
    for program in ("mmdebstrap", "unshare"):
        if not shutil.which(program):
            raise KtcpError(f"{program} is missing; ./dev test installs it")
    keys = keyring(release)
    if keys is None:
        raise KtcpError(f"no keyring for {release}; install debian-archive-keyring")
    return keys


def unpack(archive: Path, root: Path) -> None:
    """Unpack the root file system."""
    root.mkdir()
    subprocess.run([*as_root(), "tar", "-C", str(root), "-xf", str(archive)], check=True)


def unpack_tools(root: Path) -> None:
    """Unpack the files that only the kernel's source has."""
    source = next(root.glob("usr/src/linux-source-*.tar.xz"))
    tools = root / "usr/src/tools"
    subprocess.run(
        [
            *as_root(),
            "sh",
            "-c",
            'mkdir -p "$1" && shift && exec tar --strip-components=1 -C "$@"',
            "sh",
            str(tools),
            str(tools),
            "--wildcards",
            "-xf",
            str(source),
            *(f"*/{name}" for name in FROM_SOURCE),
        ],
        check=True,
    )
