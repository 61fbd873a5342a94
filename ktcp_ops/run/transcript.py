# SPDX-License-Identifier: GPL-2.0-only
"""The interface that gets every line Ansible prints; ``mesh.log`` keeps them."""

from collections.abc import Mapping
from typing import Any, Protocol


class Transcript(Protocol):
    """Hears every line that Ansible prints, in order, from one thread."""

    def say(self, text: str, *, diff: bool) -> None:
        """Ansible printed a text of one or several lines; ``diff``: what a file gains and loses."""


class NoTranscript:
    """A transcript that keeps nothing."""

    def say(self, text: str, *, diff: bool) -> None:
        """Forget it."""


def pass_on(event: Mapping[str, Any], transcript: Transcript) -> None:
    """Tell a transcript what Ansible printed for one of its events."""
    text = str(event.get("stdout") or "").replace("\r\n", "\n").strip("\n")
    if text.strip():
        transcript.say(text, diff=event.get("event") == "runner_on_file_diff")
