#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Run a program that brings the host into a state, or says in what the host differs from it."""

import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: ktcp_program
short_description: Run a program that brings the host into a state
description:
  - For programs of ours that run at boot, too, and so can't be modules themselves. Each one has a
    command that changes what differs, and one that only says what differs.
  - Both print a line for each difference, and nothing if there is none. They exit with 0, or with 6
    if something differs.
options:
  apply:
    description: The command that changes what differs, as a list of words.
    type: list
    elements: str
    required: true
  check:
    description: The command that only says what differs. It runs instead in check mode.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
    description: Shows the lines that the command printed.
"""

EXAMPLES = r"""
- name: Apply the configuration
  ktcp_program:
    apply: [/usr/local/sbin/ktcp-apply, --restore]
    check: [/usr/local/sbin/ktcp-apply, --check]
"""

RETURN = r"""
lines:
  description: What changed, or would change in check mode.
  type: list
  elements: str
  returned: success
  sample: ["routes: add mark 0x101 via 192.0.2.7:5565"]
"""

DRIFT = 6


def main() -> None:
    """Run the module."""
    command = {"type": "list", "elements": "str", "required": True}
    spec = {"apply": command, "check": command}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    words: list[str] = module.params["check" if module.check_mode else "apply"]
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        module.fail_json(msg=f"{words[0]}: {error.strerror}")
    lines = done.stdout.splitlines()
    if done.returncode not in {0, DRIFT}:
        said = done.stderr.strip() or done.stdout.strip() or "no reason given"
        module.fail_json(msg=said, rc=done.returncode, lines=lines, changed=bool(lines))
    module.exit_json(changed=bool(lines), lines=lines, diff={"prepared": done.stdout})


if __name__ == "__main__":
    main()
