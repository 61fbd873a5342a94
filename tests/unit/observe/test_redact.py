# SPDX-License-Identifier: GPL-2.0-only
"""Keys are removed however they are written, and what is no key stays."""

import base64
import binascii
import json
import textwrap
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktcp_ops.mesh.journal.redact import Redactor

KEYS = (
    "3f9c1d77a2be4860c5d8e1f00b6a94725ec3d10987afb4c26d5e38f1a07b92cd",
    "00112233445566778899aabbccddeeff102132435465768798a9bacbdcedfe0f",
)
PART = 12
"""So much of a key in a row, however written, must not be left."""

REDACTOR = Redactor(KEYS)


def hexdump(data: bytes) -> str:
    """As the kernel's print_hex_dump and hexdump -C write it, with what can be printed beside."""
    lines = []
    for place in range(0, len(data), 16):
        block = data[place : place + 16]
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in block)
        lines.append(f"[   12.345678] ktcp: {place:08x}: {block.hex(' ')}  {shown}")
    return "\n".join(lines)


FORMS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "upper case": str.upper,
    "prefixed": lambda key: f"0x{key}",
    "half of it": lambda key: key[:32],
    "its end": lambda key: f"...{key[-14:]}",
    "grown into a word": lambda key: f"key{key}z",
    "bytes with colons": lambda key: ":".join(textwrap.wrap(key, 2)),
    "words": lambda key: " ".join(textwrap.wrap(key, 8)),
    "bytes of C": lambda key: ", ".join(f"0x{byte}" for byte in textwrap.wrap(key, 2)),
    "escaped by a shell": lambda key: "".join(f"\\x{byte}" for byte in textwrap.wrap(key, 2)),
    "escaped by Python": lambda key: repr(bytes.fromhex(key)),
    "dumped": lambda key: hexdump(bytes.fromhex(key)),
    "dumped amid others": lambda key: hexdump(b"OPEN\0" + bytes.fromhex(key) + b"\r\n" * 9),
    "broken over lines": lambda key: "\n  ".join(textwrap.wrap(key, 20)),
    "base64": lambda key: base64.b64encode(bytes.fromhex(key)).decode(),
    "base64 for URLs": lambda key: base64.urlsafe_b64encode(bytes.fromhex(key)).decode(),
    "base64 amid others": lambda key: base64.b64encode(b"ab" + bytes.fromhex(key) + b"c").decode(),
    "base64 of its digits": lambda key: base64.b64encode(f"add 1 {key}\n".encode()).decode(),
    "JSON in JSON": lambda key: json.dumps(json.dumps({"cmd": f"echo add 1 {key}"})),
    "a line of procfs": lambda key: f'keys: line 1: "add 1 {key}": unknown word',
    "a wrong line": lambda key: f"keys: ad 1 {key[:-1]}g",
}


def leaks(text: str, key: str) -> list[str]:
    """Parts of a key that a text holds: its digits, its base64 or its escapes, in a row."""
    lines = [some.replace("0x", "") for some in (text, *text.splitlines())]
    bare = ["".join(c for c in line.lower() if c in "0123456789abcdef") for line in lines]
    data = bytes.fromhex(key)
    encoded = [base64.b64encode(bytes(ahead) + data).decode()[4:40] for ahead in range(3)]
    written = [key, repr(data)[2:-1], *encoded]
    windows = {w[n : n + PART] for w in written for n in range(len(w) - PART + 1)}
    plain = text.replace("-", "+").replace("_", "/")
    return sorted(
        window for window in windows if window in plain or any(window in some for some in bare)
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("key", KEYS)
def test_a_known_key_is_removed_in_every_form(form: str, key: str) -> None:
    written = FORMS[form](key)
    text = f"before it: {written}\nafter it"
    if not form.startswith("base64 of"):
        assert leaks(text, key), "the test does not see the key that it wrote"
    clean = REDACTOR.clean(text)
    assert leaks(clean, key) == []
    assert clean.startswith("before it: ")
    assert clean.endswith("after it")
    assert "[removed]" in clean


@given(
    key=st.sampled_from(KEYS),
    form=st.sampled_from(sorted(FORMS)),
    before=st.text(max_size=60),
    after=st.text(max_size=60),
)
def test_a_known_key_is_removed_wherever_it_stands(
    key: str, form: str, before: str, after: str
) -> None:
    assert leaks(REDACTOR.clean(f"{before} {FORMS[form](key)} {after}"), key) == []


STRANGERS = {
    "an old key": "add 7 " + "5a" * 32,
    "an old key, dumped": "key: " + " ".join(["5a"] * 32),
    "WireGuard": "peer: " + base64.b64encode(b"Z" * 32).decode(),
    "PEM": "-----BEGIN OPENSSH PRIVATE KEY-----\nWlpaWlpa\n-----END OPENSSH PRIVATE KEY-----",
    "PEM cut off": "-----BEGIN PRIVATE KEY-----\nWlpaWlpa",
    "vault": "x: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  5a5a5a5a\n  5a5a5a5a",
    "password": '{"ansible_become_password": "Zebra Zoo"}',
    "option": "--token=ZZZZ",
    "sysctl": "net.ipv4.tcp_fastopen_key = 5a5a5a5a-5a5a5a5a-5a5a5a5a-5a5a5a5a",
    "stable secret": "net.ipv6.conf.eth0.stable_secret = 5a5a::5a5a",
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_looks_like_a_secret_goes_too(name: str) -> None:
    clean = Redactor([]).clean(f"{STRANGERS[name]}\n")
    for trace in ("5a5a", "5a 5a", "WlpaWlpa", "Zebra", "Zoo", "ZZZZ"):
        assert trace not in clean
    assert "[removed]" in clean


INNOCENT = (
    "module 0.1.0\nsrcversion 5AA3730F45C50694E795036\n",
    "add [2001:db8:cafe:beef::1]:5565 low 16 high 64 key 1\n",
    "link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff\n",
    "bytes_up_total 123456789012345678\n",
    "keys: add 1\nKernel: 6.12.57+deb13-amd64\n",
    "/lib/modules/6.12.57+deb13-amd64/updates/dkms/ktcp.ko.xz\n",
    "",
)


@pytest.mark.parametrize("text", INNOCENT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert REDACTOR.clean(text) == text


def test_the_forms_are_what_they_say() -> None:
    key = KEYS[0]
    assert binascii.a2b_base64(FORMS["base64"](key)).hex() == key
    assert FORMS["bytes with colons"](key).replace(":", "") == key
