#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Save a relay's KTCP files and its module's name before a run, and restore the files.

The saved state is one JSON file that only root can read, since it contains keys. It belongs to one
run, and is from before that run first changed this host.
"""

import base64
import json
import platform
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ktcp_undo
short_description: Save a relay's KTCP files before a run, and restore them
description:
  - The files and the srcversion of the kernel module are saved in one file, which only root can
    read since it contains keys. Only the state before one run is kept.
options:
  action:
    description:
      - V(save) saves the state, unless the run has saved it before. That is no change of the relay.
      - V(look) tells what was saved, in short.
      - V(restore) makes the files what they were before the run.
    type: str
    choices: [save, look, restore]
    required: true
  run:
    description: The run's name.
    type: str
    required: true
  memory:
    description: Directory of the saved state. It is made, readable by root only.
    type: path
    default: /var/lib/ktcp
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    description: Names the files, but shows no content, since some have keys.
"""

EXAMPLES = r"""
- name: Save the relay's state
  ktcp_undo:
    action: save
    run: rollout-7

- name: Bring back the files
  ktcp_undo:
    action: restore
    run: rollout-7
"""

RETURN = r"""
steps:
  description: Files that were restored or removed, or would be in check mode.
  type: list
  elements: str
  returned: when O(action) is V(restore)
  sample: ["/etc/ktcp/peers.conf: restored"]
known:
  description: Whether the state before the run is saved.
  type: bool
  returned: when O(action) is V(look)
fresh:
  description: Whether the relay had no configuration of KTCP then.
  type: bool
  returned: when O(action) is V(look)
module:
  description: Srcversion of the module that was loaded then, else of the installed one.
  type: str
  returned: when O(action) is V(look)
"""

PATTERNS = (
    "etc/ktcp/**/*",
    "etc/modprobe.d/*ktcp*",
    "etc/modules-load.d/*ktcp*",
    "etc/sysctl.d/*ktcp*",
    "etc/systemd/system/ktcp*",
    "etc/systemd/system/*.wants/ktcp*",
    "usr/local/sbin/ktcp-*",
    "usr/src/ktcp.json",
)
LOADED = Path("sys/module/ktcp/srcversion")
ROOT = Path("/")


class UndoError(Exception):
    """What is wrong, in a sentence."""


@dataclass(frozen=True)
class File:
    """A file or a link; the content is base64."""

    mode: int = 0
    content: str = ""
    link: str = ""

    @classmethod
    def read(cls, path: Path) -> "File":
        """The file as it is now."""
        if path.is_symlink():
            return cls(link=str(path.readlink()))
        mode = stat.S_IMODE(path.stat().st_mode)
        return cls(mode=mode, content=base64.b64encode(path.read_bytes()).decode())

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.ktcp-undo")
        draft.unlink(missing_ok=True)
        if self.link:
            draft.symlink_to(self.link)
        else:
            draft.touch(mode=0o600)
            draft.write_bytes(base64.b64decode(self.content))
            draft.chmod(self.mode)
        draft.replace(path)


@dataclass(frozen=True)
class Host:
    """A relay's file system, and where states are saved."""

    root: Path
    memory: Path

    def present(self) -> dict[str, File]:
        """All files of KTCP that exist."""
        paths = {path for pattern in PATTERNS for path in self.root.glob(pattern)}
        return {
            str(path.relative_to(self.root)): File.read(path)
            for path in sorted(paths)
            if path.is_symlink() or path.is_file()
        }

    def module(self) -> str:
        """Srcversion of the loaded module, else of the one to load; empty for neither."""
        loaded = self.root / LOADED
        if loaded.exists():
            return loaded.read_text(encoding="ascii").strip()
        if not shutil.which("modinfo"):
            return ""
        command = ["modinfo", "-k", platform.release(), "-F", "srcversion", "ktcp"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    def place(self, run: str) -> Path:
        """Where the state from before a run is saved."""
        if not run or run.startswith(".") or "/" in run:
            raise UndoError(f"{run}: not the name of a run")
        return self.memory / f"before-{run}.json"


def save(host: Host, run: str) -> None:
    """Save the present state, if this run has not done so before."""
    place = host.place(run)
    if place.exists():
        return
    host.memory.mkdir(mode=0o700, parents=True, exist_ok=True)
    past = {"module": host.module(), "files": {n: asdict(f) for n, f in host.present().items()}}
    File(0o600, base64.b64encode(json.dumps(past).encode()).decode()).write(place)
    for other in host.memory.glob("before-*.json"):
        if other != place:
            other.unlink()


def is_configured_by(name: str) -> bool:
    """Whether only a relay has such a file; other programs' files may begin with the same name."""
    return name == "usr/src/ktcp.json" or name.startswith("etc/ktcp/")


def look(host: Host, run: str) -> dict[str, Any]:
    """The saved state, in short."""
    place = host.place(run)
    past = json.loads(place.read_text(encoding="utf-8")) if place.exists() else None
    return {
        "known": past is not None,
        "fresh": past is not None and not any(map(is_configured_by, past["files"])),
        "module": past["module"] if past else "",
    }


def differences(host: Host, run: str) -> Iterator[tuple[str, File | None]]:
    """Files that are not as they were saved, each with what was saved, None if there was none."""
    past = json.loads(host.place(run).read_text(encoding="utf-8"))
    wanted = {name: File(**file) for name, file in past["files"].items()}
    present = host.present()
    yield from ((name, None) for name in present if name not in wanted)
    yield from ((name, file) for name, file in wanted.items() if present.get(name) != file)


def restore(host: Host, run: str, *, dry: bool) -> dict[str, Any]:
    """Restore the saved state, or only tell what differs. Returns the answer to Ansible."""
    steps = []
    for name, file in list(differences(host, run)):
        if not dry and file is None:
            (host.root / name).unlink()
        elif not dry and file is not None:
            file.write(host.root / name)
        steps.append(f"/{name}: {'restored' if file else 'removed'}")
    lines = "".join(f"{step}\n" for step in steps)
    return {"changed": bool(steps), "steps": steps, "diff": {"prepared": lines}}


def main() -> None:
    """Run the module."""
    spec = {
        "action": {"type": "str", "choices": ["save", "look", "restore"], "required": True},
        "run": {"type": "str", "required": True},
        "memory": {"type": "path", "default": "/var/lib/ktcp"},
    }
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    action, run = module.params["action"], module.params["run"]
    host = Host(ROOT, Path(module.params["memory"]))
    answer: dict[str, Any] = {"changed": False}
    try:
        if action == "restore":
            answer = restore(host, run, dry=module.check_mode)
        elif action == "look":
            answer |= look(host, run)
        elif not module.check_mode:
            save(host, run)
    except (UndoError, OSError, ValueError, KeyError, TypeError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(**answer)


if __name__ == "__main__":
    main()
