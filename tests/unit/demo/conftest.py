# SPDX-License-Identifier: GPL-2.0-only
"""Results as a demonstration would have them."""

from datetime import UTC, datetime

import pytest

from ktcp_ops.model import Improvements
from ktcp_testbed.demo.results import (
    Download,
    Results,
    RoundTrip,
    RoundTrips,
    Versions,
    Way,
    compare,
)

TRIPS = RoundTrips(
    client=RoundTrip(nominal=0.0327, measured=0.0329),
    relay=RoundTrip(nominal=0.215, measured=0.2151),
    server=RoundTrip(nominal=0.026, measured=0.0262),
)


@pytest.fixture
def downloads() -> list[Download]:
    """Three runs of two sizes; KTCP twice as fast, and one outlier each way."""
    return [
        Download(
            run=run,
            way=way,
            size=size,
            first_byte=first_byte * slow,
            total=2 * first_byte * slow,
            sha256="0f" * 32,
        )
        for run, slow in ((1, 1.0), (2, 9.0), (3, 0.98))
        for size in (1_048_576, 10_240)
        for way, first_byte in ((Way.ROUTED, 0.6), (Way.KTCP, 0.3))
    ]


@pytest.fixture
def results(downloads: list[Download]) -> Results:
    """A complete results.json."""
    return Results(
        started=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        runs=3,
        versions=Versions(
            ktcp_ops="1.2.3",
            module="1.2.3",
            wire="1",
            srcversion="ABC",
            release="trixie",
            kernel="6.12.0-1-amd64",
            accelerator="tcg",
        ),
        settings={"rc": {"turbo": "off"}, "rs": {"turbo": "off"}},
        round_trips=TRIPS,
        comparisons=compare(downloads, legs=TRIPS.legs(), improvements=Improvements()),
        downloads=tuple(downloads),
    )
