"""How long one attempt may take."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.patience import RESERVE_AT_MOST, attempt_limit, to_blame

seconds = st.floats(min_value=1e-3, max_value=1e5)


@pytest.mark.parametrize(
    ("left", "whole", "own_limit", "waiting", "expected"),
    [
        (10, 10, 30, [], 10),
        (10, 10, 4, [], 4),
        (10, 10, 30, [None], 9),
        (10, 10, 30, [None, None], 8),
        (10, 10, 30, [2.0], 8),
        (10, 10, 30, [2.0, None], 7),
        (10, 10, 30, [20.0], 5),
        (2, 10, 30, [None, None], 1),
        (100, 100, 30, [None], 30),
        (math.inf, math.inf, 30, [None, 5.0], 30),
    ],
)
def test_the_arithmetic(
    left: float, whole: float, own_limit: float, waiting: list[float | None], expected: float
) -> None:
    assert attempt_limit(left=left, whole=whole, own_limit=own_limit, waiting=waiting) == pytest.approx(expected)


@given(left=seconds, whole=seconds, own_limit=seconds, waiting=st.lists(st.none() | seconds, max_size=8))
def test_at_least_half_of_what_is_left_and_never_more_than_all(
    left: float, whole: float, own_limit: float, waiting: list[float | None]
) -> None:
    limit = attempt_limit(left=left, whole=whole, own_limit=own_limit, waiting=waiting)
    assert min(own_limit, left * (1 - RESERVE_AT_MOST)) <= limit <= min(own_limit, left)


@pytest.mark.parametrize(
    ("limit", "own_limit", "usual", "blamed"),
    [(0.9, 30, None, False), (1.0, 30, None, True), (0.5, 0.5, None, True), (2, 30, 3.0, False), (3, 30, 3.0, True),
     (30, 30, 99.0, True)],
)  # fmt: skip
def test_who_is_to_blame_for_silence(limit: float, own_limit: float, usual: float | None, blamed: bool) -> None:
    assert to_blame(limit=limit, own_limit=own_limit, usual=usual) is blamed
