"""
What the choice of a provider loses in time and in money: a simulation of the shipped strategies.

Events on a seeded clock, no sockets: callers arrive by chance, providers answer after times drawn around
what holds at that moment, and the strategies see what a router would show them (attempts under way, the
peak EWMA of each provider's own answers, prices). Each figure is the worst of several seeds; the oracle
knows the present truth. Run it from the repository's root: ``python benchmarks/selection.py``.
"""

from __future__ import annotations

import heapq
import itertools
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from measure import Goals

from failsafe.clock import Random
from failsafe.peak_ewma import PeakEwma
from failsafe.strategies import STRATEGIES, Circumstances, Snapshot, Strategy, order
from failsafe.testing import FakeClock
from failsafe.typical_latency import TypicalLatency

SEEDS = range(10)
SECONDS = 900.0
A_SECOND = 8.0  # callers that arrive


class Provider(NamedTuple):
    """A simulated provider: its price, and the latency it has on average at each moment."""

    name: str
    cost: float
    usual: Callable[[float], float]


class Call(NamedTuple):
    """One finished call: when it began, who answered, how long that took, and who the oracle would have asked."""

    began: float
    provider: Provider
    seconds: float
    best: Provider


def slowed(usual: float, begin: float, end: float, times: float) -> Callable[[float], float]:
    """A latency that is *times* as long from *begin* to *end*."""
    return lambda now: usual * times if begin <= now < end else usual


def steady(usual: float) -> Callable[[float], float]:
    """A latency that never changes."""
    return lambda _now: usual


class Simulation:
    """
    Calls arriving one after the other, many of them under way at once.

    Args:
        providers: Who may be asked.
        strategy: How they are put in order.
        oracle: Who should be asked at a moment, with the truth in hand.
        seed: Of all chance.
        max_latency: Seconds, or None.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        strategy: Strategy,
        oracle: Callable[[float], Provider],
        seed: int,
        max_latency: float | None = None,
    ) -> None:
        self.providers = providers
        self.strategy = strategy
        self.oracle = oracle
        self.random = Random(seed)
        self.max_latency = max_latency
        self.clock = FakeClock(start=0.0)
        self.latencies = {provider.name: PeakEwma(clock=self.clock) for provider in providers}
        self.typical = {provider.name: TypicalLatency(clock=self.clock) for provider in providers}
        self.in_flight = dict.fromkeys(self.latencies, 0)
        self.turns = itertools.count()

    def run(self) -> list[Call]:
        """Play the whole time; the calls in the order in which they began."""
        calls: list[Call] = []
        answers: list[tuple[float, int, str, float]] = []
        arrival = self.random.expovariate(A_SECOND)
        while arrival < SECONDS:
            while answers and answers[0][0] <= arrival:
                self._answered(*heapq.heappop(answers))
            self.clock.advance(arrival - self.clock.monotonic())
            provider = self._choose()
            seconds = provider.usual(arrival) * self.random.lognormvariate(0.0, 0.25)
            self.in_flight[provider.name] += 1
            heapq.heappush(answers, (arrival + seconds, len(calls), provider.name, seconds))
            calls.append(Call(arrival, provider, seconds, self.oracle(arrival)))
            arrival += self.random.expovariate(A_SECOND)
        return calls

    def _answered(self, now: float, _number: int, name: str, seconds: float) -> None:
        self.clock.advance(now - self.clock.monotonic())
        self.in_flight[name] -= 1
        self.latencies[name].observe(seconds)
        self.typical[name].observe(seconds)

    def _choose(self) -> Provider:
        snapshots = [
            Snapshot(
                name=each.name,
                tier=0,
                weight=1.0,
                in_flight=self.in_flight[each.name],
                latency=self.latencies[each.name].seconds,
                cost=each.cost,
                share=1.0,
                typical=self.typical[each.name].seconds,
            )
            for each in self.providers
        ]
        circumstances = Circumstances(
            random=self.random, turn=next(self.turns), sticky=None, max_latency=self.max_latency
        )
        first = order(self.strategy, snapshots, circumstances)[0].name
        return next(each for each in self.providers if each.name == first)


# A provider that slows down.

SLOW_FROM, SLOW_UNTIL = 300.0, 600.0
FOUR = [Provider("slows", 1.0, slowed(0.5, SLOW_FROM, SLOW_UNTIL, 10.0))] + [
    Provider(name, 1.0, steady(0.5)) for name in ("b", "c", "d")
]


def loss(calls: Sequence[Call]) -> float:
    """Extra seconds a call on average, beyond what the oracle's choice takes, while one provider is slow."""
    concerned = [call for call in calls if SLOW_FROM <= call.began < SLOW_UNTIL]
    extra = sum(call.provider.usual(call.began) - call.best.usual(call.began) for call in concerned)
    return extra / len(concerned)


def share_afterwards(calls: Sequence[Call]) -> float:
    """The share of calls that go to the provider that was slow, in the last two minutes, its fair share being 1."""
    late = [call for call in calls if call.began >= SECONDS - 120]
    return sum(call.provider.name == "slows" for call in late) / len(late) * len(FOUR)


def latency_aware(goals: Goals) -> None:
    """How much of round robin's loss is left."""
    print(f"one of four providers is ten times as slow from {SLOW_FROM:g} to {SLOW_UNTIL:g} s")
    print(f"{'strategy':18}{'extra s a call':>15}{'of round robin':>16}{'share later':>13}   (worst of {len(SEEDS)})")
    losses: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    names = ("round_robin", "weighted", "least_in_flight", "lowest_latency")
    for name in names:
        played = [Simulation(FOUR, STRATEGIES[name], lambda _now: FOUR[1], seed).run() for seed in SEEDS]
        losses[name] = [loss(calls) for calls in played]
        shares[name] = [share_afterwards(calls) for calls in played]
    worst = {name: max(own / rr for own, rr in zip(losses[name], losses["round_robin"], strict=True)) for name in names}
    for name in names:
        print(f"{name:18}{max(losses[name]):15.3f}{worst[name]:16.3f}{min(shares[name]):13.2f}")
    goals.at_most("latency_aware_loss", worst["lowest_latency"], 0.1)
    goals.at_least("share_after_recovery", min(shares["lowest_latency"]), 0.5)


# The cheapest that is fast enough.

LIMIT = 1.5
CHEAP = Provider("cheap", 1.0, slowed(0.8, 300.0, 540.0, 5.0))
MIDDLE = Provider("middle", 2.0, slowed(0.6, 420.0, 480.0, 5.0))
DEAR = Provider("dear", 6.0, steady(0.4))
BY_PRICE = [CHEAP, MIDDLE, DEAR]


def cheapest_now(now: float) -> Provider:
    """The cheapest whose latency is within the limit at this moment."""
    return next(provider for provider in BY_PRICE if provider.usual(now) <= LIMIT)


def cheapest_within_limit(goals: Goals) -> None:
    """What the strategy pays, against the best that was possible."""
    played = [
        Simulation([DEAR, CHEAP, MIDDLE], STRATEGIES["cheapest"], cheapest_now, seed, max_latency=LIMIT).run()
        for seed in SEEDS
    ]
    ratios = [sum(call.provider.cost for call in calls) / sum(call.best.cost for call in calls) for calls in played]
    within = [sum(call.seconds <= LIMIT for call in calls) / len(calls) for calls in played]
    possible = [sum(call.best.usual(call.began) <= LIMIT for call in calls) / len(calls) for calls in played]
    print(f"the cheapest within {LIMIT:g} s: cost over the best possible, and calls within the limit")
    for seed, ratio, met, could in zip(SEEDS, ratios, within, possible, strict=True):
        print(f"seed {seed}{ratio:12.4f}{met:12.3f}   (possible {could:.3f})")
    goals.at_most("cheapest_within_limit_cost", max(ratios), 1.02)
    goals.at_least("calls_within_limit", min(within), 0.95)


def main() -> int:
    """Play both, print the tables and the goals, and return the exit code."""
    goals = Goals()
    latency_aware(goals)
    cheapest_within_limit(goals)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
