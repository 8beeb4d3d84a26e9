"""In which order providers are asked: pure functions over what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from failsafe.clock import Random


class Ranked(Protocol):
    """What the order is decided by."""

    @property
    def priority(self) -> int:
        """Smaller is asked first."""

    @property
    def weight(self) -> float:
        """The share of first places among equals in priority; above 0."""


RankedT = TypeVar("RankedT", bound=Ranked)


def by_priority(candidates: Sequence[RankedT], random: Random) -> list[RankedT]:
    """
    Order *candidates* by priority; equals in priority are drawn by weight.

    A draw without replacement: the chance of each place is proportional to the weight among those
    still to be placed (https://doi.org/10.1016/j.ipl.2005.11.003, Efraimidis and Spirakis).
    """
    ordered: list[RankedT] = []
    for _, equals in groupby(sorted(candidates, key=_priority), key=_priority):
        group = list(equals)
        if len(group) > 1:
            group.sort(key=lambda candidate: random.random() ** (1 / candidate.weight), reverse=True)
        ordered += group
    return ordered


def _priority(candidate: Ranked) -> int:
    return candidate.priority
