# SPDX-License-Identifier: GPL-2.0-only
"""Programs that stand in for QEMU and ssh, and an image that holds nothing."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from ktcp_testbed.lab import image, lab
from ktcp_testbed.lab.image import Image, Progress
from ktcp_testbed.lab.lab import Lab
from ktcp_testbed.lab.recipe import Release
from ktcp_testbed.lab.topology import Guest, Link, Topology
from tests.unit.conftest import make_image

BIN = Path(__file__).parent / "bin"

PAIR = Topology(
    name="pair",
    guests=(Guest(name="left", forwarding=True), Guest(name="right", services=("nginx",))),
    links=(
        Link(
            ends=("left", "right"),
            subnet4=IPv4Network("192.0.2.0/24"),
            subnet6=IPv6Network("2001:db8::/64"),
            rtt_ms=40,
        ),
    ),
)


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-ins first in PATH; the directory tells them what to do."""
    directory = tmp_path / "fakes"
    directory.mkdir()
    (directory / "rtt").write_text("40.0\n")
    monkeypatch.setenv("PATH", f"{BIN}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_DIR", str(directory))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return directory


@pytest.fixture
def empty_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Image:
    """An image that is always in the cache."""
    place = tmp_path / "image"
    place.mkdir()
    (place / "identity").write_text("private")
    (place / "identity.pub").write_text("ssh-ed25519 AAAA ktcp-lab\n")
    found = make_image(place)

    def ensure(release: Release, *, progress: Progress) -> Image:
        assert release == "trixie"
        assert progress is not None
        return found

    monkeypatch.setattr(image, "ensure", ensure)
    return found


@pytest.fixture
def said() -> list[str]:
    """The reported progress."""
    return []


@pytest.fixture
def new_lab(
    tmp_path: Path,
    fakes: Path,
    empty_image: Image,
    said: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Lab]]:
    """Make labs of stand-ins in ``tmp_path``/lab; none of them outlives the test."""
    assert fakes.is_dir()
    assert empty_image.release == "trixie"
    monkeypatch.setattr(lab, "POWER_OFF_SECONDS", 3.0)
    labs = []

    def make(topology: Topology = PAIR, *, boot_timeout: float = 10) -> Lab:
        made = Lab(
            topology,
            tmp_path / "lab",
            "trixie",
            progress=said.append,
            boot_timeout=boot_timeout,
        )
        labs.append(made)
        return made

    yield make
    for each in labs:
        each.down(graceful=False)
