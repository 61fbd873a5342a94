# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: the topology below, KTCP on its relays, and the kernel's log of each test.

     c ---------------- rc ---------------- rs ---------------- s
      .2            .1    .1             .2    .1            .2
        10.99.1.0/24        10.99.2.0/24         10.99.3.0/24
     fd99:0:0:1::/64       fd99:0:0:2::/64      fd99:0:0:3::/64
    client          ingress relay       exit relay         server

c and s are ordinary hosts. rc and rs forward; rc marks what c sends to the
third network, KTCP on rc takes it and hands it to KTCP on rs, which connects
to s. Without KTCP the same packets are routed.
"""

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from tests.kernel import module
from tests.kernel.kernel_log import KernelLog, mark
from tests.kernel.mesh import BYTE_MODES, MODES, Mesh, restore
from tests.kernel.splat import splats
from tests.kernel.topology import FAMILIES, Family, Topology
from tests.kernel.topology import topology as make_topology
from tests.kernel.wait import seconds

TEST_BOUND_S = 240

# Only that kernel can be told to run out of memory.
collect_ignore = [] if os.environ.get("KTCP_TEST_CHECKER") == "kasan" else ["test_memory.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """How bytes are moved does not depend on the family: one is enough for the further modes."""
    items[:] = [item for item in items if not is_spare(item)]


def is_spare(item: pytest.Item) -> bool:
    """True for a test of a further mode with the second family."""
    spec = getattr(item, "callspec", None)
    chosen = spec.params if spec else {}
    return chosen.get("mode", "full") not in MODES and chosen.get("family") == FAMILIES[1]


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """No test hangs: SIGALRM raises in whatever call the main thread is in."""

    def expire(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise TimeoutError(f"the test did not end within {seconds(TEST_BOUND_S):g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(int(seconds(TEST_BOUND_S)))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _quiet_kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test during which the kernel complains has failed."""
    with KernelLog() as log:
        mark(f"ktcp-test: {request.node.name}")
        yield
        lines = log.news()
        found = splats(lines)
        assert not found, "the kernel complains:\n" + "\n".join(lines[-80:])


@pytest.fixture(params=FAMILIES, ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    """The test runs for IPv4 and for IPv6."""
    chosen = request.param
    assert isinstance(chosen, Family)
    return chosen


@pytest.fixture(scope="session")
def hosts() -> Iterator[Topology]:
    """The four hosts, the same ones for all tests that leave them in place.

    The packet filter's rules are there all the time: without KTCP they do nothing.
    """
    with make_topology() as made:
        Mesh(made).steer()
        yield made


@pytest.fixture(scope="session")
def initial_settings(hosts: Topology) -> str:
    """What `settings` holds before anybody has written to it."""
    module.load()
    return hosts.rc.read("settings")


@pytest.fixture
def relay(hosts: Topology, initial_settings: str) -> Iterator[Topology]:
    """Hosts with the module loaded and nothing configured, on which a test may configure."""
    module.load()
    yield hosts
    restore(hosts, initial_settings)


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> str:
    """A name of BYTE_MODES; files that want several parametrize it."""
    return str(getattr(request, "param", "full"))


@pytest.fixture
def mesh(hosts: Topology, initial_settings: str, mode: str) -> Iterator[Mesh]:
    """A mesh that works."""
    module.load()
    made = Mesh(hosts)
    for relay in made.relays:
        relay.write("settings", *BYTE_MODES[mode])
    made.configure()
    yield made
    try:
        if module.is_loaded():
            made.wait_idle()
    finally:
        restore(hosts, initial_settings)
