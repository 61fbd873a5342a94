# SPDX-License-Identifier: GPL-2.0-only
"""Downloads the packages of a second kernel for a guest, and of kexec, which boots it.

python packages.py RELEASE DIRECTORY

Of the release's archive, with what the guest's image has counted as installed. Nothing is
installed on this machine.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import get_args

from ktcp_ops.errors import KtcpError
from ktcp_testbed.lab import image
from ktcp_testbed.lab.recipe import DEFAULT_MIRROR, RELEASES, Release, apt_options, keyring, sources

WANTED = ("linux-image-cloud-amd64", "linux-headers-cloud-amd64", "kexec-tools")


def apt(directory: Path, release: Release) -> list[str]:
    """The command apt-get with all of its state and output in one directory."""
    keys = keyring(release)
    if keys is None:
        raise KtcpError(f"no keyring for Debian {release}: install debian-archive-keyring")
    mirror = os.environ.get("KTCP_MIRROR", DEFAULT_MIRROR)
    (directory / "sources.list").write_text("\n".join(sources(release, mirror, keys)) + "\n")
    (directory / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (directory / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    settings = {
        "Dir::Etc::sourcelist": directory / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": directory / "lists",
        "Dir::State::status": directory / "status",
        "Dir::State::extended_states": directory / "extended_states",
        "Dir::Cache": directory,
        "Debug::NoLocking": "true",
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",
    }
    lines = [f'{name} "{value}"' for name, value in settings.items()]
    lines += apt_options(image.apt_configuration())
    (directory / "apt.conf").write_text("".join(f"{line};\n" for line in lines))
    return ["apt-get", "-q", "-c", str(directory / "apt.conf")]


def download(release: Release, directory: Path) -> None:
    """Fill DIRECTORY/archives."""
    directory.mkdir(parents=True, exist_ok=True)
    with tarfile.open(image.ensure(release).rootfs, "r:") as rootfs:
        status = rootfs.extractfile("./var/lib/dpkg/status")
        assert status is not None
        (directory / "status").write_bytes(status.read())
    command = apt(directory, release)
    install = ("install", "--yes", "--download-only", "--no-install-recommends", *WANTED)
    # Packages of an earlier run may have been superseded.
    for words in (("update",), ("autoclean",), install):
        subprocess.run([*command, *words], check=True)


if __name__ == "__main__":
    wanted = sys.argv[1]
    for known in RELEASES:
        if wanted == known:
            download(known, Path(sys.argv[2]))
            break
    else:
        sys.exit(f"{wanted!r} is no release; give one of {', '.join(get_args(Release))}")
