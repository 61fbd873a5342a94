# SPDX-License-Identifier: GPL-2.0-only
"""Print what support needs from a relay: base64 of zlib of a JSON object, name to text.

Stands alone: it runs on a host of the inventory with nothing but Python's own library. Files
that hold keys are never opened, but keys may stand anywhere else; whoever reads this removes
them (``ktcp_ops.mesh.journal.redact``).
"""

import base64
import json
import subprocess
import sys
import zlib
from pathlib import Path

ROOT = Path("/")
FILES = (
    "etc/ktcp/*.conf",
    "etc/ktcp/steering.*",
    "etc/os-release",
    "etc/sysctl.d/90-ktcp.conf",
    "etc/systemd/system/ktcp*",
    "proc/net/ktcp/*",
    "proc/net/netstat",
    "proc/net/sockstat",
    "proc/net/stat/nf_conntrack",
    "proc/meminfo",
    "var/lib/dkms/ktcp/*/build/make.log",
    "var/lib/prometheus/node-exporter/ktcp.prom",
)
SECRET = ("keys", "keys.conf")
"""Names of files that contain nothing but keys."""
FLOWS = "splits"
"""The file that lists users' connections, which is only read on request."""

COMMANDS = {
    "dkms": ("dkms", "status"),
    "dmesg": ("dmesg", "--ctime"),
    "interfaces": ("ip", "-s", "-d", "addr"),
    "iptables": ("iptables-save", "-c"),
    "ip6tables": ("ip6tables-save", "-c"),
    "journal": (
        *("journalctl", "--no-pager", "--output=short-iso", "--lines=5000"),
        *("--unit=ktcp.service", "--unit=ktcp-steering.service", "--unit=ktcp-metrics.service"),
    ),
    "modinfo": ("modinfo", "ktcp"),
    "neighbours": ("ip", "neighbour"),
    "packages": ("dpkg-query", "--list", "linux-image-*", "linux-headers-*", "dkms", "iptables"),
    "routes": ("ip", "route", "show", "table", "all"),
    "rules": ("ip", "rule"),
    "services": ("systemctl", "status", "--no-pager", "--full", "ktcp*"),
    "sockets": ("ss", "--tcp", "--listening", "--numeric"),
    "sysctl": ("sysctl", "net.ipv4", "net.ipv6", "net.core", "net.netfilter"),
    "uname": ("uname", "--all"),
    "ktcp-apply": ("/usr/local/sbin/ktcp-apply", "--check"),
    "ktcp-steering": ("/usr/local/sbin/ktcp-steering", "check"),
}

LIMIT = 1 << 20
"""Bytes to keep of a longer text: its end."""


def file_text(path: Path) -> str:
    """Text of a file, or why it cannot be read."""
    try:
        return path.read_bytes()[-LIMIT:].decode(errors="replace")
    except OSError as error:
        return f"{error}\n"


def output(argv: tuple[str, ...]) -> str:
    """Everything that a command printed, and its exit code if it failed."""
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    except OSError as error:
        return f"{error}\n"
    text = done.stdout[-LIMIT:].decode(errors="replace")
    return text if done.returncode == 0 else f"{text}(exit code {done.returncode})\n"


def collect(*, flows: bool) -> dict[str, str]:
    """All texts, by their names in the bundle."""
    paths = sorted(path for pattern in FILES for path in ROOT.glob(pattern))
    left_out = {*SECRET, *([] if flows else [FLOWS])}
    texts = {
        f"files/{path.relative_to(ROOT)}": file_text(path)
        for path in paths
        if path.name not in left_out
    }
    return texts | {f"commands/{name}": output(argv) for name, argv in COMMANDS.items()}


if __name__ == "__main__":
    data = json.dumps(collect(flows="--flows" in sys.argv)).encode()
    sys.stdout.write(base64.b64encode(zlib.compress(data)).decode())
