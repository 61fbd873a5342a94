# SPDX-License-Identifier: GPL-2.0-only
"""Callbacks of sockets are taken over and given back in one file."""

import re

from tests.contract.test_rooms import code

SWAPS = re.compile(
    r"\bsk_(data_ready|write_space|state_change|error_report|callback_lock)\b|\bsk_user_data = "
)


def test_callbacks_are_swapped_in_one_file() -> None:
    files = {file for file, source in code().items() if SWAPS.search(source)}
    assert files == {"lib/callbacks.c"}
