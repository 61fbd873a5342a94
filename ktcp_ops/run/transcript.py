# SPDX-License-Identifier: GPL-2.0-only
"""The interface that gets every line Ansible prints; ``mesh.log`` keeps them."""

from collections.abc import Mapping
from typing import Any, Protocol


class Transcript(Protocol):
    """Gets every line that Ansible prints, in order, from one thread."""

    def say(self, text: str, *, diff: bool) -> None:
        """Ansible printed one or several lines; with ``diff`` they show how a file changes."""


class NoTranscript:
    """A transcript that keeps nothing."""

    def say(self, text: str, *, diff: bool) -> None:
        """Do nothing."""


def pass_on(event: Mapping[str, Any], transcript: Transcript) -> None:
    """Give a transcript what Ansible printed for an event."""
    text = str(event.get("stdout") or "").replace("\r\n", "\n").strip("\n")
    if text.strip():
        transcript.say(text, diff=event.get("event") == "runner_on_file_diff")
