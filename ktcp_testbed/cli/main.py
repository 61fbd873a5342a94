# SPDX-License-Identifier: GPL-2.0-only
"""The program ``ktcp-ops`` as a checkout has it: with ``lab``, ``bench`` and ``mesh rehearse``."""

from ktcp_ops.cli import main as operator
from ktcp_testbed.cli import bench, lab, rehearse

app = operator.program({"lab": lab.app, "bench": bench.app}, {"rehearse": rehearse.command})


def run(arguments: list[str]) -> int:
    """Run the program with ``arguments`` (without its name); return its exit code."""
    return operator.run(arguments, app)


def main() -> None:
    """Entry point of ``python -m ktcp_testbed``."""
    operator.main(app)
