# SPDX-License-Identifier: GPL-2.0-only
"""README and figures show the committed results."""

import re
from xml.etree import ElementTree

import pytest

from ktcp_testbed.bench import report, results
from ktcp_testbed.bench.chart import shown_seconds
from tests.bench import publish
from tests.contract.conftest import ROOT, text

PUBLISHED = results.read(ROOT / publish.PLACE)


def test_the_readme_has_the_figures_of_the_results() -> None:
    readme = text("README.md")
    assert publish.replaced(readme, publish.section(PUBLISHED)) == readme, (
        "python -m tests.bench.publish docs/figures writes it anew"
    )


@pytest.mark.parametrize("name", report.FIGURES)
def test_a_figure_has_the_medians_of_the_results(name: str) -> None:
    drawn = ElementTree.fromstring(text(f"{publish.PLACE}/{name}.svg"))
    words = ["".join(each.itertext()).strip() for each in drawn.iter() if each.tag.endswith("text")]
    found = sorted(word for word in words if re.fullmatch(r"\d+\.\d{3}", word))
    pick = report.FIGURES[name]
    medians = [getattr(each.median, pick) for each in PUBLISHED.downloads]
    assert found == sorted(map(shown_seconds, medians))
