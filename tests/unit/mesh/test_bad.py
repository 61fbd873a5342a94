# SPDX-License-Identifier: GPL-2.0-only
"""What is said about bad inventories, word by word."""

import pytest

from tests.unit.mesh import bad

INVENTORIES = bad.inventories()
RECORDED = dict(bad.recorded())


@pytest.mark.parametrize("name", INVENTORIES)
def test_a_bad_inventory_gets_these_sentences_and_no_other(name: str) -> None:
    assert bad.sentences(INVENTORIES[name]) == RECORDED.get(name)


def test_the_record_is_of_these_inventories() -> None:
    assert list(RECORDED) == list(INVENTORIES)
    assert len(INVENTORIES) >= 30


@pytest.mark.parametrize("name", RECORDED)
def test_a_sentence_names_a_file_a_key_and_a_fix(name: str) -> None:
    assert RECORDED[name]
    for sentence in RECORDED[name]:
        file, key, text = sentence.split(": ", 2)
        places = ("mesh.ktcp.yml", "mesh.ktcp.yml (mesh lab)", "mesh.ktcp.yml (mesh prod)")
        assert file.endswith((*places, *(f".yml:{line}" for line in (1, 4, 20, 23))))
        assert key.startswith(("ktcp_mesh", "ktcp_keys", "hostvars."))
        assert text.endswith(".")
        assert "; " in text, text
