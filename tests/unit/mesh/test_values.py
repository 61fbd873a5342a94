# SPDX-License-Identifier: GPL-2.0-only
"""Single values, and the exit list's arithmetic against a brute-force account of it."""

from ipaddress import ip_network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.mesh.checks import acl
from ktcp_ops.mesh.model.mesh import ExitRule
from ktcp_ops.mesh.model.values import Network, PortRange, port_range, ports, prefix

RANGES = st.tuples(st.integers(1, 40), st.integers(0, 6)).map(lambda r: PortRange(r[0], sum(r)))

# A small world: the last four bits of an address, and ports 1 to 4.
PREFIXES = st.tuples(st.integers(0, 15), st.integers(28, 32)).map(
    lambda p: ip_network((f"10.0.0.{p[0] >> (32 - p[1]) << (32 - p[1])}", p[1]))
)
SMALL_RANGES = st.sampled_from([PortRange(a, b) for a in range(1, 5) for b in range(a, 5)])
RULES = st.builds(
    lambda allow, network, some: ExitRule(
        **{"allow" if allow else "deny": str(network), "ports": str(some)}
    ),
    st.booleans(),
    PREFIXES,
    SMALL_RANGES,
)


@given(st.lists(RANGES, min_size=1, max_size=8))
def test_merging_ports_keeps_every_port_and_no_other(ranges: list[PortRange]) -> None:
    merged = ports([str(some) for some in ranges])
    before = {port for some in ranges for port in range(some.first, some.last + 1)}
    after = [port for some in merged for port in range(some.first, some.last + 1)]
    assert sorted(before) == after
    assert all(a.last + 1 < b.first for a, b in pairwise(merged))


@given(st.lists(RULES, max_size=5), PREFIXES, SMALL_RANGES)
def test_a_destination_is_refused_just_when_one_of_its_targets_is(
    rules: list[ExitRule], network: Network, some: PortRange
) -> None:
    def allowed(address: int, port: int) -> bool:
        for rule in rules:
            low, high = int(rule.prefix.network_address), int(rule.prefix.broadcast_address)
            inside = low <= address <= high
            if inside and any(p.first <= port <= p.last for p in rule.ports or ()):
                return rule.action == "allow"
        return False

    every_target_allowed = all(
        allowed(address, port)
        for address in range(int(network.network_address), int(network.broadcast_address) + 1)
        for port in range(some.first, some.last + 1)
    )
    assert (acl.ExitList(rules).refusal(network, [some]) is None) == every_target_allowed


def test_a_rule_of_the_other_family_decides_nothing() -> None:
    rules = [ExitRule(deny="::/0"), ExitRule(allow="0.0.0.0/0")]
    assert acl.ExitList(rules).refusal(ip_network("10.0.0.0/8"), None) is None
    assert acl.ExitList(rules).refusal(ip_network("fd00::/8"), None) == acl.Refusal(0)


@pytest.mark.parametrize("text", ["80", " 80 ", 80])
def test_a_port_is_a_range_of_one(text: object) -> None:
    assert port_range(text) == PortRange(80, 80)
    assert str(port_range(text)) == "80"


@pytest.mark.parametrize("text", ["", "80-", "-80", "0", "65536", "90-80", "1-70000", True, None])
def test_what_is_no_port(text: object) -> None:
    with pytest.raises(ValueError, match="port"):
        port_range(text)


def test_a_bare_address_is_its_own_prefix() -> None:
    assert str(prefix("10.0.0.1")) == "10.0.0.1/32"
    assert str(prefix("FD77::1")) == "fd77::1/128"
    assert str(prefix("10.0.0.0/255.0.0.0")) == "10.0.0.0/8"
