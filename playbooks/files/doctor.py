# SPDX-License-Identifier: GPL-2.0-only
"""Print, as JSON, everything on a relay's host that KTCP depends on. Changes nothing.

Usage: doctor.py QUESTIONS, a JSON object: ``peers`` and ``targets`` (lists of addresses).
Stands alone: it runs on a host of the inventory with nothing but Python's own library. It
tells facts only; what is wrong with them is for ``ktcp_ops.mesh.diagnosis.doctor`` to say.
"""

import ipaddress
import json
import os
import platform
import re
import select
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path("/")
SECURE_BOOT = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
SYSCTLS = (
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "net.ipv4.conf.all.rp_filter",
    "net.ipv4.tcp_fastopen",
    "net.ipv4.tcp_syncookies",
    "net.netfilter.nf_conntrack_max",
    "net.netfilter.nf_conntrack_count",
)

# Sizes of packets with their IP header that clouds and tunnels use, the largest first.
SIZES = (9001, 8500, 1500, 1460, 1420, 1400, 1280)
PATIENCE_S = 1.0
TRIES = 2
AT_ONCE = 32

# Without a token this must answer 401, or a thief can get the host's credentials.
METADATA = "http://169.254.169.254/latest/meta-data/"

# From linux/in.h and linux/in6.h; Python has no names for them.
IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, PMTUDISC_PROBE = 10, 23, 3
ECHO = {4: (8, 0), 6: (128, 129)}


def run(*argv: str) -> tuple[int | None, list[str]]:
    """Exit code and lines of a command's output; None if there is no such command."""
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
    except OSError:
        return None, []
    return done.returncode, done.stdout.splitlines()


def read(path: str) -> str | None:
    """Text of a file, or None."""
    try:
        return (ROOT / path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def first(*argv: str) -> str | None:
    """The first line of a command's output, if it succeeded."""
    code, lines = run(*argv)
    return lines[0].strip() if code == 0 and lines else None


def word(*argv: str) -> str:
    """The one word that a command prints, however it ends."""
    lines = run(*argv)[1]
    return lines[0] if len(lines) == 1 and lines[0].isalpha() else "unknown"


# --- the host ---------------------------------------------------------------


def kernels() -> list[dict[str, Any]]:
    """Every installed kernel, with whether it has its headers and the module."""
    modules = ROOT / "lib/modules"
    return [
        {
            "release": path.parent.name,
            "headers": (path.parent / "build").exists(),
            "srcversion": first("modinfo", "-k", path.parent.name, "-F", "srcversion", "ktcp"),
            "signer": first("modinfo", "-k", path.parent.name, "-F", "signer", "ktcp"),
        }
        for path in sorted(modules.glob("*/modules.builtin"))
    ]


def secure_boot() -> bool | None:
    """Whether the firmware loads signed kernels only; None if it is no UEFI."""
    try:
        return (ROOT / SECURE_BOOT).read_bytes()[-1:] == b"\1"
    except OSError:
        return None


def sysctls() -> dict[str, int]:
    """The running values of the sysctls that exist."""
    found = {name: read(f"proc/sys/{name.replace('.', '/')}") for name in SYSCTLS}
    return {name: int(text) for name, text in found.items() if text is not None and text.isdigit()}


def interfaces() -> dict[str, dict[str, int]]:
    """Each interface except loopback, with its MTU, rp_filter and accept_ra."""
    found = {}
    for path in sorted((ROOT / "sys/class/net").glob("*")):
        if path.name != "lo" and (path / "mtu").exists():
            found[path.name] = {
                "mtu": int((path / "mtu").read_text()),
                "rp_filter": int(read(f"proc/sys/net/ipv4/conf/{path.name}/rp_filter") or 0),
                "accept_ra": int(read(f"proc/sys/net/ipv6/conf/{path.name}/accept_ra") or 0),
            }
    return found


def counters() -> dict[str, int]:
    """Packets dropped since boot: by rp_filter, and because conntrack had no room."""
    lines = (read("proc/net/netstat") or "").splitlines()
    names = [word for line in lines[::2] for word in line.split()[1:]]
    values = [word for line in lines[1::2] for word in line.split()[1:]]
    table = dict(zip(names, values, strict=False))
    stat = (read("proc/net/stat/nf_conntrack") or "").splitlines()
    drops = 0
    if stat and "drop" in stat[0].split():
        place = stat[0].split().index("drop")
        drops = sum(int(line.split()[place], 16) for line in stat[1:])
    return {"rp_filter_drops": int(table.get("IPReversePathFilter", 0)), "conntrack_drops": drops}


def cloud() -> str | None:
    """The cloud that the host is in, by its firmware."""
    vendor = read("sys/class/dmi/id/sys_vendor") or ""
    tag = read("sys/class/dmi/id/chassis_asset_tag") or ""
    if vendor == "Amazon EC2":
        return "aws"
    if vendor == "Google":
        return "gcp"
    return "azure" if tag == "7783-7084-3265-9085-8269-3286-77" else None


def metadata_status() -> int | None:
    """What the cloud's metadata service answers to a request without a token."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(METADATA, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
    except OSError:
        return None


# --- other hosts ------------------------------------------------------------


def route(address: str) -> dict[str, str] | None:
    """The host's route to an address, or None if there is none."""
    code, lines = run("ip", "-o", "route", "get", address)
    if code != 0 or not lines:
        return None
    return dict(re.findall(r"\b(dev|src|via|mtu) (\S+)", lines[0]))


def arriving(address: str, mtu: int) -> int | None:
    """The size of the largest packet that an address answers; None if it answers none."""
    sizes = [mtu, *(size for size in SIZES if size < mtu)]
    return next((size for size in sizes if any(echo(address, size) for _ in range(TRIES))), None)


def echo(address: str, size: int) -> bool:
    """Whether an echo of this size, headers included, comes back without being fragmented."""
    version = ipaddress.ip_address(address).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    protocol = socket.IPPROTO_ICMP if version == 4 else socket.IPPROTO_ICMPV6
    asks, answers = ECHO[version]
    payload = os.urandom(size - (28 if version == 4 else 48))
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        if version == 4:
            raw.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, PMTUDISC_PROBE)
        else:
            raw.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU_DISCOVER, PMTUDISC_PROBE)
        try:
            raw.sendto(packet(asks, payload), (address, 0))
        except OSError:  # too large for the host's own interface
            return False
        return answered(raw, answers, payload[-32:])


def packet(kind: int, payload: bytes) -> bytes:
    """An echo request with its checksum, which the kernel replaces for IPv6."""
    bare = struct.pack("!BBHHH", kind, 0, 0, os.getpid() & 0xFFFF, 1) + payload
    return bare[:2] + struct.pack("!H", checksum(bare)) + bare[4:]


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def answered(raw: socket.socket, kind: int, mark: bytes) -> bool:
    """Whether an answer that ends with our mark comes in time."""
    deadline = time.monotonic() + PATIENCE_S
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([raw], [], [], left)[0]:
            return False
        data = raw.recv(65535)
        head = (data[0] & 15) * 4 if raw.family == socket.AF_INET else 0
        if data[head] == kind and data.endswith(mark):
            return True
    return False


@cache
def addresses() -> list[str]:
    """All addresses of this host."""
    return re.findall(r"inet6? ([0-9a-f.:]+)", "\n".join(run("ip", "-o", "addr")[1]))


def source(address: str) -> str:
    """Where the module's legs to a peer come from, if it was told; empty: the route decides."""
    name = "source6" if ":" in address else "source4"
    told = re.search(rf"^{name} (\S+)$", read("proc/net/ktcp/settings") or "", re.MULTILINE)
    return told[1] if told and told[1] != "any" else ""


def connects(address: str, port: int) -> str:
    """Empty if the relay port accepts a connection, else why not."""
    own = source(address)
    # Behind a translation no interface has the address; the module then leaves it aside too.
    bound = (own, 0) if own in addresses() else None
    try:
        socket.create_connection((address, port), 4 * PATIENCE_S, bound).close()
    except OSError as error:
        return str(error)
    return ""


def peer(address: str, port: int, links: dict[str, dict[str, int]]) -> dict[str, Any]:
    """What connects this relay with another one: route, packet size, relay port."""
    way = route(address)
    mtu = links.get(way.get("dev", ""), {}).get("mtu") if way else None
    return {
        "route": way,
        "mtu": mtu,
        "arrives": arriving(address, mtu) if mtu else None,
        # By now the kernel knows the path's MTU, if the routers on the way report it.
        "learned": (route(address) or {}).get("mtu"),
        "refusal": connects(address, port),
    }


def each(function: Callable[[str], Any], addresses: Iterable[str]) -> dict[str, Any]:
    """Examine addresses, many at once, since a silent one takes seconds."""
    wanted = list(addresses)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(wanted, pool.map(function, wanted), strict=True))


# --- KTCP -------------------------------------------------------------------


def drift(command: str, word: str) -> dict[str, Any]:
    """What one of KTCP's own commands finds different from the configuration."""
    code, lines = run(str(ROOT / "usr/local/sbin" / command), word)
    return {"code": code, "lines": lines[:20]}


def facts(questions: dict[str, Any]) -> dict[str, Any]:
    """All facts."""
    links = interfaces()
    where = cloud()
    return {
        "running": platform.release(),
        "kernels": kernels(),
        "loaded": read("sys/module/ktcp/srcversion"),
        "secure_boot": secure_boot(),
        "sysctls": sysctls(),
        "interfaces": links,
        "default6": "\n".join(run("ip", "-6", "route", "show", "default")[1]),
        "counters": counters(),
        "synchronized": first("timedatectl", "show", "--property=NTPSynchronized", "--value"),
        "time": time.time(),
        "services": {
            unit: word("systemctl", "is-active", unit)
            for unit in ("ktcp.service", "ktcp-steering.service")
        },
        "configuration": drift("ktcp-apply", "--check"),
        "rules": drift("ktcp-steering", "check"),
        "cloud": where,
        "metadata_status": metadata_status() if where == "aws" else None,
        "peers": each(lambda a: peer(a, questions["port"], links), questions["peers"]),
        "targets": each(route, questions["targets"]),
    }


if __name__ == "__main__":
    json.dump(facts(json.loads(sys.argv[1])), sys.stdout)
