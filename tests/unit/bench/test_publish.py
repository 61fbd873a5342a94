# SPDX-License-Identifier: GPL-2.0-only
"""A complete run gets into the documents, an incomplete one does not."""

from pathlib import Path

import pytest

from ktcp_ops.errors import UsageError
from ktcp_testbed.bench import results as schema
from ktcp_testbed.bench.results import FILE, Results
from tests.bench import publish


@pytest.fixture
def whole(results: Results, monkeypatch: pytest.MonkeyPatch) -> Results:
    """Complete results."""
    monkeypatch.setattr(publish, "WAYS", results.options.ways)
    monkeypatch.setattr(publish, "COSTS", results.options.costs)
    versions = {"module": "1.2", "nginx": "1.3", "curl": "8"}
    return results.model_copy(update={"versions": {**results.versions, **versions}})


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A README with places for the figures."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"before\n{publish.BEGIN}old\n{publish.END}after\n")
    return tmp_path


def test_a_report_gets_into_the_documents(whole: Results, checkout: Path) -> None:
    (checkout / FILE).write_text(schema.dump(whole))
    publish.publish(checkout, checkout)
    place = checkout / publish.PLACE
    names = ["figure3.png", "figure3.svg", "figure4.png", "figure4.svg", FILE]
    assert sorted(path.name for path in place.iterdir()) == names
    assert schema.read(place) == whole
    text = (checkout / "README.md").read_text()
    assert "| KTCP | 0.307 | 0.307 |" in text
    assert "| KTCP | 1.60 | 1594 | 276 |" in text
    assert "KTCP 1.2 on Linux 6.12.1, beside nginx 1.3." in text
    assert "old" not in text
    assert text.startswith("before\n<!--")
    assert text.endswith("-->\nafter\n")
    publish.publish(place, checkout)
    assert (checkout / "README.md").read_text() == text


def test_half_a_run_does_not(results: Results, checkout: Path) -> None:
    (checkout / FILE).write_text(schema.dump(results))
    with pytest.raises(UsageError, match=r"has no .*, haproxy, .*publish a whole run"):
        publish.publish(checkout, checkout)
    assert "old" in (checkout / "README.md").read_text()
