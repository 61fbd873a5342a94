# SPDX-License-Identifier: GPL-2.0-only
"""Tells which hosts and tasks a playbook is about, as JSON.

``python -m ktcp_ops.run.surveyor`` takes the options of ``ansible-playbook``. It is a process
of its own since Ansible's API keeps its state in globals.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible import constants, context
from ansible.cli import CLI
from ansible.cli.playbook import PlaybookCLI
from ansible.errors import AnsibleError
from ansible.executor.playbook_executor import PlaybookExecutor
from ansible.plugins.loader import add_all_plugin_dirs


def survey(arguments: Sequence[str]) -> dict[str, Any]:
    """Give the hosts that a playbook is about, within its limit, and how many tasks it has.

    Raises:
        AnsibleError: when inventory or playbook cannot be read.
    """
    cli = PlaybookCLI(["ansible-playbook", "--list-hosts", *arguments])
    CLI.run(cli)  # reads the options
    (playbook,) = context.CLIARGS["args"]
    add_all_plugin_dirs(str(Path(playbook).resolve().parent))
    loader, inventory, variables = cli._play_prereqs()
    inventory.subset(context.CLIARGS["subset"])
    executor = PlaybookExecutor([playbook], inventory, variables, loader, {})
    plays = [play for found in executor.run() for play in found["plays"]]
    hosts = {host.name for play in plays for host in inventory.get_hosts(play.hosts)}
    tasks = sum(count(block) for play in plays for block in play.compile())
    return {"hosts": sorted(hosts), "tasks": tasks}


def count(block: Any) -> int:  # noqa: ANN401 - Ansible has no types
    """Count the tasks of a block, and of the blocks in it, that cause events."""
    return sum(
        count(each)
        if hasattr(each, "block")
        else not (each.action in constants._ACTION_META and each.implicit)
        for each in block.block
    )


def main() -> int:
    """Print what the playbook of the command line is about. Returns the exit code."""
    with contextlib.redirect_stdout(sys.stderr):
        try:
            found = survey(sys.argv[1:])
        except AnsibleError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
