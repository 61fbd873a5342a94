# SPDX-License-Identifier: GPL-2.0-only
"""What a guest image is made of, and the mmdebstrap command that makes it.

Pure: of the machine, it only reads files of this package. ``image`` builds what
the recipe says.
"""

import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ktcp_testbed.lab.archive import File

Release = Literal["bookworm", "trixie"]
RELEASES: tuple[Release, ...] = get_args(Release)

DEFAULT_MIRROR = "http://deb.debian.org/debian"

# Copied over the root file system before the packages are configured.
ROOTFS = Path(__file__).parent / "rootfs"

PACKAGES = (
    "ca-certificates",
    "conntrack",
    "curl",
    "dkms",
    "ethtool",
    "gcc",
    "iproute2",
    "ipset",
    "iptables",
    "iputils-ping",
    "kmod",
    "linux-headers-amd64",
    "linux-image-amd64",
    "make",
    "netcat-openbsd",
    "nftables",
    "nginx-light",
    "openssh-server",
    "procps",
    "python3",
    "python3-apt",
    "python3-pytest",
    "socat",
    "sudo",
    "systemd-sysv",
    "tcpdump",
    "udev",
    "wireguard-tools",
)

# What the benchmark needs in addition: rival relays, and the client that counts
# connections.
BENCH_PACKAGES = (
    "haproxy",
    "libnginx-mod-stream",
    "wrk",
)

# Nobody reads them in a guest, and unpacking them takes time.
LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
)

# Timers that would wake an idle guest in the middle of a measurement, consoles
# that nobody types on, and units that a guest with known devices does not need:
# each of them takes a part of a second of an emulated boot.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty-static.service",
    "getty@tty1.service",
    "kmod-static-nodes.service",
    "man-db.timer",
    "modprobe@.service",
    "nftables.service",
    "run-lock.mount",
    "serial-getty@ttyS0.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-ask-password-console.path",
    "systemd-ask-password-wall.path",
    "systemd-binfmt.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "systemd-journal-flush.service",
    "systemd-logind.service",
    "systemd-pcrphase.service",
    "systemd-pcrphase-sysinit.service",
    "systemd-pstore.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-udev-load-credentials.service",
    "systemd-udev-trigger.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
    "tmp.mount",
)

# Generators that look for disks, consoles and sockets that no guest has; one of
# them loads the drivers of three other hypervisors.
MASKED_GENERATORS = (
    "systemd-bless-boot-generator",
    "systemd-cryptsetup-generator",
    "systemd-fstab-generator",
    "systemd-getty-generator",
    "systemd-gpt-auto-generator",
    "systemd-hibernate-resume-generator",
    "systemd-integritysetup-generator",
    "systemd-ssh-generator",
    "systemd-tpm2-generator",
    "systemd-veritysetup-generator",
)

# What the server's nginx serves: name and bytes, the sizes of the measurements.
DOWNLOADS = {
    "10k": 10_240,
    "100k": 102_400,
    "1m": 1_048_576,
    "10m": 10_485_760,
}

DISK_BYTES = 6 * 1024**3

# Each runs on the host with the new root as "$1".
CUSTOMIZE = (
    # The kernel mounts the one disk; a line here would make systemd wait for udev.
    ': >"$1/etc/fstab"',
    'echo ktcp-lab >"$1/etc/hostname"',
    # The guests find each other by /etc/hosts alone; a resolver that cannot
    # answer would only make every lookup slow.
    ': >"$1/etc/resolv.conf"',
    'chroot "$1" systemctl enable ktcp-lab.service ssh.service',
    'chroot "$1" systemctl disable nginx.service',
    f'chroot "$1" systemctl mask {" ".join(MASKED_UNITS)}',
    'mkdir -p "$1/etc/systemd/system-generators"',
    *(f'ln -s /dev/null "$1/etc/systemd/system-generators/{name}"' for name in MASKED_GENERATORS),
    # A mistake in sshd's configuration should be found now, and not by every guest.
    'mkdir -p "$1/run/sshd" && chroot "$1" sshd -t && rmdir "$1/run/sshd"',
    'chroot "$1" systemctl set-default multi-user.target',
    'rm -f "$1/etc/nginx/sites-enabled/default"',
    'mkdir -p "$1/srv/ktcp-lab"',
    *(
        f'cd "$1/srv/ktcp-lab" && head -c {size} /dev/urandom >{name} '
        f"&& sha256sum {name} >{name}.sha256"
        for name, size in DOWNLOADS.items()
    ),
    'rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"',
    # They tell systemd that its work after an update of /usr has been done.
    'touch "$1/etc/.updated" "$1/var/.updated"',
)

# Runs as root, or as root of a user namespace, which may not reach the cache by
# its path: so it gets open files instead of names. Standard input is the tar
# archive; $1 is the file descriptor of the disk. Device nodes are left out, since
# a namespace may not make them: the initramfs mounts devtmpfs.
MAKE_DISK = """
set -eu
root=$(mktemp -d "${TMPDIR:-/var/tmp}/ktcp-image.XXXXXXXX")
trap 'rm -rf "$root"' EXIT
trap 'exit 1' HUP INT TERM
chmod 0755 "$root"
tar --extract --numeric-owner --same-permissions --exclude='./dev/*' --directory "$root"
mke2fs -q -F -t ext4 -L root -m 0 -O ^metadata_csum_seed -E lazy_itable_init=1 \
    -d "$root" "/proc/self/fd/$1"
"""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what is in an image, but not where it comes from."""

    release: Release
    packages: tuple[str, ...] = PACKAGES
    left_out: tuple[str, ...] = LEFT_OUT
    customize: tuple[str, ...] = CUSTOMIZE
    disk_bytes: int = DISK_BYTES
    rootfs: Path = ROOTFS

    def key(self) -> str:
        """A short hash that changes with anything that changes the image."""
        parts = {
            "release": self.release,
            "packages": self.packages,
            "left_out": self.left_out,
            "customize": self.customize,
            "disk_bytes": self.disk_bytes,
            "make_disk": MAKE_DISK,
            "files": [
                [file.path, file.mode, hashlib.sha256(file.content).hexdigest()]
                for file in self.files()
            ],
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]

    def files(self) -> list[File]:
        """The project's own files in the image, sorted by path.

        Only the executable bit is taken from the checkout: the other bits depend
        on the umask of the user who cloned it.
        """
        return [
            File(
                path=path.relative_to(self.rootfs).as_posix(),
                content=path.read_bytes(),
                mode=0o755 if path.stat().st_mode & 0o111 else 0o644,
            )
            for path in sorted(self.rootfs.rglob("*"))
            if path.is_file()
        ]

    @classmethod
    def bench(cls, release: Release) -> "Recipe":
        """The image of ``release`` with the packages that the benchmark needs."""
        return cls(release=release, packages=tuple(sorted((*PACKAGES, *BENCH_PACKAGES))))

    @property
    def name(self) -> str:
        """The name of the image's directory in the cache."""
        return f"image-{self.release}-{self.key()}"


def keyring(release: Release, directory: Path = Path("/usr/share/keyrings")) -> Path | None:
    """The host's keyring that verifies ``release``, or None if it is too old.

    The combined keyring is new enough if its package also has the release's own
    keyring.
    """
    for suffix in (".gpg", ".pgp"):
        combined = directory / f"debian-archive-keyring{suffix}"
        if combined.exists() and any(directory.glob(f"debian-archive-{release}-stable.*")):
            return combined
    return None


def apt_options(dump: str) -> list[str]:
    """The lines of ``apt-config dump`` that say how this host reaches archives.

    mmdebstrap starts from an empty configuration; without these a host behind
    a proxy, or one with an archive of its own, could not download.
    """
    wanted = ("http", "https", "Check-Date", "Check-Valid-Until", "Retries", "ForceIPv4")
    lines = []
    for line in dump.splitlines():
        name = line.partition(" ")[0]
        scope, *rest = name.split("::")
        if scope == "Acquire" and rest and rest[0] in wanted and not line.endswith(' "";'):
            lines.append(line.removesuffix(";"))
    return lines


def sources(release: Release, mirror: str, keys: Path, suites: Sequence[str] = ()) -> list[str]:
    """The apt sources: the release, its updates and its security fixes; more suites, if named."""
    options = f"[signed-by={keys}]"
    return [
        f"deb {options} {mirror} {release} main",
        f"deb {options} {mirror} {release}-updates main",
        f"deb {options} {mirror}-security {release}-security main",
        *(f"deb {options} {mirror} {suite} main" for suite in suites),
    ]


def mmdebstrap_command(
    recipe: Recipe,
    *,
    files: Path,
    output: Path,
    apt_sources: Sequence[str],
    options: Iterable[str],
) -> list[str]:
    """The command that writes the root file system of ``recipe`` as a tar archive.

    ``files`` is the archive that ``archive.pack`` made of ``recipe.files()``.
    """
    return [
        "mmdebstrap",
        "--mode=auto",
        "--variant=minbase",
        "--architectures=amd64",
        f"--include={','.join(recipe.packages)}",
        *(f"--aptopt={option}" for option in options),
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.left_out),
        # Laid down first: the initial ramdisk is built while packages configure.
        f"--essential-hook=tar-in {shlex.quote(str(files))} /",
        *(f"--customize-hook={hook}" for hook in recipe.customize),
        recipe.release,
        str(output),
        *apt_sources,
    ]
