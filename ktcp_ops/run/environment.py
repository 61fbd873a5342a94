# SPDX-License-Identifier: GPL-2.0-only
"""Where the collection is, and what Ansible needs in its environment to use it."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_ops.run.configuration import directories, said

COLLECTION = Path("ansible_collections/pathway/ktcp")


def collection_root() -> Path:
    """Find roles, plugins and playbooks: beside this package in a checkout, else in the wheel.

    Raises:
        KtcpError: when the installation lacks them.
    """
    beside = Path(__file__).resolve().parents[2]
    for root in (beside, beside / COLLECTION):
        if (root / "plugins" / "inventory" / "ktcp_mesh.py").is_file():
            return root
    raise KtcpError(
        f"the collection pathway.ktcp is neither in {beside} nor in {beside / COLLECTION}; "
        "reinstall ktcp-ops"
    )


def playbook(name: str) -> Path:
    """Find one of our playbooks by its file name.

    Raises:
        KtcpError: when the installation lacks it.
    """
    path = collection_root() / "playbooks" / name
    if not path.is_file():
        raise KtcpError(f"{path} is missing; reinstall ktcp-ops")
    return path


def ansible_environment() -> dict[str, str]:
    """Make the variables that our runs of Ansible add to the user's environment.

    The user's own settings, in the environment or in ``ansible.cfg``, win over them, except over
    those that make runs reliable. Each has its line in ``docs/operations.md``.
    """
    root = collection_root()
    bin_directory = str(Path(sys.executable).parent)
    ours = {
        "ANSIBLE_INVENTORY_PLUGINS": search_path(
            "ANSIBLE_INVENTORY_PLUGINS", str(root / "plugins/inventory")
        ),
        "ANSIBLE_ROLES_PATH": search_path("ANSIBLE_ROLES_PATH", str(root / "roles")),
        # If part of the inventory cannot be read, the rollout would miss part of the mesh.
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        # Ansible refuses to start under a locale that is not UTF-8.
        "LC_ALL": "C.UTF-8",
        # The Ansible of our own Python, also when its directory is not on the user's PATH.
        "PATH": os.pathsep.join((bin_directory, os.environ.get("PATH", os.defpath))),
    }
    # It saves half the round trips; users turn it off if sudo insists on a terminal.
    if not any(name in os.environ for name in PIPELINING) and said(PIPELINING_SETTINGS) is None:
        ours["ANSIBLE_PIPELINING"] = "true"
    return ours


PIPELINING = ("ANSIBLE_PIPELINING", "ANSIBLE_SSH_PIPELINING")
PIPELINING_SETTINGS = tuple(
    (section, "pipelining") for section in ("defaults", "connection", "ssh_connection")
)

SEARCHED = {
    "ANSIBLE_CALLBACK_PLUGINS": ("callback_plugins", "plugins/callback"),
    "ANSIBLE_INVENTORY_PLUGINS": ("inventory_plugins", "plugins/inventory"),
    "ANSIBLE_ROLES_PATH": ("roles_path", "roles"),
}
"""A search path's key in the section ``defaults``, and its place below Ansible's directories."""


def search_path(variable: str, *own: str) -> str:
    """Put our directories before those that Ansible would search without us."""
    theirs = os.environ.get(variable)
    key, place = SEARCHED[variable]
    home = os.environ.get("ANSIBLE_HOME") or str(Path("~/.ansible").expanduser())
    usual = [str(Path(base) / place) for base in (home, "/usr/share/ansible")]
    found = theirs.split(os.pathsep) if theirs else directories(("defaults", key)) or usual
    return os.pathsep.join(dict.fromkeys((*own, *found)))


def callbacks() -> dict[str, str]:
    """Keep the user's directories of callbacks: ansible-runner sets the variable to its own."""
    return {"ANSIBLE_CALLBACK_PLUGINS": search_path("ANSIBLE_CALLBACK_PLUGINS")}


HIDING = {
    "ANSIBLE_CACHE_PLUGIN",
    "ANSIBLE_CACHE_PLUGIN_CONNECTION",
    "ANSIBLE_HOST_KEY_CHECKING",
    "ANSIBLE_RETRY_FILES_ENABLED",
}
"""Variables that ansible-runner sets, which override the user's ``ansible.cfg``."""


def as_the_user_has_it(environment: Mapping[str, str]) -> dict[str, str]:
    """Remove what ansible-runner has set without asking the user.

    It switches the check of host keys off, and puts facts into a cache of its own.
    """
    theirs = {name: os.environ[name] for name in HIDING if name in os.environ}
    return {**{k: v for k, v in environment.items() if k not in HIDING}, **theirs}
