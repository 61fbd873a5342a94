# SPDX-License-Identifier: GPL-2.0-only
"""Everything printed by ``ktcp-ops``: data on stdout, progress and errors on stderr.

The only module that imports rich.
"""

from rich.console import Console

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def print_error(message: str) -> None:
    """Print a failure on stderr, one line a problem."""
    for line in message.splitlines() or [""]:
        err.print("error:", style="bold red", end=" ")
        err.print(line, markup=False)
