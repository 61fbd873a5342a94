# SPDX-License-Identifier: GPL-2.0-only
"""kmemleak, asked before and after the tests of a debug kernel.

python3 -m tests.kernel.leaks forget    what has leaked so far is no concern
python3 -m tests.kernel.leaks report    fails and prints what has leaked since
"""

import sys
import time
from pathlib import Path

from tests.kernel import module

KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
# An object is reported when two scans find no pointer to it and it is older
# than 5 s (mm/kmemleak.c), so that what is just being linked in is left alone.
SCANS = 2
AGE_S = 6


def scan() -> str:
    """The reports after enough scans for objects of any age."""
    for _ in range(SCANS):
        time.sleep(AGE_S)
        KMEMLEAK.write_text("scan", encoding="ascii")
    return KMEMLEAK.read_text(encoding="utf-8", errors="replace")


def main(command: str) -> int:
    """Run one of the two commands; the exit code."""
    if command == "forget":
        scan()
        KMEMLEAK.write_text("clear", encoding="ascii")
        return 0
    # While the module is there its functions have names in the traces.
    with_names = scan() if module.is_loaded() else ""
    module.unload()
    found = scan()
    sys.stdout.write(with_names or found)
    return 1 if found or with_names else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
