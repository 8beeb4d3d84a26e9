"""
In which order providers are asked: pure functions over what is known of them at one moment.

A strategy gets the candidates of one tier and returns them in order; chance comes from the source it
is given. :func:`order` adds what holds for every strategy. The guide is ``docs/selection.md``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heapify, heapreplace
from itertools import groupby
from typing import NamedTuple

import msgspec

from failsafe.clock import Random
from failsafe.errors import ConfigError
from failsafe.selection import draw


class Snapshot(msgspec.Struct, frozen=True, gc=False):
    """
    One candidate at the moment of a call.

    Attributes:
        name: The provider's configured name.
        tier: Smaller is asked first, whatever the strategy.
        weight: Its share of the load among its tier (above 0).
        in_flight: Attempts under way to it.
        latency: Seconds it takes at present, peaks counting in full; None before its first answer.
        typical: Seconds its answers took of late on average; None where there was none.
        cost: USD that this very request is estimated to cost there; None where no price is known.
        share: The part of its usual load it is given now (above 0 to 1): below 1 during a slow start.
    """

    name: str
    tier: int = 0
    weight: float = 1.0
    in_flight: int = 0
    latency: float | None = None
    cost: float | None = None
    share: float = 1.0
    typical: float | None = None


class Circumstances(NamedTuple):
    """
    What an order depends on beside the candidates.

    Attributes:
        random: The source of chance.
        turn: How many calls for this model were put into an order before.
        sticky: The caller's key, or None: the same key gets the same first candidate.
        max_latency: Seconds; candidates known to take longer come last. None: no limit.
    """

    random: Random
    turn: int = 0
    sticky: str | None = None
    max_latency: float | None = None


_TRIED_ANYWAY = 0.1
"""The share of calls for which a provider above the latency limit keeps its place."""

Strategy = Callable[[Sequence[Snapshot], Circumstances], Sequence[Snapshot]]
"""Puts the candidates of one tier in order: each of them, once."""


def weighted(candidates: Sequence[Snapshot], circumstances: Circumstances) -> Sequence[Snapshot]:
    """Drawn anew for each call, in proportion to ``weight``."""
    return draw([candidates], circumstances.random)


def round_robin(candidates: Sequence[Snapshot], circumstances: Circumstances) -> Sequence[Snapshot]:
    """
    Each in its turn, ``weight`` times as often, and as evenly spread as whole numbers allow.

    Candidate i has its k-th turn at (k + 1/2) / weight; the turns of all are lined up by that time.
    This gives the shares of nginx's smooth weighted round robin without remembering anything. The
    second place takes turns too, among the calls with the same first: what a candidate that is down leaves
    to be done falls on all others, not on its neighbour.
    """
    left = list(candidates)
    ordered: list[Snapshot] = []
    turn = circumstances.turn
    while left and len(ordered) < 2:
        place, turn = _whose_turn(left, turn)
        ordered.append(left.pop(place))
    return ordered + left


def _whose_turn(candidates: Sequence[Snapshot], turn: int) -> tuple[int, int]:
    """
    The place of the candidate with turn number *turn* (from 0) when their turns are lined up by time.

    And how many turns that one had before.
    """
    weights = [candidate.weight for candidate in candidates]
    if min(weights) == max(weights):
        return turn % len(weights), turn // len(weights)
    # Before this time no more turns have passed than asked for; the few that are left are counted one by one.
    time = max(0.0, (turn - len(weights)) / sum(weights))
    had = [int(time * weight + 0.5) for weight in weights]
    due = [((had[place] + 0.5) / weight, place) for place, weight in enumerate(weights)]
    heapify(due)
    for _ in range(turn - sum(had)):
        place = due[0][1]
        had[place] += 1
        heapreplace(due, ((had[place] + 0.5) / weights[place], place))
    place = due[0][1]
    return place, had[place]


def least_in_flight(candidates: Sequence[Snapshot], circumstances: Circumstances) -> Sequence[Snapshot]:
    """Those with the fewest attempts under way for their ``weight`` first, equals by chance."""
    random = circumstances.random
    return sorted(candidates, key=lambda candidate: (candidate.in_flight / candidate.weight, random.random()))


def lowest_latency(candidates: Sequence[Snapshot], circumstances: Circumstances) -> Sequence[Snapshot]:
    """
    The faster of two drawn at random first, then the others by their load.

    The load is the latency times one more than the attempts under way (Finagle's peak EWMA balancer). Two
    choices instead of the best of all keep many callers from running to the same one at once
    (https://doi.org/10.1109/71.963420, Mitzenmacher). Nothing is known of a candidate before its first
    answer: it counts as fast while nobody waits for it, and as the slowest while somebody does.
    """
    random = circumstances.random
    by_load = sorted(candidates, key=lambda candidate: (_load(candidate), random.random()))
    if len(by_load) > 2:
        one, other = random.sample(range(len(by_load)), 2)
        by_load.insert(0, by_load.pop(min(one, other)))
    return by_load


_UNKNOWN = 1e9
"""Seconds, more than anything measured: what an unknown latency counts as while its first answer is awaited."""
_INSTANT = 1e-9
"""Seconds: what no time at all counts as, so that even then the attempts under way are shared."""


def _load(candidate: Snapshot) -> float:
    if candidate.latency is None:
        return _UNKNOWN * (candidate.in_flight + 1) if candidate.in_flight else 0.0
    return (candidate.latency or _INSTANT) * (candidate.in_flight + 1)


def cheapest(candidates: Sequence[Snapshot], circumstances: Circumstances) -> Sequence[Snapshot]:
    """By the estimated cost of this request, unknown prices last; equals by load, as in :func:`lowest_latency`."""
    random = circumstances.random
    return sorted(candidates, key=lambda candidate: (_or_last(candidate.cost), _load(candidate), random.random()))


def _or_last(value: float | None) -> float:
    return math.inf if value is None else value


STRATEGIES: Mapping[str, Strategy] = {
    "priority": weighted,
    "weighted": weighted,
    "round_robin": round_robin,
    "least_in_flight": least_in_flight,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
"""The shipped strategies by name. ``priority`` is ``weighted`` among equals, with the priorities as tiers."""

_SHIPPED = frozenset(map(id, STRATEGIES.values()))


def order(strategy: Strategy, candidates: Iterable[Snapshot], circumstances: Circumstances) -> list[Snapshot]:
    """
    Return *candidates* in the order in which to ask them.

    Tier after tier, each as *strategy* says. Then, in each tier: a candidate in its slow start keeps its place
    with the probability ``share``, else it goes behind the others; a sticky key's own candidate comes
    first; and in the end whoever is known to take longer than ``max_latency`` comes after all
    others, the fastest of them first.

    Raises:
        ConfigError: *strategy* did not return each candidate once.
        Exception: Whatever a strategy of your own raises, unchanged.
    """
    tiers = groupby(sorted(candidates, key=_tier), key=_tier)
    ordered: list[Snapshot] = []
    for _, tier in tiers:
        ordered += _in_tier(strategy, list(tier), circumstances)
    return ordered if circumstances.max_latency is None else _slow_last(ordered, circumstances)


def _tier(candidate: Snapshot) -> int:
    return candidate.tier


def _in_tier(strategy: Strategy, tier: list[Snapshot], circumstances: Circumstances) -> Sequence[Snapshot]:
    if len(tier) == 1:
        return tier
    ordered = strategy(tier, circumstances) if id(strategy) in _SHIPPED else _checked(strategy, tier, circumstances)
    ordered = _slow_start(ordered, circumstances.random)
    return ordered if circumstances.sticky is None else _sticky_first(ordered, circumstances.sticky)


def _checked(strategy: Strategy, tier: list[Snapshot], circumstances: Circumstances) -> Sequence[Snapshot]:
    """
    What a strategy of somebody's own returns, if it is an order.

    Whoever it left out is not put back: that may have been on purpose, and no prompt goes where nobody sent it.
    """
    ordered: object = strategy(tier.copy(), circumstances)  # a copy: it may take out what it likes
    if isinstance(ordered, Sequence) and len(ordered) == len(tier) and set(map(id, ordered)) == set(map(id, tier)):
        return ordered
    name = getattr(strategy, "__name__", repr(strategy))
    raise ConfigError(
        f"selection.strategy {name}: it must return each of the {len(tier)} candidates it got, once, as a list; "
        "to leave providers out of a call, use only= or exclude="
    )


def _slow_start(ordered: Sequence[Snapshot], random: Random) -> Sequence[Snapshot]:
    if all(candidate.share >= 1.0 for candidate in ordered):
        return ordered
    behind = [candidate for candidate in ordered if candidate.share < 1.0 and random.random() >= candidate.share]
    return [*(candidate for candidate in ordered if candidate not in behind), *behind]


def _sticky_first(ordered: Sequence[Snapshot], key: str) -> Sequence[Snapshot]:
    """
    The candidate that *key* belongs to, then the others.

    Weighted rendezvous hashing (https://doi.org/10.1109/90.663936, Thaler and Ravishankar; the logarithm for
    weights is Schindelhauer and Schomaker's): when a candidate joins or leaves, only the keys that it
    wins or had move.
    """
    home = max(ordered, key=lambda candidate: _score(candidate, key))
    return [home, *(candidate for candidate in ordered if candidate is not home)]


def _score(candidate: Snapshot, key: str) -> float:
    digest = hashlib.blake2b(f"{candidate.name}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    drawn = (int.from_bytes(digest) + 0.5) / 2.0**64  # above 0 and below 1
    return -candidate.weight / math.log(drawn)


def _slow_last(ordered: list[Snapshot], circumstances: Circumstances) -> list[Snapshot]:
    """
    Those within the limit first.

    Now and then one that is too slow keeps its place while nobody else waits for it, or nobody would learn that it
    is fast again.
    """
    limit = circumstances.max_latency or math.inf
    slow = [candidate for candidate in ordered if _or_first(candidate.typical) > limit]
    slow = [each for each in slow if each.in_flight or circumstances.random.random() >= _TRIED_ANYWAY]
    slow.sort(key=lambda candidate: _or_first(candidate.typical))
    return [*(candidate for candidate in ordered if candidate not in slow), *slow]


def _or_first(value: float | None) -> float:
    return 0.0 if value is None else value


def slow_start_share(since_recovery: float, slow_start: float, least: float = 0.1) -> float:
    """
    Return the share of its usual load that a provider is given, growing linearly from *least* to 1.

    Args:
        since_recovery: Seconds since it came back; below 0 (a clock that went back) counts as 0.
        slow_start: Seconds until it is given all; 0: at once.
        least: The share at the start, above 0, so that it is tried at all.
    """
    if since_recovery >= slow_start:
        return 1.0
    return max(least, max(0.0, since_recovery) / slow_start)
