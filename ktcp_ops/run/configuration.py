# SPDX-License-Identifier: GPL-2.0-only
"""The user's ``ansible.cfg``: settings in it that our own variables would override.

For Ansible, an environment variable wins over the file. So before we set one, we check whether
the user's file has the same setting.
"""

import configparser
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

SETTING = tuple[str, str]
"""A section and a key."""


def find() -> Path | None:
    """Find the file that Ansible would read, by its rules; None if there is none."""
    return next((path for path in candidates() if os.access(path, os.R_OK)), None)


def candidates() -> Iterator[Path]:
    """Name the places that Ansible looks at, the first one first."""
    named = os.environ.get("ANSIBLE_CONFIG")
    if named is not None:
        path = Path(named).expanduser()
        yield path / "ansible.cfg" if path.is_dir() else path
    # Ansible ignores a file in a directory that anybody may write to.
    if not Path.cwd().stat().st_mode & stat.S_IWOTH:
        yield Path.cwd() / "ansible.cfg"
    yield Path("~/.ansible.cfg").expanduser()
    yield Path("/etc/ansible/ansible.cfg")


def said(settings: Iterable[SETTING]) -> str | None:
    """Give the value of the first of these settings that the user's file has."""
    path = find()
    if path is None:
        return None
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, configparser.Error):
        return None  # Ansible itself reports what is wrong with it
    found = (parser.get(section, key, fallback=None) for section, key in settings)
    return next((value for value in found if value is not None), None)


def directories(setting: SETTING) -> list[str]:
    """Give the search path that the user's file has for a setting, its parts absolute."""
    path, value = find(), said([setting])
    if path is None or not value:
        return []
    parts = (part.strip().replace("{{CWD}}", str(Path.cwd())) for part in value.split(os.pathsep))
    places = (Path(os.path.expandvars(part)).expanduser() for part in parts if part)
    return [os.path.normpath(path.absolute().parent / place) for place in places]
