# SPDX-License-Identifier: GPL-2.0-only
"""The ways from the client to the server: routed, split by KTCP, split by rivals.

A way is a context manager that sets itself up, yields the address and port that the
client connects to, and leaves nothing behind. Rivals are configured as their own
documentation suggests for plain TCP forwarding.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from ktcp_testbed.bench.guest import ktcp, server
from ktcp_testbed.bench.guest.namespace import Namespace, run
from ktcp_testbed.bench.guest.network import Network, endpoint, parted

# The port where relays in user space, and the translated path, accept connections.
PORT = 9000
SOCKMAP = Path("/run/bench/sockmap")
ENVOY = Path("/run/bench/envoy")
END_S = 20.0

Place = tuple[str, int]
Way = Callable[[Network], AbstractContextManager[Place]]


@contextmanager
def end_to_end(net: Network) -> Iterator[Place]:
    """The path that passes by the relays."""
    yield net.direct_address, server.PORT


@contextmanager
def routed(net: Network) -> Iterator[Place]:
    """Through the relays as plain routers."""
    yield net.server_address, server.PORT


@contextmanager
def translated(net: Network) -> Iterator[Place]:
    """Each relay passes the flow on with DNAT, and MASQUERADE hides its source."""
    iptables = "iptables" if net.job.family == "ipv4" else "ip6tables"
    masquerade = ["POSTROUTING", "-p", "tcp", "-j", "MASQUERADE"]
    with ExitStack() as stack:
        for relay, target in hops(net):
            rule = ["PREROUTING", "-p", "tcp", "--dport", str(PORT)]
            rule += ["-j", "DNAT", "--to-destination", target]
            for each in (rule, masquerade):
                relay.run([iptables, "-t", "nat", "-A", *each])
            stack.callback(relay.run, [iptables, "-t", "nat", "-F"])
        yield net.entry(0), PORT


def hops(net: Network) -> list[tuple[Namespace, str]]:
    """Each relay and where it passes connections on to, as ADDRESS:PORT."""
    targets = [endpoint(net.entry(number), PORT) for number in range(1, len(net.relays))]
    targets.append(endpoint(net.server_address, server.PORT))
    return list(zip(net.relays, targets, strict=True))


@contextmanager
def programs(net: Network, command: Callable[[Namespace, str], Sequence[str]]) -> Iterator[Place]:
    """A program on each relay that accepts connections at PORT."""
    started = []
    try:
        for relay, target in hops(net):
            started.append(relay.start(command(relay, target)))
            server.await_port(relay, PORT)
        yield net.entry(0), PORT
    finally:
        end(started)


def end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """End programs and their children; each has a process group of its own."""
    for process in started:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, number)
                process.wait(END_S)


HAPROXY = """
global
    nbthread 1
    maxconn 60000
defaults
    mode tcp
    timeout connect 30s
    timeout client 1h
    timeout server 1h
{options}
listen relay
    bind {bind} backlog 4096
    server next {target}
"""
SPLICE = "    option splice-auto\n    option splice-request\n    option splice-response"


def haproxy(*, splice: bool) -> Way:
    """HAProxy in TCP mode, copying or with splice(2)."""

    def way(net: Network) -> AbstractContextManager[Place]:
        def command(relay: Namespace, target: str) -> Sequence[str]:
            options = SPLICE if splice else ""
            bind = f":::{PORT} v4v6"
            text = HAPROXY.format(options=options, bind=bind, target=target)
            return ["haproxy", "-db", "-f", configuration(relay, "haproxy.cfg", text)]

        return programs(net, command)

    return way


NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
worker_processes 1;
pid {pid};
error_log {pid}.err;
events {{ worker_connections 60000; }}
stream {{
    server {{
        listen [::]:{port} ipv6only=off backlog=4096;
        proxy_pass {target};
        tcp_nodelay on;
    }}
}}
"""


def nginx_stream(net: Network) -> AbstractContextManager[Place]:
    """The stream module of nginx, with its buffers of 16 KiB."""

    def command(relay: Namespace, target: str) -> Sequence[str]:
        text = NGINX.format(pid=f"/run/{relay.name}-stream.pid", port=PORT, target=target)
        path = configuration(relay, "nginx.conf", text)
        return ["nginx", "-c", path, "-g", "daemon off;"]

    return programs(net, command)


ENVOY_LIMIT = 20_000


def envoy(net: Network) -> AbstractContextManager[Place]:
    """Envoy's TCP proxy with one worker; TCP_NODELAY is its own default."""

    def command(relay: Namespace, target: str) -> Sequence[str]:
        path = configuration(relay, "envoy.json", json.dumps(envoy_configuration(target)))
        options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
        return [str(ENVOY), "-c", path, *options]

    return programs(net, command)


def envoy_configuration(target: str) -> dict[str, object]:
    """A listener, and the cluster that its connections go to."""
    proxy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "relay",
        "cluster": "next",
    }
    listener = {
        "address": socket_address("::", PORT, ipv4_compat=True),
        "tcp_backlog_size": 4096,
        "filter_chains": [{"filters": [{"name": "tcp_proxy", "typed_config": proxy}]}],
    }
    next_relay = {"endpoint": {"address": socket_address(*parted(target))}}
    cluster = {
        "name": "next",
        "connect_timeout": "30s",
        "circuit_breakers": {
            "thresholds": [{"max_connections": ENVOY_LIMIT, "max_pending_requests": ENVOY_LIMIT}]
        },
        "load_assignment": {
            "cluster_name": "next",
            "endpoints": [{"lb_endpoints": [next_relay]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def socket_address(host: str, port: int, **more: object) -> dict[str, object]:
    """An address as Envoy writes it."""
    return {"socket_address": {"address": host, "port_value": port, **more}}


def socat(net: Network) -> AbstractContextManager[Place]:
    """Socat, which forks for each connection."""

    def command(_: Namespace, target: str) -> Sequence[str]:
        take = f"TCP6-LISTEN:{PORT},ipv6only=0,fork,reuseaddr,backlog=4096,nodelay"
        return ["socat", take, f"TCP:{target},nodelay"]

    return programs(net, command)


def sockmap(net: Network) -> AbstractContextManager[Place]:
    """Sockets joined by eBPF, with a program that was compiled for this guest."""

    def command(_: Namespace, target: str) -> Sequence[str]:
        host, port = parted(target)
        return [str(SOCKMAP), str(PORT), host, str(port)]

    return programs(net, command)


SSHD = """
Port 22
HostKey /run/ssh/host
PidFile none
AuthorizedKeysFile /run/ssh/user.pub
StrictModes no
UsePAM no
"""


def ssh_options() -> list[str]:
    """The options of a tunnel that fails instead of asking."""
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes"]
    options += ["ExitOnForwardFailure=yes", "LogLevel=ERROR"]
    return ["-F", "none", "-i", "/run/ssh/user", *(word for o in options for word in ("-o", o))]


def prepare_ssh() -> None:
    """Make keys and the server's configuration, once."""
    place = Path("/run/ssh")
    if place.exists():
        return
    place.mkdir(mode=0o700)
    for name in ("host", "user"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place / name)])
    (place / "sshd_config").write_text(SSHD, encoding="utf-8")
    Path("/run/sshd").mkdir(exist_ok=True)


@contextmanager
def ssh_forward(net: Network) -> Iterator[Place]:
    """``ssh -L`` from each relay to the next one; the last one's sshd connects to the server.

    The tunnels are up when this yields: the time to set them up is not counted.
    """
    prepare_ssh()
    started = []
    try:
        for relay in net.relays[1:]:
            # ssh's default configuration, except for the place of its keys.
            started.append(
                relay.start(["/usr/sbin/sshd", "-D", "-e", "-f", "/run/ssh/sshd_config"])
            )
            server.await_port(relay, 22)
        last = endpoint(net.server_address, server.PORT)
        tunnels = len(net.relays) - 1
        for number in reversed(range(tunnels)):
            onward = last if number == tunnels - 1 else f"localhost:{PORT}"
            forward = f"*:{PORT}:{onward}"
            goal = net.entry(number + 1)
            relay = net.relays[number]
            started.append(relay.start(["ssh", *ssh_options(), "-N", "-L", forward, goal]))
            server.await_port(relay, PORT)
        yield net.entry(0), PORT
    finally:
        end(started)


def configuration(relay: Namespace, name: str, text: str) -> str:
    """Write a program's configuration; return its path."""
    path = Path(f"/run/{relay.name}-{name}")
    path.write_text(text, encoding="utf-8")
    return str(path)


def split(step: int) -> Way:
    """KTCP with the first ``step`` improvements switched on."""

    def way(net: Network) -> AbstractContextManager[Place]:
        return ktcp.split(net, step)

    return way


WAYS: dict[str, Way] = {
    "e2e": end_to_end,
    "routed": routed,
    "nosplit": translated,
    "ssh-fresh": ssh_forward,
    "ssh-warm": ssh_forward,
    "ktcp-basic": split(0),
    "ktcp-tp": split(1),
    "ktcp-tp-es": split(2),
    "ktcp-tp-es-cp": split(3),
    "ktcp": split(4),
    "haproxy": haproxy(splice=False),
    "haproxy-splice": haproxy(splice=True),
    "nginx": nginx_stream,
    "envoy": envoy,
    "socat": socat,
    "sockmap": sockmap,
}

# Ways that are set up again for each download. ssh's key exchange takes seconds of the host's time.
FRESH = frozenset({"ssh-fresh"})
