# SPDX-License-Identifier: GPL-2.0-only
"""After a teardown, the host is as it was before the rollout."""

from collections.abc import Callable
from pathlib import Path

from testinfra.host import Host

SNAPSHOT = Path(__file__).parents[2] / "snapshot.sh"


def test_the_host_is_as_it_was(guest: Callable[[str], Host]) -> None:
    relay = guest("relay")
    taken = relay.run("sh -c %s >/var/tmp/after", SNAPSHOT.read_text())
    assert taken.rc == 0, taken.stderr
    assert relay.check_output("cat /var/tmp/before")
    difference = relay.run("diff /var/tmp/before /var/tmp/after")
    assert (difference.rc, difference.stdout) == (0, "")
