# SPDX-License-Identifier: GPL-2.0-only
"""What a worker gets to run its part of a job: our collection, its hosts, their variables.

Its format is ansible-runner's (``ansible-runner transmit``). Inventories may hold secrets, so
everything is packed in memory, if the system has a file system for that.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ansible_runner

from ktcp_ops.run import hosts
from ktcp_ops.run.environment import ansible_environment, collection_root
from ktcp_ops.run.job import Job
from ktcp_ops.run.options import Options

MEMORY = Path("/dev/shm")
"""Files in it are on no disk."""

PARTS = ("kmod", "playbooks", "roles")
LEFT_BY_BUILDS = ("*.o", "*.ko", "*.mod", "*.mod.c", "*.cmd", "*.symvers", "*.order", "__pycache__")


@contextmanager
def memory_directory() -> Iterator[Path]:
    """Give a fresh directory that only we can read, in memory; temporary files go there too."""
    base = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="ktcp-workers-", dir=base) as name:
        # The runner uses a temporary file to pack, and has no option for its place.
        before, tempfile.tempdir = tempfile.tempdir, name
        try:
            yield Path(name)
        finally:
            tempfile.tempdir = before


def lay_out(job: Job, directory: Path) -> str:
    """Copy what a job needs besides its hosts; give its playbook's path in ``project``."""
    root, project = collection_root(), directory / "project"
    for part in PARTS:
        shutil.copytree(root / part, project / part, ignore=shutil.ignore_patterns(*LEFT_BY_BUILDS))
    if job.playbook.is_relative_to(root):
        return str(job.playbook.relative_to(root))
    shutil.copy(job.playbook, project / "playbooks")
    return f"playbooks/{job.playbook.name}"


def pack(
    job: Job, directory: Path, playbook: str, inventory: Mapping[str, Any], options: Options
) -> Path:
    """Write the stream that lets a worker run a laid out job over its hosts.

    Returns:
        The file with the stream, in ``directory``'s parent.
    """
    number, stream = tempfile.mkstemp(prefix="stream-", dir=directory.parent)
    with os.fdopen(number, "wb") as output:
        ansible_runner.run(
            streamer="transmit",
            _output=output,
            private_data_dir=str(directory),
            playbook=playbook,
            inventory=dict(inventory),
            cmdline=options.command_line(check=job.check),
            extravars=dict(job.variables),
            envvars=worker_environment(),
            settings={"pexpect_timeout": 1, "suppress_ansible_output": True},
            suppress_env_files=True,
            cancel_callback=bool,  # with a callback, the runner leaves signal handlers alone
        )
    return Path(stream)


def worker_environment() -> dict[str, str]:
    """Keep only the variables that mean the same on a worker: no paths of this host."""
    paths = {"PATH", "ANSIBLE_INVENTORY_PLUGINS", "ANSIBLE_ROLES_PATH"}
    ours = {name: value for name, value in ansible_environment().items() if name not in paths}
    # Without it the worker's runner would not check host keys.
    ours["ANSIBLE_HOST_KEY_CHECKING"] = os.environ.get("ANSIBLE_HOST_KEY_CHECKING", "true")
    # The worker resolves it from the directory `roles` beside `project`.
    return {**ours, "ANSIBLE_ROLES_PATH": "../project/roles"}


def hosts_of(job: Job, inventory: Mapping[str, Any], directory: Path) -> list[str]:
    """Ask Ansible which hosts of an inventory a job is about, within its limit.

    Raises:
        KtcpError: with Ansible's words, when it finds none or cannot read the playbook.
    """
    file = directory / "all.json"
    file.write_text(json.dumps(inventory), encoding="utf-8")
    asked = hosts.selected(replace(job, inventories=(str(file),), hosts=()))
    return list(asked.hosts) or hosts.hosts_of(asked)
