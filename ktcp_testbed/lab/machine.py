# SPDX-License-Identifier: GPL-2.0-only
"""What QEMU needs for a guest of a topology: its files on the host, and its Vm."""

import hashlib
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import network, seed
from ktcp_testbed.lab.image import Image
from ktcp_testbed.lab.logs import Logs
from ktcp_testbed.lab.qemu import Nic, Vm
from ktcp_testbed.lab.topology import Topology


@dataclass(frozen=True, kw_only=True)
class Files(Logs):
    """The files of a guest on the host: its logs and its disks."""

    @property
    def disk(self) -> Path:
        """The overlay on the image's disk."""
        return self.directory / "disk.qcow2"

    @property
    def seed(self) -> Path:
        """The seed disk."""
        return self.directory / "seed.img"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a guest is booted, where that is not as usual."""

    kernel: Path | None = None
    """Another kernel (a bzImage with ext4 and virtio disk built in), booted without
    an initial ramdisk."""
    command_line: str = ""
    """Appended to the kernel's command line."""
    reboots: bool = True
    """Whether a reset (a panic, with ``panic=-1``) starts the guest again; otherwise
    its process ends."""


def vm(
    topology: Topology,
    name: str,
    *,
    image: Image,
    files: Files,
    sockets: Path,
    port: int,
    options: Options,
) -> Vm:
    """Describe the machine of the guest ``name``. Pure."""
    guest = topology.guest(name)
    return Vm(
        name=name,
        memory_mib=guest.memory_mib,
        cpus=guest.cpus,
        kernel=options.kernel or image.kernel,
        initrd=None if options.kernel else image.initrd,
        # Stable, so that the journal of the previous boot is found after a restart.
        command_line=f"systemd.machine_id={machine_id(name)} {options.command_line}".strip(),
        disk=files.disk,
        seed=files.seed,
        console=files.console,
        mac=network.management_mac(topology, name),
        ssh_port=port,
        nics=tuple(
            Nic(
                mac=each.mac,
                local=sockets / f"{name}-{each.link.neighbour(name)}",
                remote=sockets / f"{each.link.neighbour(name)}-{name}",
            )
            for each in network.interfaces(topology, name)
        ),
        reboots=options.reboots,
    )


def machine_id(name: str) -> str:
    """The machine id for systemd."""
    return hashlib.sha256(f"ktcp-lab {name}".encode()).hexdigest()[:32]


def write_seed(
    topology: Topology, name: str, *, image: Image, files: Files, delays_us: Mapping[str, int]
) -> None:
    """Write or rewrite the seed disk of the guest ``name``."""
    seed.write(
        files.seed,
        hostname=name,
        hosts=network.hosts(topology),
        configure=network.configure_script(topology, name, delays_us),
        authorized_key=image.identity.with_suffix(".pub").read_text(encoding="utf-8"),
    )


def make_disk(disk: Path, backing: Path) -> None:
    """Make the overlay that takes a guest's writes.

    Raises:
        KtcpError: qemu-img is missing, or the disk is full.
    """
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(backing.resolve())]
    try:
        done = subprocess.run([*command, str(disk)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise KtcpError("qemu-img is missing: install the package qemu-utils") from error
    if done.returncode != 0:
        raise KtcpError(f"{disk} could not be made: {done.stderr.strip()}")
