# SPDX-License-Identifier: GPL-2.0-only
"""KTCP configured on the relays of a topology: steering, peers, keys, routes, exits."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.kernel import module
from tests.kernel.namespace import Namespace, RefusedError
from tests.kernel.topology import FAMILIES, Family, Topology
from tests.kernel.wait import until

CLIENT_PORT = 5557
RELAY_PORT = 5565
MARK = 0x101
# The module adds this bit to a flow's mark when it takes the flow; only then is it redirected.
TAKEN = 0x80000000
KEY = "11" * 32
KEY_IDS = (1, 2, 7)  # all that any test uses: keys cannot be listed
OTHER_KEY = "22" * 32


def mark(family: Family) -> int:
    """The mark of a family's route."""
    return MARK + FAMILIES.index(family)


def steering(family: Family, *, marked: bool = True, gated: bool = True) -> str:
    """The rules that bring the client's flows to the client listener.

    Args:
        family: The family of the rules.
        marked: Flows get the mark of their route.
        gated: Only flows that the module takes are redirected, as on a real relay.
    """
    wanted = f"-d {family.prefix(3)} -p tcp"
    match = f"-m mark --mark {TAKEN:#x}/{TAKEN:#x}" if gated else wanted
    marks = f"-A KTCP {wanted} -j MARK --set-mark {mark(family):#x}\n" if marked else ""
    return (
        "*mangle\n:KTCP - [0:0]\n-A PREROUTING -i to-c -j KTCP\n"
        f"{marks}"
        "COMMIT\n*nat\n:KTCP - [0:0]\n-A PREROUTING -i to-c -p tcp -j KTCP\n"
        f"-A KTCP -p tcp {match} -j REDIRECT --to-ports {CLIENT_PORT}\nCOMMIT\n"
    ).replace("-A KTCP -p tcp -d", "-A KTCP -d")


# The improvements' settings: the paper's naive split, and all of them on.
MODES = {
    "plain": [
        *("early_syn off", "thread_pool off", "conn_pool off", "turbo off"),
        *("engine threads", "datapath copy", "reuse off"),
    ],
    "full": [
        *("early_syn on", "thread_pool on", "conn_pool on", "turbo on"),
        *("engine event", "datapath zerocopy", "reuse on"),
    ],
}
# And the other engines and datapaths, for tests of bytes and of how streams end.
BYTE_MODES = {
    **MODES,
    "threads": [*MODES["full"], "engine threads"],
    "copy": [*MODES["full"], "datapath copy"],
}

NO_STEERING = "*mangle\nCOMMIT\n*nat\nCOMMIT\n"


def steer(relay: Namespace, family: Family, rules: str) -> None:
    """Replace all rules of a family."""
    relay.run([f"{family.iptables}-restore"], stdin=rules)


@dataclass(frozen=True)
class Mesh:
    """Two relays that carry the client's flows to the server."""

    hosts: Topology

    @property
    def c(self) -> Namespace:
        """The client."""
        return self.hosts.c

    @property
    def rc(self) -> Namespace:
        """The relay at the client."""
        return self.hosts.rc

    @property
    def rs(self) -> Namespace:
        """The relay at the server."""
        return self.hosts.rs

    @property
    def s(self) -> Namespace:
        """The server."""
        return self.hosts.s

    @property
    def relays(self) -> tuple[Namespace, ...]:
        """Both relays."""
        return self.hosts.relays

    def configure(self) -> None:
        """Write the configuration that a rollout would write."""
        self.rc.write("keys", f"add 1 {KEY}")
        self.rs.write("keys", f"add 1 {KEY}")
        self.rs.write("listeners", f"add relay {RELAY_PORT}")
        # Tests take peers and targets down and need them back at once.
        self.rc.write("settings", "peer_hold_ms 0", "refused_hold_s 0")
        self.rc.write(
            "peers", *(f"add {f.at(f.rs, RELAY_PORT)} low 1 high 4 key 1" for f in FAMILIES)
        )
        self.rs.write("exits", *(f"allow {f.prefix(3)}" for f in FAMILIES))
        for family in FAMILIES:
            self.route(family)
        self.rc.write("listeners", f"add client {CLIENT_PORT}")

    def route(self, family: Family, way: str | None = None) -> None:
        """Give the family's mark this route, and replace any that it has."""
        lines = [line for line in self.rc.lines("routes") if f" {mark(family):#x} " in f"{line} "]
        removals = [f"del mark {mark(family):#x}"] if lines else []
        way = way or f"via {family.at(family.rs, RELAY_PORT)}"
        self.rc.write("routes", *removals, f"add mark {mark(family):#x} {way}")

    def steer(self) -> None:
        """Load the packet filter's rules on rc."""
        for family in FAMILIES:
            steer(self.rc, family, steering(family))

    @contextmanager
    def steered(self, family: Family, rules: str) -> Iterator[None]:
        """Use other rules within the block."""
        steer(self.rc, family, rules)
        try:
            yield
        finally:
            steer(self.rc, family, steering(family))

    def peer(self, endpoint: str) -> dict[str, str]:
        """A peer's state and pool, as rc reports them."""
        prefix = f"# {endpoint} "
        [line] = [row for row in self.rc.read("peers").splitlines() if row.startswith(prefix)]
        words = line.removeprefix(prefix).split()
        return dict(zip(words[::2], words[1::2], strict=True))

    def wait_peer(self, endpoint: str, state: str, bound: float = 20) -> None:
        """Wait until rc reports these values of a peer."""
        until(
            lambda: self.peer(endpoint)["state"] == state,
            f"{endpoint} is not {state}",
            bound=bound,
        )

    def splits(self) -> int:
        """The number of splits of both relays."""
        return sum(len(relay.splits()) for relay in self.relays)

    def wait_idle(self, bound: float = 30) -> None:
        """Wait until no split is left."""
        until(lambda: self.splits() == 0, "splits are left", bound=bound)


def clear(host: Namespace) -> None:
    """Make the relays like fresh namespaces, whatever a test did."""
    for file in ("listeners", "routes", "exits"):
        lines = host.lines(file)
        removals = [f"del {line}" if file == "exits" else removal(file, line) for line in lines]
        if removals:
            host.write(file, *removals)
    for key in KEY_IDS:
        with contextlib.suppress(RefusedError):
            host.write("keys", f"del {key}")
    peers = host.lines("peers")
    if peers:
        host.write("peers", *(removal("peers", line) for line in peers))
    host.write("drain", "off")


def removal(file: str, line: str) -> str:
    """The line that removes what `line`, as read from `file`, has added."""
    words = line.split()
    if file == "peers":
        return f"del {words[1]}"
    return " ".join(["del", *words[1:3]])


def restore(hosts: Topology, initial_settings: str) -> None:
    """Remove all configuration from the relays, and load the module if it is gone."""
    module.load()
    for relay in hosts.relays:
        clear(relay)
        relay.write("settings", *initial_settings.splitlines())


@contextmanager
def bad_line(made: Mesh) -> Iterator[None]:
    """Slow, lossy outer links, towards the client and towards the server."""
    ends = ((made.rc, "to-c"), (made.rs, "to-s"))
    for relay, device in ends:
        relay.run(f"tc qdisc replace dev {device} root netem limit 1000 loss 5% rate 2mbit".split())
    try:
        yield
    finally:
        for relay, device in ends:
            relay.run(["tc", "qdisc", "del", "dev", device, "root"])
