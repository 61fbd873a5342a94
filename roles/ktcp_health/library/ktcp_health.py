#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Check whether a relay works, without changing anything on it."""

import ipaddress
import platform
import re
import socket
import subprocess
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ktcp_health
short_description: Check whether a relay works
description:
  - Fails with every problem of the relay, a line each, if it has any. Changes nothing.
  - Checks that the loaded module is the installed one, services run, listeners listen, the running
    state is the configured one, every kernel that could be booted has the module, and peers answer
    and are up.
options:
  timeout:
    description:
      - Seconds to wait for the relay to become healthy. It is checked at least once, and once a
        second until then.
    type: float
    default: 0
  peers:
    description: Whether to connect to the relay port of each peer.
    type: bool
    default: true
  pools:
    description:
      - Whether the pool of each peer must have a ready connection, which also proves the keys.
    type: bool
    default: false
  absent:
    description: Peers whose pool may be empty, each as C(ADDRESS:PORT).
    type: list
    elements: str
    default: []
  ignored_kernels:
    description: Releases of installed kernels that need no module.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    support: full
    description: Checks the same as without check mode.
  diff_mode:
    support: none
    description: There is never a difference.
"""

EXAMPLES = r"""
- name: Check the relay and the pools of its peers, one of which is down on purpose
  ktcp_health:
    timeout: 60
    pools: true
    absent: ["192.0.2.7:5565"]
"""

RETURN = r"""
problems:
  description: What is wrong and how to look further, a sentence for each problem.
  type: list
  elements: str
  returned: always
  sample:
    - "module: not loaded: systemctl status ktcp"
"""

PROC = Path("/proc/net/ktcp")
LOADED = Path("/sys/module/ktcp/srcversion")
FIREWALL = Path("/usr/local/sbin/ktcp-firewall")

# Commands that only some relays have, and the files that they read.
OPTIONAL = {
    "ktcp-wireguard": "/etc/ktcp-tunnel/wireguard.conf",
    "ktcp-edge": "/etc/ktcp-edge.conf",
}

# Long enough for a peer on the other side of the world that lost a SYN.
CONNECT_SECONDS = 4


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; stdout and stderr come together."""
    return subprocess.run(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def kernel_module() -> Iterator[str]:
    """The module is loaded, and is the one that would be loaded now."""
    if not LOADED.exists():
        yield "module: not loaded: systemctl status ktcp"
        return
    installed = run("modinfo", "-k", platform.release(), "-F", "srcversion", "ktcp").stdout.strip()
    loaded = LOADED.read_text(encoding="ascii").strip()
    if loaded != installed:
        yield f"module: {loaded} is loaded, {installed} is installed: systemctl restart ktcp"


def installed() -> list[str]:
    """Our optional commands that this relay has."""
    return [command for command, file in OPTIONAL.items() if Path(file).exists()]


def services() -> Iterator[str]:
    """All services run now and will after a reboot."""
    optional = (f"{command}.service" for command in installed())
    for unit in ("ktcp.service", "ktcp-steering.service", *optional):
        for question in ("is-active", "is-enabled"):
            done = run("systemctl", question, unit)
            if done.returncode:
                yield f"{unit}: {question}: {done.stdout.strip()}: systemctl status {unit}"


def state() -> Iterator[str]:
    """Running state and rules are the configured ones."""
    yield from asked("ktcp-apply", "--check")
    yield from asked("ktcp-steering", "check")
    if FIREWALL.exists():  # relays that a former release rolled out have none
        yield from asked("ktcp-firewall", "check")
    for command in installed():
        yield from asked(command, "check")


def asked(command: str, *words: str) -> Iterator[str]:
    """The problems that one of our commands finds."""
    try:
        done = run(f"/usr/local/sbin/{command}", *words)
    except OSError as error:
        yield f"{command}: {error.strerror}"
        return
    if done.returncode:
        yield from (f"{command} {words[0]}: {line}" for line in done.stdout.splitlines())


def kernels(ignored: list[str]) -> Iterator[str]:
    """Every kernel that may be booted has the module."""
    yield from asked("ktcp-dkms", "lacking", *(f"--ignore={kernel}" for kernel in ignored))


def configured(file: str, pattern: str) -> list[Any]:
    """What a pattern's groups match in a file of the running state."""
    path = PROC / file
    text = path.read_text(encoding="ascii") if path.exists() else ""
    return re.findall(pattern, text, re.MULTILINE)


def listeners() -> Iterator[str]:
    """Every listener has a socket."""
    listening = set(re.findall(r":(\d+)\s", run("ss", "-Hltn").stdout))
    for port in configured("listeners", r"^add \w+ (\d+)"):
        if port not in listening:
            yield f"listeners: nobody listens on port {port}: cat {PROC}/last_error"


def avoided() -> dict[str, str]:
    """Peers that no new flow is sent to, and why."""
    return dict(configured("peers", r"^# (\S+) .*\bstate (down|recovering)\b"))


def peers() -> Iterator[str]:
    """Every peer's relay port accepts a connection, and new flows are sent there."""
    shunned = avoided()
    for peer in configured("peers", r"^add (\S+)"):
        address, _, port = peer.rpartition(":")
        host = str(ipaddress.ip_address(address.strip("[]")))
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except OSError as error:
            yield f"peers: {peer}: {error}: is KTCP running there, and this relay its peer?"
            continue
        if peer in shunned:
            yield f"peers: {peer}: it is {shunned[peer]}: is its key the same, its path steady?"


def pools(absent: Collection[str], patience: float) -> Iterator[str]:
    """The pool of every peer that is not absent has a connection, which proves the keys, too.

    Who has just come back is used by no flow for `peer_hold_ms`. That is waited for as well,
    unless it is longer than `patience` seconds.
    """
    if not configured("settings", r"^conn_pool (on)$"):
        return
    pooled = configured("peers", r"^add (\S+)(?=.* high [1-9])")
    ready = configured("peers", r"^# (\S+) ready [1-9]")
    holds = configured("settings", r"^peer_hold_ms (\d+)$")
    shunned = {} if any(int(ms) > patience * 1000 for ms in holds) else avoided()
    for peer in pooled:
        if peer in absent:
            continue
        if peer not in ready:
            yield f"peers: {peer}: no connection is ready: is its key the same, this its peer?"
        elif peer in shunned:
            yield f"peers: {peer}: it is {shunned[peer]}: is its path steady?"


@dataclass(frozen=True)
class Scope:
    """What is checked beside the relay itself.

    Attributes:
        peers: whether peers have to answer.
        pools: whether pools must have connections.
        absent: peers whose pool may be empty.
        ignored_kernels: kernels that need no module.
        timeout: seconds to wait until all is well.
    """

    peers: bool
    pools: bool
    absent: list[str]
    ignored_kernels: list[str]
    timeout: float


def problems(scope: Scope) -> list[str]:
    """All problems now."""
    checks = [kernel_module, services, listeners, state, *([peers] if scope.peers else [])]
    found = [problem for check in checks for problem in check()]
    found += pools(scope.absent, scope.timeout) if scope.pools else []
    return [*found, *kernels(scope.ignored_kernels)]


def last_problems(scope: Scope) -> list[str]:
    """Check until all is well or the time is up. Returns the problems that are left."""
    deadline = time.monotonic() + scope.timeout
    while found := problems(scope):
        if time.monotonic() >= deadline:
            break
        time.sleep(1)
    return found


def main() -> None:
    """Run the module."""
    names: dict[str, Any] = {"type": "list", "elements": "str", "default": []}
    spec = {
        "timeout": {"type": "float", "default": 0},
        "peers": {"type": "bool", "default": True},
        "pools": {"type": "bool", "default": False},
        "absent": names,
        "ignored_kernels": names,
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    found = last_problems(Scope(**module.params))
    if found:
        module.fail_json(msg="\n".join(found), problems=found)
    module.exit_json(changed=False, problems=[])


if __name__ == "__main__":
    main()
