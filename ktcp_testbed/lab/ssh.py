# SPDX-License-Identifier: GPL-2.0-only
"""The ssh_config of a lab, and the ssh command lines that use it."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

# The guests' host keys come with the image, and everybody who has the image knows
# them, so checking them would prove nothing. The ports are on the loopback interface.
HOST = """\
Host {name}
    HostName 127.0.0.1
    Port {port}
    User root
    IdentityFile "{identity}"
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    GlobalKnownHostsFile /dev/null
    LogLevel ERROR
    BatchMode yes
    ConnectTimeout 20
    ServerAliveInterval 5
    ServerAliveCountMax 6
    ControlMaster auto
    ControlPath "{sockets}/ssh-%n"
    ControlPersist 600
"""


def config(ports: Mapping[str, int], *, identity: Path, sockets: Path) -> str:
    """The ssh_config for guests that listen on these loopback ports."""
    parts = ["# Written by ./dev lab; gone after ./dev lab down.\n"]
    parts += [
        HOST.format(name=name, port=port, identity=identity, sockets=sockets)
        for name, port in ports.items()
    ]
    return "\n".join(parts)


def command(config_file: Path, host: str, remote: Sequence[str] | str) -> list[str]:
    """The ssh command that runs ``remote``; a list is quoted for the remote shell."""
    text = remote if isinstance(remote, str) else shlex.join(remote)
    return ["ssh", "-F", str(config_file), host, "--", text]


def shell_command(config_file: Path, host: str, words: Sequence[str]) -> list[str]:
    """The ssh command that a user would type: for a shell, or with ``words`` for it."""
    return ["ssh", "-F", str(config_file), host, *(["--", *words] if words else [])]


def close_command(config_file: Path, host: str) -> list[str]:
    """The command that ends the shared connection to ``host``."""
    return ["ssh", "-F", str(config_file), "-O", "exit", host]
