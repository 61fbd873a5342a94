#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Writes down all of a host that KTCP could have changed, a line each, to a file.

What builds leave behind for every package alike (DKMS's signing key, indexes of
modules, caches, logs) is not looked at.
"""

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PLACES = ("/etc", "/usr/local", "/usr/src", "/lib/modules", "/var/lib", "/root", "/run")

# Written by whatever runs on a host, KTCP or not.
NOISE = (
    "/etc/mtab",
    "/lib/modules/*/modules.*",
    "/root/.ansible/*",
    "/run/*/*",
    "/var/lib/apt/*",
    "/var/lib/dkms/mok.*",
    "/var/lib/dpkg/*",
    "/var/lib/systemd/*",
    "/var/lib/systemd/*/*",
)

SYSCTLS = ("net.core.rmem_max", "net.core.wmem_max", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")
FORWARDING = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv6.conf.default.forwarding",
)


def said(*argv: str) -> list[str]:
    """Lines that a command prints."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def files() -> Iterator[str]:
    """Every file with its mode and content."""
    for place in PLACES:
        for path in sorted(Path(place).rglob("*")):
            if any(path.match(pattern) for pattern in NOISE) or path.is_dir():
                continue
            if path.is_symlink():
                yield f"{path} -> {path.readlink()}"
            elif path.is_file() and not str(path).startswith("/usr/src/linux-"):
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                yield f"{path} {path.stat().st_mode:o} {digest}"


def rules() -> Iterator[str]:
    """Every packet filter rule; the empty tables that a rule once needed do not count."""
    for command in ("iptables-save", "ip6tables-save"):
        yield from (f"{command} {line}" for line in said(command) if line.startswith("-"))


def main() -> None:
    """Write the snapshot to the file that is named."""
    lines = [*files(), *rules(), *said("sysctl", *SYSCTLS, *FORWARDING)]
    lines += [line for line in said("lsmod") if line.startswith("ktcp")]
    lines += list(said("systemctl", "list-unit-files", "--no-legend", "--no-pager"))
    Path(sys.argv[1]).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
