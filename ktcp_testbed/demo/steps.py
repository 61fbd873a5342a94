# SPDX-License-Identifier: GPL-2.0-only
"""What each improvement gives: the mesh without any, then with one more at each step."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from ktcp_ops.errors import KtcpError
from ktcp_ops.model import Legs, split
from ktcp_testbed.demo.guests import Guests
from ktcp_testbed.demo.results import (
    Download,
    StepResult,
    StepTimes,
    Way,
    improvements_in,
    medians,
    times,
)

# The relay next to the client has the pool.
INGRESS = "rc"
# The time of a small file depends on distance, that of a larger one on windows.
FILES = ("10k", "1m")

POOL_S = 30.0
POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Step:
    """The improvements that are switched on; the step has the name of the newest."""

    name: str
    on: tuple[str, ...]

    def settings(self) -> dict[str, str]:
        """Each improvement, on or off, as `settings` has it."""
        return {setting: "on" if setting in self.on else "off" for setting in IMPROVEMENTS}


IMPROVEMENTS = ("thread_pool", "early_syn", "conn_pool", "turbo")
STEPS = (
    Step(name="naive split", on=()),
    Step(name="+ thread pool", on=IMPROVEMENTS[:1]),
    Step(name="+ early SYN", on=IMPROVEMENTS[:2]),
    Step(name="+ connection pool", on=IMPROVEMENTS[:3]),
    Step(name="+ Turbo-Start", on=IMPROVEMENTS),
)


def measure(
    guests: Guests,
    server: IPv4Address,
    *,
    relays: Sequence[str],
    runs: int,
    legs: Legs,
    begun: Callable[[Step], None],
    done: Callable[[Download], None],
) -> tuple[StepResult, ...]:
    """Download at each step; give the relays their own settings back at the end.

    Raises:
        KtcpError: A download failed, or a pool was not filled or emptied in time.
    """
    found = []
    with restored(guests, relays):
        for step in STEPS:
            begun(step)
            switch(guests, relays, step.settings())
            # Two runs are not counted: the first gets the ticket, the second the Fast Open cookie.
            guests.fetch(
                "client", server, runs=2, done=lambda _: None, files=FILES, ways=[Way.KTCP]
            )
            downloads = guests.fetch(
                "client", server, runs=runs, done=done, files=FILES, ways=[Way.KTCP]
            )
            found.append(result(step, downloads, legs))
    return tuple(found)


def result(step: Step, downloads: Sequence[Download], legs: Legs) -> StepResult:
    """The medians of a step for each size, and the model's figures."""
    improvements = improvements_in(step.settings())
    return StepResult(
        name=step.name,
        settings=step.settings(),
        sizes=tuple(
            StepTimes(
                size=size,
                ktcp=medians([each for each in downloads if each.size == size]),
                model=times(split(legs, size, improvements)),
            )
            for size in sorted({each.size for each in downloads})
        ),
    )


@contextmanager
def restored(guests: Guests, relays: Sequence[str]) -> Iterator[None]:
    """Give the relays the improvements back, after the body, that they have now."""
    before = {relay: guests.procfs(relay, "settings") for relay in relays}
    try:
        yield
    finally:
        for relay, settings in before.items():
            guests.write(relay, "settings", pairs_of(settings, IMPROVEMENTS))


def pairs_of(settings: dict[str, str], names: Sequence[str]) -> dict[str, str]:
    """Pick some settings by their names."""
    return {name: settings[name] for name in names if name in settings}


def switch(guests: Guests, relays: Sequence[str], settings: dict[str, str]) -> None:
    """Put settings in force, also for the connections that wait in the pool."""
    for relay in relays:
        guests.write(relay, "settings", {**settings, "conn_pool": "off"})
    wait_ready(guests, 0)
    if settings["conn_pool"] == "on":
        for relay in relays:
            guests.write(relay, "settings", {"conn_pool": "on"})
        wait_ready(guests, 1)


def wait_ready(guests: Guests, least: int) -> None:
    """Wait until the ingress has at least so many connections (0: none), and makes no more.

    Raises:
        KtcpError: That takes too long.
    """
    deadline = time.monotonic() + POOL_S
    while time.monotonic() < deadline:
        ready, connecting = guests.pool(INGRESS)
        if connecting == 0 and (ready >= least if least else ready == 0):
            return
        time.sleep(POLL_S)
    wanted = "is not filled" if least else "is not emptied"
    raise KtcpError(f"{INGRESS}: the connection pool {wanted} within {POOL_S:g} s")
