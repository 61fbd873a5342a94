# SPDX-License-Identifier: GPL-2.0-only
"""Where the collection is, and what Ansible needs in its environment to use it."""

import os
import sys
from pathlib import Path

from ktcp_ops.errors import KtcpError

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

    The user's own settings for the same things win, except for what makes runs reliable.
    """
    root = collection_root()
    bin_directory = str(Path(sys.executable).parent)
    ours = {
        "ANSIBLE_INVENTORY_PLUGINS": search_path(
            "ANSIBLE_INVENTORY_PLUGINS", root, "plugins/inventory"
        ),
        "ANSIBLE_ROLES_PATH": search_path("ANSIBLE_ROLES_PATH", root, "roles"),
        # An inventory that was read in part gives a rollout to a part of the mesh.
        "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
        "ANSIBLE_NOCOLOR": "true",
        # Ansible refuses to start under a locale that is not UTF-8.
        "LC_ALL": "C.UTF-8",
        # The Ansible of our own Python, also when its directory is not on the user's PATH.
        "PATH": os.pathsep.join((bin_directory, os.environ.get("PATH", os.defpath))),
    }
    # Half the round trips; the user turns it off where sudo insists on a terminal.
    defaults = {"ANSIBLE_PIPELINING": "true"}
    return {**{k: v for k, v in defaults.items() if k not in os.environ}, **ours}


def search_path(variable: str, root: Path, directory: str) -> str:
    """Put one of our directories before those that the user has in a search path."""
    theirs = os.environ.get(variable)
    own = str(root / directory)
    return os.pathsep.join((own, theirs)) if theirs else own
