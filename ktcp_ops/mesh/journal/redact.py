# SPDX-License-Identifier: GPL-2.0-only
"""Removes secrets from texts of any origin: known keys, and what looks like a secret.

A known key is found however it is written: in hexadecimal of either case, with or without
separators, broken over the lines of a dump, in base64, and also in part. What merely looks
like a secret is removed, too: better to lose a checksum than to show a key.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ktcp_ops.mesh.relay.plan import Node

REMOVED = "[removed]"

PART = 12
"""So many characters of a key in a row, as it is written, count as a part of it."""

HEX_WORD = re.compile(r"[0-9A-Fa-f]{2,}")
BASE64_WORD = re.compile(rf"[A-Za-z0-9+/_-]{{{PART},}}={{0,2}}")

PATTERNS = (
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL
    ),
    re.compile(r"\$ANSIBLE_VAULT;[^\n]*(?:\n[ \t]*[0-9a-f]+)*"),
    # 32 bytes and more in hexadecimal, in one piece or byte by byte.
    re.compile(r"[0-9A-Fa-f]{64,}"),
    re.compile(r"(?:[0-9A-Fa-f]{2}[ :,-]){31,}[0-9A-Fa-f]{2}"),
    # 32 bytes in base64, as WireGuard writes keys.
    re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="),
)

NAMED = re.compile(
    r"""((?:key|passphrase|passwd|password|secret|token)['"]?\s*[=:]\s*)"""
    r"""(?:"[^"\n]*"|'[^'\n]*'|\S+)""",
    re.IGNORECASE,
)
"""Values whose name says that they are secret, as in NAME=VALUE and "NAME": "VALUE"."""


Span = tuple[int, int]
"""A part of a text: where it begins and ends."""


class Redactor:
    """Removes known keys, and what looks like a secret."""

    def __init__(self, keys: Iterable[str]) -> None:
        known = [key.lower() for key in keys]
        self.hexadecimal = {part for key in known for part in parts(key)}
        self.base64 = {part for key in known for text in encodings(key) for part in parts(text)}
        # As Python and the kernel's log escape bytes.
        self.escaped = {part for key in known for part in parts(repr(bytes.fromhex(key))[2:-1])}

    def clean(self, text: str) -> str:
        """Give a text without its secrets."""
        for pattern in PATTERNS:
            text = pattern.sub(REMOVED, text)
        text = NAMED.sub(rf"\g<1>{REMOVED}", text)
        for find in (self.find_escaped, self.find_base64, self.find_hexadecimal):
            text = without(text, find(text))
        return text

    def find_escaped(self, text: str) -> Iterator[Span]:
        """Find parts of keys written as escaped bytes."""
        for part in self.escaped:
            start = text.find(part)
            while start >= 0:
                yield start, start + PART
                start = text.find(part, start + 1)

    def find_base64(self, text: str) -> Iterator[Span]:
        """Find words with a part of a key in base64, in either alphabet."""
        for word in BASE64_WORD.finditer(text):
            if self.base64.intersection(parts(word[0].replace("-", "+").replace("_", "/"))):
                yield word.span()

    def find_hexadecimal(self, text: str) -> Iterator[Span]:
        """Find words with twelve digits in a row of a key, even if these cross words."""
        words = list(HEX_WORD.finditer(text))
        digits = "".join(word[0] for word in words).lower()
        owners = [word for word in words for _ in word[0]]
        for place, part in enumerate(parts(digits)):
            if part in self.hexadecimal:
                yield from {owner.span() for owner in owners[place : place + PART]}


def without(text: str, spans: Iterable[Span]) -> str:
    """Remove spans, which may overlap, from a text; spans that touch are removed as one."""
    pieces: list[str] = []
    end = 0
    for start, stop in sorted(set(spans)):
        if start > end or not pieces:
            pieces += [text[end:start], REMOVED]
        end = max(end, stop)
    return "".join([*pieces, text[end:]])


def without_keys(node: Node) -> dict[str, Any]:
    """Give a node with the numbers of its keys only."""
    return {**node, "keys": sorted(node["keys"])}


def parts(text: str) -> Iterator[str]:
    """Give every part of a key, as it is written, that is long enough to be recognized."""
    return (text[place : place + PART] for place in range(len(text) - PART + 1))


def encodings(key: str) -> Iterator[str]:
    """Write a key in base64, its bytes or its digits, alone or between other bytes."""
    for secret in (bytes.fromhex(key), key.encode(), key.upper().encode()):
        for ahead in range(3):
            text = base64.b64encode(bytes(ahead) + secret + bytes(2)).decode()
            # The first characters mix the key with what is before it, the last with what is after.
            yield text[2 * ahead : (ahead + len(secret)) * 4 // 3]
