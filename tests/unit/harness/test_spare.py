# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel tests a run leaves out because others show the same."""

import pytest

from tests.kernel import conftest
from tests.kernel.topology import V4, V6, Family


@pytest.mark.parametrize(
    ("family", "mode", "size", "spare"),
    [
        (V4, "full", 100 << 20, False),
        (V4, "copy", 100 << 20, False),
        (V6, "full", 4 << 20, False),
        (V6, "full", 10 << 20, True),
        (V6, "plain", 1, False),
        (V6, "copy", 1, True),
    ],
)
def test_the_second_family_is_for_what_depends_on_it(
    family: Family, mode: str, size: int, spare: bool
) -> None:
    assert conftest.is_spare("", {"family": family, "mode": mode, "size": size}) == spare


def test_a_test_without_parameters_is_not_spare() -> None:
    assert not conftest.is_spare("", {})
    assert not conftest.is_spare("", {"family": V6})


def test_a_debug_kernel_tries_one_mode_with_both_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conftest, "BOTH_FAMILIES", {"full"})
    assert conftest.is_spare("test_bytes", {"family": V6, "mode": "plain"})
    assert not conftest.is_spare("test_bytes", {"family": V6, "mode": "full"})


def test_a_debug_kernel_tries_with_one_family_what_is_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not conftest.is_spare("test_many", {"family": V6})
    monkeypatch.setattr(conftest, "CHECKER", "kasan")
    assert conftest.is_spare("test_many", {"family": V6})
    assert not conftest.is_spare("test_many", {"family": V4})
    assert not conftest.is_spare("test_bytes", {"family": V6})


@pytest.mark.parametrize(
    ("only", "family", "wanted"), [(None, V6, True), ("v4", V4, True), ("v4", V6, False)]
)
def test_a_run_may_have_one_family_only(
    only: str | None, family: Family, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conftest, "ONLY_FAMILY", only)
    assert conftest.is_wanted({"family": family}) == wanted
    assert conftest.is_wanted({})


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_test_is_in_one_share(count: int) -> None:
    tests = list(range(10))
    shares = [tests[conftest.share_of(f"{n}/{count}")] for n in range(1, count + 1)]
    assert sorted(test for each in shares for test in each) == tests
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
