# SPDX-License-Identifier: GPL-2.0-only
"""``python -m ktcp_ops`` is the same program as the console script ``ktcp-ops``."""

from ktcp_ops.cli.main import main

if __name__ == "__main__":
    main()
