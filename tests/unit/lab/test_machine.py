# SPDX-License-Identifier: GPL-2.0-only
"""QEMU command lines, seeds and ssh_config."""

import io
import subprocess
import tarfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from ktcp_testbed.lab import machine, qemu, seed, ssh
from ktcp_testbed.lab.image import Image
from ktcp_testbed.lab.machine import Files, Options
from ktcp_testbed.lab.topology import PAPER


def vm(image: Image, name: str = "rc", options: Options | None = None) -> qemu.Vm:
    return machine.vm(
        PAPER,
        name,
        image=image,
        files=Files(directory=Path("/lab") / name),
        sockets=Path("/tmp/s"),
        port=2201,
        options=options or Options(),
    )


def values(command: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(command) if name == option]


def test_a_link_is_a_pair_of_sockets_that_fit(empty_image: Image) -> None:
    rc, rs = vm(empty_image, "rc"), vm(empty_image, "rs")
    near = next(nic for nic in rc.nics if nic.local.name == "rc-rs")
    far = next(nic for nic in rs.nics if nic.local.name == "rs-rc")
    assert (near.local, near.remote) == (far.remote, far.local)
    assert near.mac != far.mac
    assert (
        "dgram,id=link1,local.type=unix,local.path=/tmp/s/rc-rs,"
        "remote.type=unix,remote.path=/tmp/s/rs-rc"
    ) in values(qemu.arguments(rc, "tcg"), "-netdev")


def test_only_ssh_gets_in_and_nothing_out(empty_image: Image) -> None:
    command = qemu.arguments(vm(empty_image), "tcg,thread=multi")
    user = [value for value in values(command, "-netdev") if value.startswith("user,")]
    assert user == ["user,id=mgmt,restrict=yes,ipv6=off,hostfwd=tcp:127.0.0.1:2201-:22"]


def test_the_image_stays_clean_and_the_seed_is_read_only(empty_image: Image) -> None:
    drives = values(qemu.arguments(vm(empty_image), "tcg"), "-drive")
    assert drives[0].startswith("file=/lab/rc/disk.qcow2,if=none,id=root,format=qcow2")
    assert drives[1] == "file=/lab/rc/seed.img,if=none,id=seed,format=raw,readonly=on"
    assert not any(str(empty_image.disk) in drive for drive in drives)


def test_a_guest_gets_what_its_topology_says(empty_image: Image) -> None:
    command = qemu.arguments(vm(empty_image), "tcg")
    assert values(command, "-m") == ["1024M"]
    assert values(command, "-smp") == ["2"]
    assert values(command, "-cpu") == [qemu.EMULATED_CPU]
    assert values(qemu.arguments(vm(empty_image), "kvm"), "-cpu") == ["host"]
    assert values(command, "-initrd") == [str(empty_image.initrd)]
    assert "-no-reboot" not in command


def test_another_kernel_is_booted_without_a_ramdisk(empty_image: Image) -> None:
    options = Options(kernel=Path("/k/bzImage"), command_line="panic=-1", reboots=False)
    command = qemu.arguments(vm(empty_image, options=options), "tcg")
    assert values(command, "-kernel") == ["/k/bzImage"]
    assert values(command, "-initrd") == []
    line = values(command, "-append")[0]
    assert line.startswith("root=/dev/vda ")
    assert line.endswith(" panic=-1")
    assert "-no-reboot" in command


def test_a_comma_in_a_path_is_escaped(empty_image: Image) -> None:
    odd = replace(vm(empty_image), console=Path("/a,b/console"))
    assert "file,id=console,path=/a,,b/console,append=on" in qemu.arguments(odd, "tcg")


def test_kvm_needs_the_cpu_and_not_only_the_device() -> None:
    assert qemu.accelerator("flags\t\t: fpu vmx sse\n") == "kvm"
    assert qemu.accelerator("flags\t\t: fpu svm\n") == "kvm"
    assert qemu.accelerator("flags\t\t: fpu sse vmx_none\nvmx flags\t: x\n") == "tcg,thread=multi"


def test_a_seed_holds_the_configuration_and_keeps_its_inode(
    empty_image: Image, tmp_path: Path
) -> None:
    files = Files(directory=tmp_path)
    delays = {link.name: 1000 for link in PAPER.links}
    machine.write_seed(PAPER, "rc", image=empty_image, files=files, delays_us=delays)
    inode = files.seed.stat().st_ino
    delays["rc-rs"] = 2000
    machine.write_seed(PAPER, "rc", image=empty_image, files=files, delays_us=delays)
    assert files.seed.stat().st_ino == inode
    content = files.seed.read_bytes()
    assert len(content) == seed.SEED_BYTES
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        assert all(entry.isfile() for entry in archive)
        hostname = archive.extractfile("etc/hostname")
        key = archive.extractfile("root/.ssh/authorized_keys")
        script = archive.extractfile("run/ktcp-lab/configure")
        assert hostname is not None
        assert key is not None
        assert script is not None
        assert hostname.read() == b"rc\n"
        assert key.read() == b"ssh-ed25519 AAAA ktcp-lab\n"
        text = script.read()
    assert b"dev ifb-rs root netem delay 2000us" in text
    assert b"dev ifb-client root netem delay 1000us" in text


def test_ssh_reads_the_configuration(tmp_path: Path) -> None:
    config = tmp_path / "ssh_config"
    config.write_text(
        ssh.config(
            {"rc": 2201, "rs": 2202}, identity=Path("/a dir/identity"), sockets=Path("/tmp/s")
        )
    )
    for name, port in (("rc", 2201), ("rs", 2202)):
        done = subprocess.run(
            ["ssh", "-G", "-F", str(config), name], capture_output=True, text=True, check=True
        )
        read = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
        assert read["hostname"] == "127.0.0.1"
        assert read["port"] == str(port)
        assert read["user"] == "root"
        assert read["identityfile"] == "/a dir/identity"
        assert read["controlpath"] == f"/tmp/s/ssh-{name}"
        assert read["stricthostkeychecking"] in {"no", "false"}


def test_arguments_reach_the_guest_as_they_are() -> None:
    command = ssh.command(Path("c"), "rc", ["echo", "two words", "$HOME"])
    assert command[-1] == "echo 'two words' '$HOME'"
    assert ssh.command(Path("c"), "rc", "echo $HOME")[-1] == "echo $HOME"


def test_a_user_gets_a_shell_or_the_words_typed() -> None:
    assert ssh.shell_command(Path("c"), "rc", []) == ["ssh", "-F", "c", "rc"]
    assert ssh.shell_command(Path("c"), "rc", ["ip", "route"])[-3:] == ["--", "ip", "route"]
