# SPDX-License-Identifier: GPL-2.0-only
"""The module on the relays: loaded while it is used, and configured as by a rollout."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktcp_testbed.bench.guest import server
from ktcp_testbed.bench.guest.namespace import CommandError, Namespace, run
from ktcp_testbed.bench.guest.network import Network, endpoint

MODULE = Path("/run/bench/ktcp.ko")
CLIENT_PORT = 5557
RELAY_PORT = 5565
MARK = 0x101
# Nobody else can reach these relays.
KEY = "07" * 32
POOL = {"low": 16, "high": 64}
READY_S = 60.0
CONNTRACK_MAX = Path("/proc/sys/net/netfilter/nf_conntrack_max")

# In the paper's order: each row has one more switched on.
IMPROVEMENTS = ("thread_pool", "early_syn", "conn_pool", "turbo")


def prepare() -> None:
    """Load what the module needs."""
    run(["modprobe", "nf_conntrack"])
    # For all namespaces, as ktcp_tunables sets it. With 1 GiB the default is full at 4,096 flows.
    CONNTRACK_MAX.write_text("262144\n", encoding="ascii")


@contextmanager
def loaded() -> Iterator[None]:
    """Load the module for a while.

    Its hooks stay as long as it is loaded, and would slow the next way down.
    """
    run(["insmod", str(MODULE)])
    try:
        yield
    finally:
        run(["rmmod", "ktcp"])


def write(relay: Namespace, file: str, *lines: str) -> None:
    """Write lines to a file of /proc/net/ktcp.

    Raises:
        CommandError: They were refused; the message is the module's reason.
    """
    try:
        relay.run(["sh", "-c", f"cat >/proc/net/ktcp/{file}"], stdin="\n".join(lines) + "\n")
    except CommandError as error:
        reason = relay.run(["cat", "/proc/net/ktcp/last_error"]).strip()
        raise CommandError(f"{relay.name}: the module refused: {reason}") from error


def read(relay: Namespace, file: str) -> list[str]:
    """The lines of a file of /proc/net/ktcp."""
    return relay.run(["cat", f"/proc/net/ktcp/{file}"]).splitlines()


def stat(relay: Namespace, name: str) -> int:
    """A counter of a relay."""
    return next(
        int(line.split()[1]) for line in read(relay, "stats") if line.startswith(name + " ")
    )


@contextmanager
def split(net: Network, step: int, more: dict[str, str] | None = None) -> Iterator[tuple[str, int]]:
    """Steer the client's flows into the module, with the first ``step`` improvements on.

    ``more`` are settings to use in place of the job's.
    """
    settings = {name: "on" if number < step else "off" for number, name in enumerate(IMPROVEMENTS)}
    # Not the paper's; the last row has all there is.
    settings["reuse"] = "on" if step == len(IMPROVEMENTS) else "off"
    settings |= net.job.settings if more is None else more
    with loaded(), configured(net, settings):
        if step > 2:
            await_pool(net)
        before = stat(net.relays[0], "splits_opened_total")
        yield net.server_address, server.PORT
        if stat(net.relays[0], "splits_opened_total") == before:
            raise CommandError("the relay has split nothing: what was measured was routed")


@contextmanager
def configured(net: Network, settings: dict[str, str]) -> Iterator[None]:
    """Configure the relays to split the client's flows while the body runs."""
    configure(net, settings)
    try:
        yield
    finally:
        clear(net)


def configure(net: Network, settings: dict[str, str]) -> None:
    """Write what a rollout would write."""
    prefix = net.server_address + ("/32" if net.job.family == "ipv4" else "/128")
    for relay in net.relays:
        write(relay, "settings", *ordered(settings))
        write(relay, "keys", f"add 1 {KEY}")
    write(net.relays[-1], "exits", f"allow {prefix}")
    for relay in net.relays[1:]:
        write(relay, "listeners", f"add relay {RELAY_PORT}")
    nexts = [endpoint(net.entry(number), RELAY_PORT) for number in range(1, len(net.relays))]
    pool = f"low {POOL['low']} high {POOL['high']} key 1"
    for relay, following in zip(net.relays, nexts, strict=False):
        write(relay, "peers", f"add {following} {pool}")
    first = net.relays[0]
    write(
        first, "routes", f"add mark {MARK:#x} " + (f"via {','.join(nexts)}" if nexts else "direct")
    )
    write(first, "listeners", f"add client {CLIENT_PORT} untracked")
    steer(net, add=True)


def ordered(settings: dict[str, str]) -> list[str]:
    """The settings as lines; early SYN needs the thread pool, so it is switched on last."""
    lines = [f"{name} {value}" for name, value in settings.items()]
    return sorted(lines, key=lambda line: line.startswith("early_syn on"))


def steer(net: Network, *, add: bool) -> None:
    """Add or remove the packet filter's rule on the first relay."""
    iptables = "iptables" if net.job.family == "ipv4" else "ip6tables"
    verb = "-A" if add else "-D"
    wanted = ["-d", net.server_address, "-p", "tcp"]
    mark = ["-j", "MARK", "--set-mark", str(MARK)]
    net.relays[0].run([iptables, "-t", "raw", verb, "PREROUTING", *wanted, *mark])


def await_pool(net: Network) -> None:
    """Wait until every relay's pool is full."""
    deadline = time.monotonic() + READY_S
    for relay in net.relays[:-1]:
        while ready(relay) < POOL["low"]:
            if time.monotonic() > deadline:
                raise CommandError(f"{relay.name}: the pool was not filled in {READY_S:.0f} s")
            time.sleep(0.25)
    time.sleep(1)


def ready(relay: Namespace) -> int:
    """How many connections wait in a relay's pool."""
    for line in read(relay, "peers"):
        words = line.split()
        if line.startswith("#") and "ready" in words:
            return int(words[words.index("ready") + 1])
    return 0


def clear(net: Network) -> None:
    """Remove the configuration, so that the next way finds plain routers."""
    steer(net, add=False)
    for relay in net.relays:
        for file in ("listeners", "routes", "exits", "peers"):
            lines = [line for line in read(relay, file) if line and not line.startswith("#")]
            if lines:
                write(relay, file, *(removal(file, line) for line in lines))
        write(relay, "keys", "del 1")


def removal(file: str, line: str) -> str:
    """The command that removes what ``line`` shows."""
    words = line.removeprefix("add ").split()
    if file == "exits":
        return "del " + " ".join(words)
    count = {"listeners": 2, "routes": 2, "peers": 1}[file]
    return "del " + " ".join(words[:count])
