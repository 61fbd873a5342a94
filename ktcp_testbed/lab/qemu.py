# SPDX-License-Identifier: GPL-2.0-only
"""QEMU command lines. Pure, except that it looks at the host's CPU."""

from dataclasses import dataclass
from pathlib import Path

KERNEL_COMMAND_LINE = (
    "root=/dev/vda",
    "rootfstype=ext4",
    "rw",
    "console=ttyS0",
    # Each character on an emulated serial port costs an exit; dmesg has all messages.
    "loglevel=5",
    "systemd.show_status=auto",
    # The seed disk names the interfaces.
    "net.ifnames=0",
    # Nobody attacks a guest, and mitigations would only slow the emulation down.
    "mitigations=off",
    # Attaching the other security modules takes seconds.
    "lsm=capability",
    # The emulated time stamp counter is the host's, and the cheapest clock to read.
    "tsc=reliable",
    "no_timer_check",
    "panic=10",
)

# Fewer features make an emulated CPU faster: "max" takes a third longer to boot.
# No cmpxchg16b: QEMU 7.2 leaves wrong bits in EFLAGS after it (up to TF and NT), and an interrupt
# that comes just then saves them. The kernel's allocator uses it, so now and then a guest died.
EMULATED_CPU = "qemu64,-cx16"


@dataclass(frozen=True, kw_only=True)
class Nic:
    """A network card joined to another by a pair of datagram sockets."""

    mac: str
    local: Path
    remote: Path


@dataclass(frozen=True, kw_only=True)
class Vm:
    """One QEMU process."""

    name: str
    memory_mib: int
    cpus: int
    kernel: Path
    initrd: Path | None
    command_line: str
    """Appended to the kernel's command line."""
    disk: Path
    seed: Path
    console: Path
    mac: str
    ssh_port: int
    nics: tuple[Nic, ...] = ()
    reboots: bool = True
    """Whether a reset starts the guest again; otherwise it ends the process."""


def accelerator(cpuinfo: str) -> str:
    """KVM if the CPU has it. A device node alone does not prove that it works."""
    flags = {
        flag for line in cpuinfo.splitlines() if line.startswith("flags") for flag in line.split()
    }
    return "kvm" if flags & {"vmx", "svm"} else "tcg,thread=multi"


def host_accelerator() -> str:
    """The accelerator for this host."""
    return accelerator(Path("/proc/cpuinfo").read_text(encoding="utf-8"))


def arguments(vm: Vm, accel: str) -> list[str]:
    """The command that runs ``vm``."""
    cpu = "host" if accel == "kvm" else EMULATED_CPU
    command = [
        "qemu-system-x86_64",
        *("-name", vm.name),
        "-nodefaults",
        "-no-user-config",
        *("-display", "none"),
        *("-machine", "pc"),
        *("-accel", accel),
        *("-cpu", cpu),
        *("-smp", str(vm.cpus)),
        *("-m", f"{vm.memory_mib}M"),
        *("-kernel", str(vm.kernel)),
    ]
    if vm.initrd is not None:
        command += ["-initrd", str(vm.initrd)]
    command += devices(vm)
    if not vm.reboots:
        command.append("-no-reboot")
    return command


def devices(vm: Vm) -> list[str]:
    """Console, random numbers, disks and network cards of ``vm``."""
    found = [
        *("-append", " ".join([*KERNEL_COMMAND_LINE, vm.command_line]).strip()),
        *("-chardev", f"file,id=console,path={escape(vm.console)},append=on"),
        *("-serial", "chardev:console"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom"),
        *("-device", "virtio-rng-pci,rng=rng"),
        # The overlay is thrown away with the lab, so nothing waits for the disk;
        # a full disk is the guest's error, not a silent pause.
        *drive("root", vm.disk, "format=qcow2,cache=unsafe,werror=report,discard=unmap"),
        *drive("seed", vm.seed, "format=raw,readonly=on"),
        # Only ssh gets in, and nothing gets out.
        *("-netdev", f"user,id=mgmt,restrict=yes,ipv6=off,hostfwd=tcp:127.0.0.1:{vm.ssh_port}-:22"),
        *("-device", f"virtio-net-pci,netdev=mgmt,mac={vm.mac}"),
    ]
    for number, nic in enumerate(vm.nics):
        found += [
            *("-netdev", dgram(f"link{number}", nic)),
            *("-device", f"virtio-net-pci,netdev=link{number},mac={nic.mac}"),
        ]
    return found


def drive(name: str, path: Path, options: str) -> list[str]:
    """A virtio disk."""
    return [
        "-drive",
        f"file={escape(path)},if=none,id={name},{options}",
        "-device",
        f"virtio-blk-pci,drive={name}",
    ]


def dgram(name: str, nic: Nic) -> str:
    """One end of a link. It uses datagrams, so that either end may come and go alone."""
    return (
        f"dgram,id={name},local.type=unix,local.path={escape(nic.local)},"
        f"remote.type=unix,remote.path={escape(nic.remote)}"
    )


def escape(path: Path) -> str:
    """``path`` as a value among QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
