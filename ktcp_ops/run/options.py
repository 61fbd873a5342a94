# SPDX-License-Identifier: GPL-2.0-only
"""What a user wants of every run of Ansible, whatever the run does."""

import shlex
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """The user's options.

    Attributes:
        verbosity: how many ``-v`` the user gave.
        diff: whether to show how files change.
        forks: hosts at a time; None: as the user's configuration has it.
        variables: extra variables, each as ``ansible-playbook -e`` takes it.
        ask_become, ask_vault: whether passwords were asked for.
    """

    verbosity: int = 0
    diff: bool = False
    forks: int | None = None
    variables: tuple[str, ...] = ()
    ask_become: bool = False
    ask_vault: bool = False

    def command_line(self, *, check: bool) -> str | None:
        """Write the options of ``ansible-playbook``; None for none."""
        words = ["--check"] if check else []
        words += ["--diff"] if check or self.diff else []
        words += [f"--forks={self.forks}"] if self.forks else []
        # The first -v is ours: it shows what the log has anyway.
        words += [f"-{'v' * (self.verbosity - 1)}"] if self.verbosity > 1 else []
        words += [f"--extra-vars={text}" for text in self.variables]
        return shlex.join(words) or None
