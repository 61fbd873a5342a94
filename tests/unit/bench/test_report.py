# SPDX-License-Identifier: GPL-2.0-only
"""A report is complete or does not exist, and its page needs no other file."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ktcp_ops.errors import KtcpError
from ktcp_testbed.bench import chart, page, report, session
from ktcp_testbed.bench.plan import Plan
from ktcp_testbed.bench.results import Options, Results, options_of
from ktcp_testbed.cli.main import run

VOID = {"meta", "br", "img"}


class Checker(HTMLParser):
    """Counts open elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not {"src", "onload", "onclick"} & {name for name, _ in attrs}
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_all_files_appear(results: Results, tmp_path: Path) -> None:
    files = report.write(results, tmp_path / "paper")
    assert [file.name for file in files] == [
        "downloads.csv",
        "figure3.png",
        "figure3.svg",
        "figure4.png",
        "figure4.svg",
        "index.html",
        "results.json",
    ]
    assert all(file.stat().st_size for file in files)
    assert list(tmp_path.iterdir()) == [tmp_path / "paper"]


def test_a_failed_report_leaves_the_earlier_one(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "paper"
    report.write(results, place)

    def full(*_: object) -> list[Path]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(chart, "draw", full)
    (place / "mark").touch()
    with pytest.raises(KtcpError, match=r"could not be written: .* No space left on device"):
        report.write(results, place)
    assert (place / "mark").exists()
    assert list(tmp_path.iterdir()) == [place]


def test_the_page_stands_alone(results: Results) -> None:
    text = page.render(results)
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert "script" not in checker.seen
    assert not re.search(r'(href|src)="https?:', text.replace("xlink:href", ""))
    assert "$" not in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_page_says_what_was_found(results: Results) -> None:
    text = page.render(results)
    assert "begins after 0.3073 s through KTCP and after 0.5482 s end to end (1.78 times" in text
    assert "client --32.7 ms-- rc --215 ms-- rs --26 ms-- server" in text
    assert "one worker, backlog 4096" in text


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"family": "ipv6", "legs_ms": (1.0, 2.5, 3.0, 4.0), "direct_ms": 10.5, "costs": ()},
        {"loss_percent": 0.1, "bandwidth_mbit": 50.0, "direct_ms": 300.0, "memory_mib": 2048},
        {"settings": {"engine": "threads"}, "set_ups": 1000, "idle_connections": 10},
        {"release": "bookworm", "runs": 50},
    ],
)
def test_the_command_repeats_the_run(
    results: Results, change: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Options] = []

    def measure(plan: Plan, _: Path) -> Results:
        asked.append(options_of(plan))
        raise KtcpError("enough")

    monkeypatch.setattr(session, "measure", measure)
    done = results.model_copy(update={"options": results.options.model_copy(update=change)})
    assert run(["bench", "paper", *page.command(done).split()[2:]]) == 1
    assert asked == [done.options]


def test_what_is_as_usual_is_not_said(results: Results) -> None:
    text = page.command(results)
    assert text.startswith(
        "./dev bench --size 10k --runs 2 --way e2e --way nginx --way ktcp --cost"
    )
    assert "--rtt" not in text


def test_what_comes_from_outside_is_escaped(results: Results) -> None:
    evil = results.model_copy(update={"versions": {"curl": "<script>alert(1)</script>"}})
    assert "<script>" not in page.render(evil)


def test_charts_follow_the_page(results: Results) -> None:
    svg = chart.inline(results, 10240, "first_byte")
    root = ElementTree.fromstring(svg)
    assert root.get("aria-label") == "Time to first byte, 10 KB"
    assert "var(--ktcp)" in svg
    assert "var(--rival)" in svg
    assert chart.KTCP not in svg
    assert not re.search(r"#[0-9a-f]{6}", svg.lower().split("<defs>", 1)[1])
    words = "".join(root.itertext())
    assert "nginx stream" in words
    assert "0.307" in words


def test_identifiers_are_unique_on_the_page(results: Results) -> None:
    found = re.findall(r'\bid="([^"]+)"', page.render(results))
    assert len(found) == len(set(found))


def test_the_same_results_give_the_same_figure(results: Results, tmp_path: Path) -> None:
    first = chart.draw(results, "total", tmp_path, "one")[0].read_bytes()
    assert chart.draw(results, "total", tmp_path, "two")[0].read_bytes() == first
