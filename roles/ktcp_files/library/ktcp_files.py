#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Write several files in one execution: far away, a task costs more than the bytes it sends."""

import os
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ktcp_files
short_description: Write texts to files of root
description:
  - Does for many files what M(ansible.builtin.copy) does for one, with O(files[].text) as its
    C(content). Each file is replaced as a whole or not at all.
  - No text may be secret; O(files[].text) is shown by C(--diff).
options:
  files:
    description: The files to write.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: The file's absolute path. Its directory has to exist.
        type: path
        required: true
      text:
        description: The file's whole content, in UTF-8.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0644"
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
"""

EXAMPLES = r"""
- name: Install the command and its service
  ktcp_files:
    files:
      - path: /usr/local/sbin/hello
        text: "{{ lookup('ansible.builtin.file', 'hello', rstrip=false) }}"
        mode: "0755"
      - path: /etc/systemd/system/hello.service
        text: "{{ lookup('ansible.builtin.template', 'hello.service.j2') }}"
"""

RETURN = r"""
written:
  description: Paths of files whose text or permissions changed, or would change in check mode.
  type: list
  elements: str
  returned: success
"""

FILE = {
    "path": {"type": "path", "required": True},
    "text": {"type": "str", "required": True},
    "mode": {"type": "str", "default": "0644"},
}


def held(path: Path) -> str | None:
    """The text of a file; None if there is no file."""
    if not path.exists():
        return None
    return path.read_bytes().decode(errors="surrogateescape")


def replace(module: AnsibleModule, path: Path, text: str) -> None:
    """Replace a file by a new one, in one step."""
    number, draft = tempfile.mkstemp(dir=module.tmpdir)
    with os.fdopen(number, "wb") as stream:
        stream.write(text.encode(errors="surrogateescape"))
    module.atomic_move(draft, str(path))


def owned(module: AnsibleModule, path: Path, mode: str) -> bool:
    """Give a file to root, with `mode`; True if that changes it, or if it does not exist."""
    if not path.exists():
        return True
    name = str(path)
    changed = module.set_owner_if_different(name, "root", changed=False)
    changed = module.set_group_if_different(name, "root", changed=changed)
    return bool(module.set_mode_if_different(name, mode, changed=changed))


def write(module: AnsibleModule, path: Path, text: str, mode: str) -> dict[str, str] | None:
    """Write a file if it differs. Returns the difference as --diff shows it, or None."""
    before = held(path)
    if before != text and not module.check_mode:
        replace(module, path, text)
    changed = owned(module, path, mode)
    if before == text and not changed:
        return None
    return {
        "before": before or "",
        "before_header": str(path),
        "after": text,
        "after_header": str(path),
    }


def main() -> None:
    """Run the module."""
    spec = {"type": "list", "elements": "dict", "required": True, "options": FILE}
    module = AnsibleModule(argument_spec={"files": spec}, supports_check_mode=True)
    files: list[dict[str, Any]] = module.params["files"]
    problems = [
        f"{file['path']}: {why}"
        for file in files
        for why in [problem(Path(file["path"]), dry=module.check_mode)]
        if why
    ]
    if problems:
        module.fail_json(msg="\n".join(problems))
    done = {
        file["path"]: write(module, Path(file["path"]), file["text"], file["mode"])
        for file in files
    }
    diffs = [diff for diff in done.values() if diff]
    module.exit_json(
        changed=bool(diffs),
        written=[path for path, diff in done.items() if diff],
        diff=diffs,
        # Otherwise Ansible would return all texts, for every host.
        invocation={"module_args": {"files": list(done)}},
    )


def problem(path: Path, *, dry: bool) -> str:
    """Why a file can't be written, empty if it can; checked before any file is written."""
    if not path.is_absolute():
        return "no absolute path"
    if path.is_dir():
        return "is a directory"
    if not path.parent.is_dir() and not dry:
        return f"there is no directory {path.parent}"
    return ""


if __name__ == "__main__":
    main()
