# SPDX-License-Identifier: GPL-2.0-only
"""The other kernels that a relay of a release may run: for clouds, of backports, for arm64.

The module is compiled for all of them, and guests boot those for clouds.

Headers of newer kernels depend on the image of the kernel and on a compiler of their own
architecture. So these packages are not installed: they are unpacked, in a build root that has the
compilers for both architectures.
"""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.kbuild import buildroot, cached
from ktcp_testbed.kbuild.buildroot import Buildroot
from ktcp_testbed.lab.archive import File
from ktcp_testbed.lab.recipe import LEFT_OUT, ROOTFS, Recipe, Release

PACKAGES = (
    "gcc",
    "gcc-aarch64-linux-gnu",
    "initramfs-tools",
    "kmod",
    "libelf1",
    "libssl3",
    "make",
    "pahole",
    "perl",
)
ARCHITECTURES = ("amd64", "arm64")
INITRAMFS = ("etc/initramfs-tools", "usr/share/initramfs-tools")

# Words for apt-get install. The cloud kernel of backports stands for both: its other flavours
# have the same headers and another configuration.
CLOUD = "linux-headers-cloud-amd64 linux-image-cloud-amd64"
BACKPORTS = "linux-headers-cloud-amd64/{suite} linux-image-cloud-amd64/{suite}"
ARM64 = "linux-headers-arm64:arm64"
KERNELS: dict[Release, tuple[str, ...]] = {
    "bookworm": (CLOUD, BACKPORTS),
    "trixie": (CLOUD, BACKPORTS, ARM64),
}

# The kernels that guests boot: that of the release, and the later one of its backports.
BOOTABLE = ("cloud", "cloud-backports")
# Modules that the tests need. A guest takes half a minute to unpack all modules.
NETWORK = ("802", "bridge", "core", "ipv4", "ipv6", "llc", "netfilter", "sched")
WANTED = (
    *("crypto/**/*.ko*", "drivers/net/*.ko*", "lib/**/*.ko*"),
    *(f"net/{part}/**/*.ko*" for part in NETWORK),
)

# Runs outside of the new root, which is $1; the other words are those of KERNELS. If no package
# counts as installed, apt lists all that belong to a kernel. Two versions of a meta-package have a
# file in common, in /usr/share.
UNPACK = r"""
set -eu
root=$1
shift
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
mkdir "$root/packages"
cd "$root/packages"
for kernel; do
  apt-get -o Dir::State::status=/dev/null --simulate --no-install-recommends install $kernel >plan
  sed -nE 's/^Inst (linux-(headers|kbuild)-[^ ]*) \(([^ ]*) .*/\1=\3/p' plan >>wanted
  sed -nE 's/^Inst (linux-[a-z]+-[0-9][^ ]*-cloud-amd64) \(([^ ]*) .*/\1=\2/p' plan >>wanted
done
sort -u wanted | xargs apt-get download
for package in *.deb; do
  dpkg-deb --fsys-tarfile "$package" |
    tar -x --keep-directory-symlink --exclude=./usr/share -C "$root"
done
cd "$root"
rm -r packages
for modules in usr/lib/modules/*/kernel; do
  release=$(basename "${modules%/kernel}")
  chroot . depmod "$release"
  chroot . mkinitramfs -o "/boot/initrd.img-$release" "$release"
  [ -e "boot/vmlinuz-$release" ] || ln "usr/lib/modules/$release/vmlinuz" "boot/vmlinuz-$release"
done
"""


def ensure(release: Release) -> Buildroot:
    """The build root with the headers of the other kernels, made if the cache has none.

    Raises:
        KtcpError: A program or keyring is missing, or the archive cannot be reached.
    """
    initramfs = [file.content for file in initramfs_files(release)]
    key = cached.key_of(*PACKAGES, *ARCHITECTURES, *KERNELS[release], UNPACK, *LEFT_OUT, *initramfs)
    place = cached.directory(f"kernels-{release}-{key}", lambda partial: make(release, partial))
    return Buildroot(release=release, root=place / "root")


def initramfs_files(release: Release) -> list[File]:
    """The files of the guests' image that decide what is in an initial ramdisk."""
    return [file for file in Recipe(release=release).files() if file.path.startswith(INITRAMFS)]


def make(release: Release, place: Path) -> None:
    """Make the build root in `place`."""
    suite = f"{release}-backports"
    words = shlex.join(kernel.format(suite=suite) for kernel in KERNELS[release])
    copies = [
        f"copy-in {shlex.quote(str(ROOTFS / path))} /{Path(path).parent}" for path in INITRAMFS
    ]
    buildroot.bootstrap(
        release,
        place,
        PACKAGES,
        options=(
            f"--architectures={','.join(ARCHITECTURES)}",
            *(f"--customize-hook={copy}" for copy in copies),
            f'--customize-hook=sh -c {shlex.quote(UNPACK)} sh "$1" {words}',
        ),
        suites=(suite,),
    )


def target(kernel: str) -> tuple[str, ...]:
    """Words for make that choose the compiler for a kernel, by the kernel's release."""
    if kernel.endswith("-arm64"):
        return ("ARCH=arm64", "CROSS_COMPILE=aarch64-linux-gnu-")
    return ()


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """One of the kernels for clouds, which guests boot in the place of their image's own."""

    release: str
    """What ``uname -r`` says."""
    root: Path
    """Its build root."""

    @property
    def image(self) -> Path:
        """The kernel that QEMU boots."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def initrd(self) -> Path:
        """Its initial ramdisk, with the drivers of the guests' disk."""
        return self.root / "boot" / f"initrd.img-{self.release}"

    def modules(self) -> list[Path]:
        """Its modules that the tests need, and the lists of all modules, below the build root."""
        place = self.root / "usr/lib/modules" / self.release
        patterns = ("modules.*", *(f"kernel/{wanted}" for wanted in WANTED))
        found = [path for pattern in patterns for path in place.glob(pattern)]
        return sorted(path.relative_to(self.root) for path in found)


def bootable(root: Buildroot, flavour: str) -> Kernel:
    """The kernel of a build root of ensure() that is one of BOOTABLE.

    Raises:
        KtcpError: The build root does not have exactly one for each.
    """
    clouds = sorted((k for k in root.kernel_releases() if k.endswith("-cloud-amd64")), key=numbers)
    if len(clouds) != len(BOOTABLE):
        raise KtcpError(f"{root.root}: kernels for clouds are {clouds}, not {len(BOOTABLE)}")
    return Kernel(release=clouds[BOOTABLE.index(flavour)], root=root.root)


def numbers(kernel: str) -> list[int]:
    """The numbers in a kernel's release, to tell which one is the later."""
    return [int(number) for number in re.findall(r"\d+", kernel)]
