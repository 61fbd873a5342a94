# SPDX-License-Identifier: GPL-2.0-only
"""The seed disk of a guest: a tar archive as a raw disk, read at every boot.

It stays a file of the host, so that changes (a corrected delay) are still in force
after the guest's next reboot. To read it, a guest needs only a virtio disk driver,
whatever kernel it runs.
"""

from pathlib import Path

from ktcp_testbed.lab.archive import File, pack

SEED_BYTES = 65_536


def write(path: Path, *, hostname: str, hosts: str, configure: str, authorized_key: str) -> None:
    """Write or rewrite a seed disk in place, which a running QEMU may have open."""
    content = pack(
        [
            File(path="etc/hostname", content=f"{hostname}\n".encode()),
            File(path="etc/hosts", content=hosts.encode()),
            File(path="root/.ssh/authorized_keys", content=authorized_key.encode(), mode=0o600),
            File(path="run/ktcp-lab/configure", content=configure.encode()),
        ]
    )
    if len(content) > SEED_BYTES:
        raise ValueError(f"a seed of {len(content)} bytes does not fit in {SEED_BYTES}")
    if not path.exists():
        path.touch(mode=0o600)
    with path.open("r+b") as file:
        file.write(content.ljust(SEED_BYTES, b"\0"))
