# SPDX-License-Identifier: GPL-2.0-only
"""The dashboard for Grafana: what it shows, and the JSON that Grafana imports.

``SECTIONS`` is the description; its queries use the metrics of the role ``ktcp_observe``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

UID = "ktcp-relays"
COLUMNS = 24
"""The width of Grafana's grid."""
HEIGHT = 8
CHOSEN = 'instance=~"$relay"'
"""Narrows a query to the relays that are chosen on top of the dashboard."""
SOURCE = {"type": "prometheus", "uid": "${source}"}


@dataclass(frozen=True)
class Query:
    """A line, or one for each label: an expression, and what to call it."""

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """A diagram over time, or with ``kind`` stat the present value."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    description: str = ""
    kind: str = "timeseries"
    width: int = 8


def each(metric: str, legend: str, *, more: str = "") -> Query:
    """Show a value as it is."""
    return Query(f"{metric}{{{CHOSEN}{more}}}", legend)


def rate(metric: str, legend: str, *, more: str = "") -> Query:
    """Show what a counter grows by in a second."""
    return Query(f"rate({metric}{{{CHOSEN}{more}}}[$__rate_interval])", legend)


def share(part: str, *whole: str) -> Query:
    """Show what part of the growth of counters one of them has; nothing where none grows."""
    parts = " + ".join(rate(metric, "").expression for metric in whole)
    return Query(f"{rate(part, '').expression} / ({parts} > 0)", "{{instance}}")


RELAY = "{{instance}}"
PEER = "{{instance}} {{peer}}"

SECTIONS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Mesh",
        (
            Panel(
                "Relays with the module",
                "short",
                (Query(f"sum(ktcp_up{{{CHOSEN}}})", "up"),),
                kind="stat",
                width=4,
            ),
            Panel(
                "Relays that drain",
                "short",
                (Query(f"sum(ktcp_draining{{{CHOSEN}}})", "draining"),),
                kind="stat",
                width=4,
            ),
            Panel(
                "Splits now",
                "short",
                (Query(f"sum(ktcp_splits_active{{{CHOSEN}}})", "splits"),),
                kind="stat",
                width=4,
            ),
            Panel(
                "Modules",
                "short",
                (
                    Query(
                        f"count by (version, srcversion) (ktcp_build_info{{{CHOSEN}}})",
                        "{{version}} {{srcversion}}",
                    ),
                ),
                "Relays of each module; more than one while a rollout goes on.",
                kind="stat",
                width=12,
            ),
        ),
    ),
    (
        "Splits",
        (
            Panel("Splits", "short", (each("ktcp_splits_active", RELAY),)),
            Panel("Opened", "ops", (rate("ktcp_splits_opened_total", RELAY),)),
            Panel(
                "Failed and reset",
                "ops",
                (
                    rate("ktcp_splits_failed_total", f"{RELAY} failed"),
                    rate("ktcp_resets_total", f"{RELAY} reset"),
                ),
                "Failed: the far side was never connected.",
            ),
            Panel("Bytes", "Bps", (rate("ktcp_bytes_total", f"{RELAY} {{{{direction}}}}"),)),
            Panel(
                "In use of max_splits",
                "percentunit",
                (Query(f"ktcp_splits_active{{{CHOSEN}}} / ktcp_max_splits{{{CHOSEN}}}", RELAY),),
                "At 99 % new flows pass unsplit, until 95 %.",
            ),
            Panel(
                "Passed unsplit",
                "ops",
                (
                    rate("ktcp_limit_passed_total", f"{RELAY} full"),
                    rate("ktcp_drain_passed_total", f"{RELAY} draining"),
                ),
            ),
        ),
    ),
    (
        "Early SYN",
        (
            Panel(
                "Splits whose far leg began at the SYN",
                "percentunit",
                (share("ktcp_early_syn_met_total", "ktcp_splits_opened_total"),),
            ),
            Panel("Clients that never came", "ops", (rate("ktcp_early_syn_expired_total", RELAY),)),
            Panel(
                "SYNs over the limits",
                "ops",
                (rate("ktcp_early_syn_limited_total", RELAY),),
                "They wait for their client's ACK instead.",
            ),
        ),
    ),
    (
        "Peers",
        (
            Panel(
                "Connections ready",
                "short",
                (each("ktcp_peer_connections", PEER, more=',state="ready"'),),
            ),
            Panel(
                "Legs that the pool had ready",
                "percentunit",
                (
                    share(
                        "ktcp_peer_pool_hits_total",
                        "ktcp_peer_pool_hits_total",
                        "ktcp_peer_pool_misses_total",
                    ),
                ),
            ),
            Panel("Failures", "ops", (rate("ktcp_peer_failures_total", PEER),)),
            Panel(
                "Bytes over legs",
                "Bps",
                (rate("ktcp_peer_bytes_total", f"{PEER} {{{{direction}}}}"),),
                width=16,
            ),
            Panel(
                "Refused between relays",
                "ops",
                (
                    rate("ktcp_handshake_failures_total", f"{RELAY} handshake"),
                    rate("ktcp_open_rejected_total", f"{RELAY} OPEN"),
                    rate("ktcp_exit_denied_total", f"{RELAY} exit denied"),
                    rate("ktcp_connect_failures_total", f"{RELAY} connect"),
                ),
            ),
        ),
    ),
    (
        "Threads",
        (
            Panel("Threads", "short", (each("ktcp_threads", f"{RELAY} {{{{state}}}}"),)),
            Panel(
                "Threads made and ended",
                "ops",
                (
                    rate("ktcp_threads_created_total", f"{RELAY} made"),
                    rate("ktcp_threads_ended_total", f"{RELAY} ended"),
                ),
            ),
            Panel(
                "Splits given up for want of threads",
                "ops",
                (rate("ktcp_threads_missing_total", RELAY),),
            ),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Give the dashboard as Grafana imports it."""
    return {
        "uid": UID,
        "title": "KTCP relays",
        "tags": ["ktcp"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": variables()},
        "panels": list(panels()),
    }


def variables() -> list[dict[str, Any]]:
    """Give what is chosen on top: where Prometheus is, and which relays."""
    return [
        {"name": "source", "label": "Source", "type": "datasource", "query": "prometheus"},
        {
            "name": "relay",
            "label": "Relay",
            "type": "query",
            "datasource": SOURCE,
            "query": "label_values(ktcp_up, instance)",
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "current": {"text": "All", "value": "$__all"},
        },
    ]


def panels() -> Iterator[dict[str, Any]]:
    """Lay the sections out from left to right, line by line."""
    number, top = 0, 0
    for title, members in SECTIONS:
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
        }
        top, left = top + 1, 0
        for member in members:
            number += 1
            if left + member.width > COLUMNS:
                top, left = top + HEIGHT, 0
            place = {"x": left, "y": top, "w": member.width, "h": HEIGHT}
            yield panel(member, number, place)
            left += member.width
        top += HEIGHT


def panel(member: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    """Give one panel."""
    return {
        "id": number,
        "type": member.kind,
        "title": member.title,
        "description": member.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": member.unit}, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "datasource": SOURCE,
                "expr": query.expression,
                "legendFormat": query.legend,
            }
            for place, query in enumerate(member.queries)
        ],
    }
