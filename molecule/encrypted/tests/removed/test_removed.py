# SPDX-License-Identifier: GPL-2.0-only
"""Hosts after a teardown: no interface, no route, no file, no key."""

from collections.abc import Callable

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("name", ["client", "rc", "rs"])
def test_nothing_of_the_tunnel_is_left(guest: Callable[[str], Host], name: str) -> None:
    host = guest(name)
    assert not host.interface("ktcp-wg").exists
    for family in ("4", "6"):
        assert host.check_output(f"ip -{family} route show proto 107") == ""
    left = host.check_output("find /etc /usr/local /run -name 'ktcp*' ! -name 'ktcp-lab*'")
    assert left == ""
    assert "ktcp-wireguard" not in host.check_output("systemctl list-unit-files --no-legend")
