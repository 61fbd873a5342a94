# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: the topology below, KTCP on its relays, and a check of the kernel's log.

     c ---------------- rc ---------------- rs ---------------- s
      .2            .1    .1             .2    .1            .2
        10.99.1.0/24        10.99.2.0/24         10.99.3.0/24
     fd99:0:0:1::/64       fd99:0:0:2::/64      fd99:0:0:3::/64
    client          ingress relay       exit relay         server

c and s are ordinary hosts. rc and rs forward. rc marks c's flows to the third network, KTCP on rc
takes them and hands them to KTCP on rs, which connects to s. Without KTCP the same packets are
routed.
"""

import math
import os
import signal
from collections.abc import Iterator, Mapping
from types import FrameType

import pytest

from tests.kernel import module
from tests.kernel.kernel_log import KernelLog, mark
from tests.kernel.mesh import BYTE_MODES, MODES, Mesh, restore
from tests.kernel.splat import splats
from tests.kernel.topology import FAMILIES, Family, Topology
from tests.kernel.topology import topology as make_topology
from tests.kernel.wait import FEW_INPUTS, INPUTS, ROUNDS

# Longer for checkers and long runs, which have more to do than a plain run.
TEST_BOUND_S = 240 * max(ROUNDS, INPUTS / FEW_INPUTS)

CHECKER = os.environ.get("KTCP_TEST_CHECKER")
# Only the debug kernel can inject faults, and only stock kernels have tracepoints.
collect_ignore = ["test_trace.py"] if CHECKER else []
collect_ignore += [] if CHECKER == "kasan" else ["test_memory.py"]

# The modes that run with both families. A checker finds its faults with one mode.
BOTH_FAMILIES = {"full"} if CHECKER else set(MODES)
FEW_BYTES = 4 << 20
# Tests of code that depends on the family. A checker runs only these with both.
ADDRESSED = {
    "test_bytes",
    "test_client_address",
    "test_early_syn",
    "test_procfs",
    "test_refusal",
    "test_tproxy",
    "test_untracked",
}
# The only family to test, if one is named: another kernel's run tests the other.
ONLY_FAMILY = os.environ.get("KTCP_TEST_FAMILY")
# The share of the tests to run, as N/M, if several guests divide them.
SHARE = os.environ.get("KTCP_TEST_SHARE", "1/1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moving bytes does not depend on the family, so most tests need only one."""
    wanted = [
        item
        for item in items
        if is_wanted(parameters(item)) and not is_spare(item.path.stem, parameters(item))
    ]
    items[:] = wanted[share_of(SHARE)]


def share_of(words: str) -> slice:
    """Every Mth test from the Nth on, for N/M: neighbouring tests take about equally long."""
    number, count = (int(word) for word in words.split("/"))
    return slice(number - 1, None, count)


def parameters(item: pytest.Item) -> dict[str, object]:
    """The parameters of a test."""
    spec = getattr(item, "callspec", None)
    return spec.params if spec else {}


def is_wanted(chosen: Mapping[str, object]) -> bool:
    """True for a test without a family, or with the chosen one."""
    return not ONLY_FAMILY or str(chosen.get("family", ONLY_FAMILY)) == ONLY_FAMILY


def is_spare(file: str, chosen: Mapping[str, object]) -> bool:
    """True for a test with the second family that this run can do without."""
    size = chosen.get("size", 0)
    many = isinstance(size, int) and size > FEW_BYTES
    further = chosen.get("mode", "full") not in BOTH_FAMILIES
    same = bool(CHECKER) and file not in ADDRESSED
    return chosen.get("family") == FAMILIES[1] and (many or further or same)


@pytest.fixture(autouse=True)
def _bounded() -> Iterator[None]:
    """No test hangs: SIGALRM raises in whatever call the main thread is in."""

    def expire(signum: int, frame: FrameType | None) -> None:
        del signum, frame
        raise TimeoutError(f"the test did not end within {TEST_BOUND_S:g} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(math.ceil(TEST_BOUND_S))
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _quiet_kernel(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test if the kernel reported a fault meanwhile."""
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

    The packet filter's rules are always loaded: without KTCP they do nothing.
    """
    with make_topology() as made:
        Mesh(made).steer()
        yield made


@pytest.fixture(scope="session")
def initial_settings(hosts: Topology) -> str:
    """The content of `settings` before anybody has written to it."""
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
