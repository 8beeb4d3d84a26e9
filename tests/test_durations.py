from __future__ import annotations

import pytest

from failsafe.durations import in_words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 s"),
        (0.2504, "0.25 s"),
        (64.72, "64.7 s"),
        (3600.0, "60 min"),
        (86_400.0, "24 h"),
        (float("inf"), "inf h"),
    ],
)
def test_a_duration_has_the_unit_that_suits_it(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
