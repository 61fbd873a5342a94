# SPDX-License-Identifier: GPL-2.0-only
"""A rehearsal's report as tables and as JSON data."""

from collections.abc import Iterator
from typing import Any

from ktcp_testbed.rehearsal.observed import Flow
from ktcp_testbed.rehearsal.verdict import PathReport, RelayReport, Report, WaveReport

WAVES = ("WAVE", "RELAYS", "PROBLEMS", "REMARKS")
RELAYS = ("RELAY", "WAVE", "LINES", "CHAINS")
PATHS = ("PATH", "WAY", "BEFORE", "FIRST_MS", "AFTER", "FIRST_MS", "DOWNLOAD")


def wave_row(wave: WaveReport) -> list[str]:
    """A wave's line."""
    count = [len(wave.problems), len(wave.remarks)]
    return [str(wave.number), ", ".join(wave.relays), *map(str, count)]


def relay_row(relay: RelayReport) -> list[str]:
    """A relay's line: lines written to its module, and whether its chains were loaded."""
    if relay.wave is None:
        return [relay.relay, "-", "-", "-"]
    chains = "loaded" if relay.applied.steering else "same"
    return [relay.relay, str(relay.wave), str(len(relay.applied.lines)), chains]


def path_row(path: PathReport) -> list[str]:
    """A path's line: new flows before and after, and the download between."""
    way = "-".join(path.check.way) or "none"
    download = path.download.error or "whole" if path.download else "none"
    return [path.check.name, way, *flow_cells(path.before), *flow_cells(path.after), download]


def flow_cells(flow: Flow) -> list[str]:
    """How a flow was served, and when it began."""
    return [flow.how, "-" if flow.first_byte_ms is None else f"{flow.first_byte_ms:.1f}"]


def notes(report: Report) -> Iterator[str]:
    """What there is to know besides the tables, a line each."""
    for wave in report.waves:
        yield from (f"wave {wave.number}: {remark}" for remark in wave.remarks)
    if report.left_out_relays:
        yield f"left out relays: {', '.join(report.left_out_relays)}"
    if report.left_out_paths:
        yield f"left out paths: {', '.join(report.left_out_paths)}"
    if report.assumed:
        legs = "1 leg is" if report.assumed == 1 else f"{report.assumed} legs are"
        yield f"{legs} assumed to be 20 ms long; `mesh probe` measures those between relays"


def verdict(report: Report) -> list[str]:
    """The problems, a line each, and that the rollout would stop."""
    stopped = report.stopped
    if stopped is None:
        return []
    return [
        *(f"wave {stopped.number}: {problem}" for problem in stopped.problems),
        f"the rollout would stop in wave {stopped.number}",
    ]


def to_data(report: Report) -> dict[str, Any]:
    """The report as JSON data."""
    stopped = report.stopped
    return {
        "command": "rehearse",
        "stopped_in": stopped.number if stopped else None,
        "waves": [
            {
                "number": wave.number,
                "relays": list(wave.relays),
                "problems": list(wave.problems),
                "remarks": list(wave.remarks),
            }
            for wave in report.waves
        ],
        "relays": {
            relay.relay: {
                "wave": relay.wave,
                "lines": list(relay.applied.lines),
                "steering": list(relay.applied.steering),
            }
            for relay in report.relays
        },
        "paths": {path.check.name: path_data(path) for path in report.paths},
        "left_out": {
            "relays": list(report.left_out_relays),
            "paths": list(report.left_out_paths),
        },
        "assumed_legs": report.assumed,
        "guest_s": report.guest_s,
    }


def path_data(path: PathReport) -> dict[str, Any]:
    """A path as JSON data."""
    return {
        "way": list(path.check.way),
        "former_way": list(path.check.former),
        "client": str(path.check.source),
        "target": str(path.check.target),
        "before": vars(path.before),
        "after": vars(path.after),
        "download": vars(path.download) if path.download else None,
    }
