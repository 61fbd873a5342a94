# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures of all unit tests: a state directory of their own, a QEMU that only prints lines."""

import json
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import settings

from ktcp_testbed.lab.image import Image

# A busy host may take any time for an example; speed is measured by benchmarks.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

# A shell that starts tests in the background has them ignore interrupts, which some of them raise.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a test's journals."""
    directory = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("KTCP_STATE_DIR", str(directory))
    return directory


Speak = Callable[[Iterable[object]], None]


@pytest.fixture
def qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Speak:
    """Put a QEMU in place whose guest says the given lines, then ends."""
    program = tmp_path / "bin" / "qemu-system-x86_64"
    program.parent.mkdir()

    def speak(lines: Iterable[object]) -> None:
        said = tmp_path / "said"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        said.write_text("".join(f"{text}\n" for text in texts))
        program.write_text(
            "#!/bin/sh\n"
            '[ "$1" != --version ] || { echo "QEMU emulator version 7.2 (Debian)"; exit; }\n'
            f"exec cat {said}\n"
        )
        program.chmod(0o755)

    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return speak


def make_image(place: Path) -> Image:
    """Describe an image whose files are in ``place``, whether they exist or not."""
    return Image(
        release="trixie",
        disk=place / "disk.raw",
        kernel=place / "vmlinuz",
        initrd=place / "initrd.img",
        kernel_release="6.12.0-test",
        rootfs=place / "rootfs.tar",
        identity=place / "identity",
    )
