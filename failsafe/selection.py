"""In which order providers are asked: pure functions over what is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Protocol, TypeVar

from failsafe.clock import Random


class Weighted(Protocol):
    """What equals are drawn by."""

    @property
    def weight(self) -> float:
        """The share of first places among equals in priority; above 0."""


class Ranked(Weighted, Protocol):
    """What the order is decided by."""

    @property
    def priority(self) -> int:
        """Smaller is asked first."""


WeightedT = TypeVar("WeightedT", bound=Weighted)
RankedT = TypeVar("RankedT", bound=Ranked)


def by_priority(candidates: Iterable[RankedT]) -> tuple[tuple[RankedT, ...], ...]:
    """*candidates* in groups of equal priority, the first to be asked first; this does not change between calls."""
    return tuple(tuple(equals) for _, equals in groupby(sorted(candidates, key=_priority), key=_priority))


def draw(groups: Iterable[Sequence[WeightedT]], random: Random) -> list[WeightedT]:
    """
    The order for one call: group after group, equals drawn by weight.

    A draw without replacement: the chance of each place is proportional to the weight among those
    still to be placed (https://doi.org/10.1016/j.ipl.2005.11.003, Efraimidis and Spirakis, with the
    logarithms of their keys, which do not vanish for small weights).
    """
    ordered: list[WeightedT] = []
    for group in groups:
        if len(group) == 1:
            ordered.append(group[0])
        else:
            ordered += sorted(group, key=lambda candidate: random.expovariate(1.0) / candidate.weight)
    return ordered


def _priority(candidate: Ranked) -> int:
    return candidate.priority
