# SPDX-License-Identifier: GPL-2.0-only
"""The latency file: written, read back, and refused line by line."""

from pathlib import Path

import pytest

from ktcp_ops.errors import ExitCode, InvalidMeshError, KtcpError
from ktcp_ops.mesh.model.latency import FORMAT, Latency, load, parse

TEXT = f"""{FORMAT}
measured 2026-01-31T12:00:00+00:00
rtt 10.77.3.2 rs 26034
rtt rc rs 215123
loss rc rs 1250
way web rc rs
"""


def test_it_is_written_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "latency.txt"
    path.write_text(TEXT)
    latency = load(str(path))
    assert latency.measured == "2026-01-31T12:00:00+00:00"
    assert latency.losses == {"rc": {"rs": 1250}}
    assert latency.ways == {"web": ("rc", "rs")}
    path.unlink()
    latency.save()
    assert path.read_text() == TEXT
    assert [each.name for each in tmp_path.iterdir()] == ["latency.txt"]


def test_a_file_without_losses_is_read_too() -> None:
    older = "ktcp-latency 1\nrtt rc rs 215123\nway web rc rs\n"
    latency = parse("latency.txt", older)
    assert (latency.rtt("rc", "rs"), latency.losses) == (215123, {})
    assert next(latency.lines()) == FORMAT == "ktcp-latency 2"


def test_a_leg_has_no_direction() -> None:
    latency = parse("latency.txt", TEXT)
    assert latency.rtt("rs", "rc") == latency.rtt("rc", "rs") == 215123
    assert latency.rtt("rs", "10.77.3.2") == 26034
    assert latency.rtt("rs", "other") is None


def test_nothing_is_known_without_a_file(tmp_path: Path) -> None:
    path = str(tmp_path / "latency.txt")
    assert load(path) == Latency(path)
    assert load("") == Latency()


@pytest.mark.parametrize("text", ["", "rtt rc rs 1\n", "ktcp-latency 3\n", "ktcp-latency 10\n"])
def test_another_format_is_refused(text: str) -> None:
    with pytest.raises(InvalidMeshError) as caught:
        parse("a/latency.txt", text)
    assert caught.value.exit_code is ExitCode.INVALID_MESH
    assert caught.value.message.startswith("a/latency.txt:1: ")
    assert "mesh probe" in caught.value.message


WRONG = [
    "rtt rc rs",
    "rtt rs rc 1",
    "rtt rc rc 1",
    "rtt rc rs 0",
    "rtt rc rs -1",
    "rtt rc rs 1.5",
    "rtt rc rs 60000001",
    "rtt rc rs 1 2",
    "loss rc rs 0",
    "loss rs rc 1",
    "loss rc rs 1000001",
    "measured yesterday",
    "way web",
    "pair rc rs",
    "",
]


@pytest.mark.parametrize("line", WRONG)
def test_a_line_that_is_not_understood_is_named(line: str) -> None:
    with pytest.raises(InvalidMeshError) as caught:
        parse("latency.txt", f"{FORMAT}\nrtt a b 1\n{line}\n")
    assert caught.value.problems[0].startswith(f"latency.txt:3: {line!r} is not understood; ")


def test_all_wrong_lines_are_named() -> None:
    with pytest.raises(InvalidMeshError) as caught:
        parse("latency.txt", "".join(f"{line}\n" for line in (FORMAT, *WRONG)))
    assert len(caught.value.problems) == len(WRONG)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "latency.txt"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidMeshError, match=r"latency\.txt: cannot be read: .*remove the file"):
        load(str(path))
    with pytest.raises(InvalidMeshError, match="Is a directory"):
        load(str(tmp_path))


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(KtcpError, match="cannot be written: No such file or directory"):
        Latency(str(tmp_path / "gone" / "latency.txt")).save()
