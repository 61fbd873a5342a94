# SPDX-License-Identifier: GPL-2.0-only
"""The bench's page in a real browser: complete, without an error, and readable."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktcp_testbed.bench import page, results
from tests.browser import chromium
from tests.browser.chromium import Browser

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "build/browser"
MEASURE = Path(__file__).with_name("measure.js").read_text(encoding="utf-8")
# A whole run and a short one.
REPORTS = {"full": "docs/figures/results.json", "short": "tests/bench/baseline.json"}
PHONE, DESK = 360, 1280


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One for all tests: it takes seconds to start."""
    profile = tmp_path_factory.mktemp("chromium") / "profile"
    with chromium.running(chromium.ensure(), profile) as found:
        yield found


@pytest.fixture(scope="session", params=REPORTS)
def shown(
    request: pytest.FixtureRequest, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Browser:
    """The browser with the page of a report."""
    report = results.read(ROOT / REPORTS[request.param])
    file = tmp_path_factory.mktemp("page") / f"{request.param}.html"
    file.write_text(page.render(report), encoding="utf-8")
    browser.open(file)
    return browser


def test_it_loads_without_an_error_and_nothing_else(shown: Browser) -> None:
    methods = [message["method"] for message in shown.heard]
    assert methods.count("Network.requestWillBeSent") == 1
    assert not {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"} & {
        *methods
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, DESK])
def test_it_can_be_read(
    shown: Browser, width: int, scheme: str, request: pytest.FixtureRequest
) -> None:
    shown.look(width=width, scheme=scheme)
    PICTURES.mkdir(parents=True, exist_ok=True)
    picture = PICTURES / f"{request.node.callspec.params['shown']}-{width}-{scheme}.png"
    picture.write_bytes(base64.b64decode(shown.screenshot()))
    seen = shown.evaluate(MEASURE)
    assert seen["problems"] == []
    assert (seen["brightness"] < 0.1) == (scheme == "dark")
    assert seen["texts"] > 100
    assert len(seen["figures"]) >= 4
    for figure in seen["figures"]:
        assert figure["width"] > 250, figure["label"]
        assert figure["height"] > 80, figure["label"]
