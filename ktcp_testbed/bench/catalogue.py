# SPDX-License-Identifier: GPL-2.0-only
"""The ways that can be measured: their names, what they are, and what theory predicts."""

from dataclasses import dataclass

from ktcp_ops.model import LINUX, Estimate, Improvements, Legs, Tcp, routed, split

NAIVE = Improvements()
# The bytes of a full segment as netem counts them: the frame without its checksum.
FRAME_BYTES = 1514


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A way from the client to the server, as readers see it."""

    label: str
    text: str
    """What was configured, for readers who judge the comparison."""
    improvements: Improvements | None = None
    """The improvements of a split; None for a path that is not split."""
    paper: bool = False
    """Whether the paper has it, too."""


def ktcp(label: str, text: str, **improvements: bool) -> Entry:
    """A way through KTCP."""
    return Entry(label=label, text=text, improvements=Improvements(**improvements), paper=True)


def rival(label: str, text: str) -> Entry:
    """A way through relays in user space, which split naively."""
    return Entry(label=label, text=text, improvements=NAIVE)


CATALOGUE = {
    "e2e": Entry(
        label="e2e", text="end to end, on a path of its own that passes by the relays", paper=True
    ),
    "routed": Entry(label="routed", text="through the relays as plain routers"),
    "nosplit": Entry(
        label="Cloud NoSplit",
        text="through the relays, each passing the flow on by iptables DNAT and MASQUERADE",
        paper=True,
    ),
    "ssh-fresh": Entry(
        label="Baseline, fresh ssh",
        text="ssh -N -L from relay to relay, a new tunnel for each download; the time of its "
        "own set-up is not counted. A packet of ssh can be used only when all its 32 KiB "
        "have come, which takes a cold window two round trips",
        improvements=NAIVE,
        paper=True,
    ),
    "ssh-warm": Entry(
        label="Baseline, warm ssh",
        text="ssh -N -L from relay to relay, one tunnel for all downloads of a size, so that "
        "its windows are open from the second one on",
        improvements=NAIVE,
        paper=True,
    ),
    "ktcp-basic": ktcp("KTCP basic", "thread_pool, early_syn, conn_pool and turbo off"),
    "ktcp-tp": ktcp("KTCP +TP", "thread_pool on"),
    "ktcp-tp-es": ktcp("KTCP +TP+ES", "thread_pool and early_syn on", early_syn=True),
    "ktcp-tp-es-cp": ktcp(
        "KTCP +TP+ES+CP",
        "thread_pool, early_syn and conn_pool on",
        early_syn=True,
        conn_pool=True,
    ),
    "ktcp": ktcp(
        "KTCP",
        "all four improvements on: the module's defaults",
        early_syn=True,
        conn_pool=True,
        turbo=True,
    ),
    "haproxy": rival("HAProxy", "mode tcp, nbthread 1, backlog 4096, copying"),
    "haproxy-splice": rival(
        "HAProxy splice", "mode tcp, nbthread 1, backlog 4096, splice-auto, -request, -response"
    ),
    "nginx": rival(
        "nginx stream", "one worker, backlog 4096, proxy_pass, tcp_nodelay, buffers of 16 KiB"
    ),
    "envoy": rival(
        "Envoy", "tcp_proxy, --concurrency 1, tcp_backlog_size 4096, limits of connections raised"
    ),
    "socat": rival("socat", "TCP-LISTEN,fork,backlog=4096,nodelay to TCP,nodelay"),
    "sockmap": rival(
        "eBPF sockmap",
        "a program of this project: one thread, backlog 4096, TCP_NODELAY; bytes are redirected by "
        "an eBPF program (sk_skb stream verdict, no parser)",
    ),
}

# What is measured by default: the paper's rows, then the rivals.
WAYS = tuple(name for name in CATALOGUE if name != "routed")
COSTS = (
    "routed",
    "ktcp",
    "haproxy",
    "haproxy-splice",
    "nginx",
    "envoy",
    "socat",
    "sockmap",
    "ssh-warm",
)


def label(way: str) -> str:
    """The name of a way for readers."""
    return CATALOGUE[way].label


def links(bandwidth_mbit: float) -> Tcp:
    """Links as netem makes them: headers of Ethernet, IP and TCP take their share."""
    payload = bandwidth_mbit * 1e6 / 8 * LINUX.segment_bytes / FRAME_BYTES
    return Tcp(bandwidth=payload or None)


def theory(
    way: str,
    size: int,
    *,
    legs_ms: tuple[float, ...],
    direct_ms: float,
    bandwidth_mbit: float = 0.0,
) -> Estimate | None:
    """What the model says about the time of a download; None if it says nothing.

    It knows only links without loss, and no tunnel whose windows are open already.
    """
    if way == "ssh-warm":
        return None
    tcp = links(bandwidth_mbit)
    improvements = CATALOGUE[way].improvements
    if improvements is None:
        whole = direct_ms if way == "e2e" else sum(legs_ms)
        return routed(Legs(client=whole / 1000), size, tcp)
    client, *relays, server = (leg / 1000 for leg in legs_ms)
    return split(Legs(client=client, relays=(*relays,), server=server), size, improvements, tcp)
