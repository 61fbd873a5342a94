# SPDX-License-Identifier: GPL-2.0-only
"""Setting and dropping items of variables in the text of YAML files; all else stays."""

import pytest
import yaml

from ktcp_ops.mesh.keys.variable import CannotEditError, drop, put

BLOCK = """\
---
# Ours.
ktcp_keys:
  # Since 2026.
  1: "aa"  # the first
  2: 'bb'

other: [1, 2]  # kept
"""


def test_an_item_is_added_behind_the_others() -> None:
    assert put(BLOCK, "ktcp_keys", "3", '"cc"') == BLOCK.replace("'bb'\n", "'bb'\n  3: \"cc\"\n")
    assert put("ktcp_keys:\n  1: a", "ktcp_keys", "2", "b") == "ktcp_keys:\n  1: a\n  2: b\n"
    crlf = put("ktcp_keys:\r\n  1: a\r\nx: 1\r\n", "ktcp_keys", "2", "b")
    assert yaml.safe_load(crlf) == {"ktcp_keys": {1: "a", 2: "b"}, "x": 1}


def test_an_item_that_is_there_gets_another_value() -> None:
    assert put(BLOCK, "ktcp_keys", "1", '"cc"') == BLOCK.replace('"aa"', '"cc"')


def test_an_item_stands_first_where_the_last_one_is_long() -> None:
    text = "ktcp_mesh:\n  paths:\n    - name: web\n      via: [a]\n# end\n"
    assert put(text, "ktcp_mesh", "key", "2") == text.replace("  paths", "  key: 2\n  paths")


def test_an_item_is_dropped_with_its_line() -> None:
    assert drop(BLOCK, "ktcp_keys", "1") == BLOCK.replace('  1: "aa"  # the first\n', "")
    assert drop(BLOCK, "ktcp_keys", "2") == BLOCK.replace("  2: 'bb'\n", "")


def test_an_item_that_is_encrypted_by_itself_is_dropped_whole() -> None:
    secret = "  1: !vault |\n    $ANSIBLE_VAULT;1.1;AES256\n    6162\n    63\n"
    text = f'ktcp_keys:\n{secret}  2: "bb"\n'
    assert drop(text, "ktcp_keys", "1") == 'ktcp_keys:\n  2: "bb"\n'
    last = f'ktcp_keys:\n  2: "bb"\n{secret}# end\n'
    assert drop(last, "ktcp_keys", "1") == 'ktcp_keys:\n  2: "bb"\n# end\n'


@pytest.mark.parametrize(
    ("text", "added", "without"),
    [
        ("k: {1: a}\n", "k: {1: a, 9: z}\n", "k: {}\n"),
        ("k: {1: a, 2: b}\n", "k: {1: a, 2: b, 9: z}\n", "k: {2: b}\n"),
        ("k: {2: b,\n  1: a,  # x\n}\n", "k: {2: b,\n  1: a, 9: z,  # x\n}\n", None),
        ("k: {2: b, 1: a}\n", "k: {2: b, 1: a, 9: z}\n", "k: {2: b}\n"),
    ],
)
def test_braces(text: str, added: str, without: str | None) -> None:
    assert put(text, "k", "9", "z") == added
    assert yaml.safe_load(drop(text, "k", "1")) == {"k": {2: "b"} if "2" in text else {}}
    if without:
        assert drop(text, "k", "1") == without


def test_an_empty_mapping_gets_its_first_item() -> None:
    assert put("k: {}\n", "k", "1", "a") == "k: {1: a}\n"


@pytest.mark.parametrize("text", ["", "- k\n", "k: [1]\n", "k: a\n", "x: {k: {1: a}}\n", "k: {"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(CannotEditError):
        put(text, "k", "1", "a")
    with pytest.raises(CannotEditError):
        drop(text, "k", "1")
