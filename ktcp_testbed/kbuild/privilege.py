# SPDX-License-Identifier: GPL-2.0-only
"""Being root, or as good as root, for what a root file system needs."""

import os


def as_root() -> list[str]:
    """The command that runs another as root: we are root already, or in a user namespace."""
    own_mounts = ["unshare", "--mount"]
    return own_mounts if os.geteuid() == 0 else [*own_mounts, "--map-root-user", "--map-auto"]
