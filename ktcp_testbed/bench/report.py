# SPDX-License-Identifier: GPL-2.0-only
"""The files of a report; they appear together, or not at all."""

import csv
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktcp_ops.errors import KtcpError
from ktcp_testbed.bench import chart, page
from ktcp_testbed.bench.results import FILE, Results, dump
from ktcp_testbed.bench.tables import csv_rows

FIGURES: dict[str, chart.Pick] = {"figure3": "first_byte", "figure4": "total"}


def write(results: Results, directory: Path) -> list[Path]:
    """Write results.json, downloads.csv, index.html and the figures; returns the files.

    Raises:
        KtcpError: The disk is full, or the directory cannot be written to; then nothing
            is left, and an earlier report stays as it was.
    """
    try:
        with replacing(directory) as place:
            fill(results, place)
        return sorted(directory.iterdir())
    except OSError as error:
        raise KtcpError(f"{directory}: the report could not be written: {error}") from error


def fill(results: Results, place: Path) -> None:
    """Write all files."""
    (place / FILE).write_text(dump(results), encoding="utf-8")
    with (place / "downloads.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(csv_rows(results))
    (place / "index.html").write_text(page.render(results), encoding="utf-8")
    for name, pick in FIGURES.items() if results.downloads else ():
        chart.draw(results, pick, place, name)


@contextmanager
def replacing(directory: Path) -> Iterator[Path]:
    """A directory to fill, which then replaces ``directory``, unless something went wrong."""
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        if directory.exists():
            shutil.rmtree(directory)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
