# SPDX-License-Identifier: GPL-2.0-only
"""``python -m ktcp_testbed``: the program ``ktcp-ops``, with the commands of the test bed."""

from ktcp_testbed.cli.main import main

if __name__ == "__main__":
    main()
