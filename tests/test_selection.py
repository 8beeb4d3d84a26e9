"""The order in which providers are asked."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pytest

from failsafe.clock import Random
from failsafe.selection import by_priority, draw


class Ranked(NamedTuple):
    name: str
    priority: int = 0
    weight: float = 1.0


def test_smaller_priorities_come_first_and_equals_share_a_group() -> None:
    groups = by_priority([Ranked("a", 2), Ranked("b", 1), Ranked("c", 2), Ranked("d", 0)])
    assert [[each.name for each in group] for group in groups] == [["d"], ["b"], ["a", "c"]]


def test_nobody_is_nobody() -> None:
    assert draw(by_priority([]), Random(1)) == []


def test_no_draw_moves_anyone_out_of_the_group() -> None:
    groups = by_priority([Ranked("a", 1, 1e-6), Ranked("b", 1), Ranked("c", 2, 1e6)])
    random = Random(1)
    assert all(draw(groups, random)[2].name == "c" for _ in range(100))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_first_places_go_by_weight_however_small_the_weights_are(scale: float) -> None:
    groups = by_priority([Ranked("a", weight=1 * scale), Ranked("b", weight=2 * scale), Ranked("c", weight=5 * scale)])
    random = Random(7)
    firsts = Counter(draw(groups, random)[0].name for _ in range(8000))
    assert [firsts[name] / 1000 for name in "abc"] == pytest.approx([1, 2, 5], rel=0.1)


def test_second_places_go_by_weight_among_those_left() -> None:
    groups = by_priority([Ranked("a", weight=100), Ranked("b", weight=1), Ranked("c", weight=3)])
    random = Random(7)
    orders = [draw(groups, random) for _ in range(8000)]
    seconds = Counter(order[1].name for order in orders if order[0].name == "a")
    assert seconds["c"] / seconds["b"] == pytest.approx(3, rel=0.15)


def test_the_least_weight_there_is_takes_part() -> None:
    groups = by_priority([Ranked("a", weight=5e-324), Ranked("b", weight=1)])
    assert [each.name for each in draw(groups, Random(1))] == ["b", "a"]
