"""
What the policies cost a call, beside the cost of the locks they need.

Run it from the repository's root: ``python benchmarks/primitives.py``. All figures come from one
interleaved run; compare ratios, not nanoseconds, between machines.
"""

from __future__ import annotations

import statistics
import sys
import threading
from collections.abc import Callable

from measure import Goals, interleaved, median_ratio

from failsafe.adaptive import AdaptiveConcurrency
from failsafe.backoff import calculate_delay
from failsafe.breaker import CircuitBreaker
from failsafe.budget import RetryBudget
from failsafe.bulkhead import Bulkhead
from failsafe.clock import SYSTEM_CLOCK, new_random
from failsafe.cooldown import Cooldowns
from failsafe.latency import LatencyWindow
from failsafe.policy_config import BulkheadConfig, RetryConfig
from failsafe.retrying import retry

ROUNDS = 31
COUNT = 10_000

LOCKS = "two bare lock/unlock pairs"
REPORT = "breaker: acquire + success"
BULKHEAD = "bulkhead: acquire + release"
ADAPTIVE = "adaptive: acquire + release"


def operations() -> dict[str, Callable[[], object]]:
    """What is measured, by the name it is printed under."""
    lock = threading.Lock()
    random, config = new_random(), RetryConfig()
    closed, refusing = CircuitBreaker("closed"), CircuitBreaker("refusing")
    refusing.force_open()
    budget, cooldowns, latency = RetryBudget(), Cooldowns(SYSTEM_CLOCK, random), LatencyWindow()

    bulkhead, adaptive = Bulkhead("free", BulkheadConfig(max_concurrent=10)), AdaptiveConcurrency("free")
    full = Bulkhead("full", BulkheadConfig(max_concurrent=1))
    full.acquire()

    def two_locks() -> None:
        with lock:
            pass
        with lock:
            pass

    def nothing() -> None:
        pass

    return {
        "a function that does nothing": nothing,
        LOCKS: two_locks,
        REPORT: lambda: closed.acquire().success(),
        "breaker: call of nothing": lambda: closed.call(nothing),
        "breaker: refusal as a value": refusing.try_acquire,
        BULKHEAD: lambda: bulkhead.acquire().release(),
        "bulkhead: refusal as a value": full.try_acquire,
        ADAPTIVE: lambda: adaptive.acquire().release(pushback=False),
        "retry: first try succeeds": retry(nothing),
        "calculate_delay": lambda: calculate_delay(3, config, random),
        "budget: credit when full": budget.credit,
        "cooldowns: nothing is off": lambda: cooldowns.admit("key", "model"),
        "latency: add": lambda: latency.add(random.random()),
    }


def main() -> int:
    """Measure, print the table and the goals, and return the exit code."""
    figures = interleaved(operations(), rounds=ROUNDS, count=COUNT)
    print(f"{'operation':32}{'ns':>8}{'locks':>8}   (median of {ROUNDS} interleaved rounds of {COUNT:,} calls)")
    for name, rounds in figures.items():
        print(f"{name:32}{statistics.median(rounds):8.0f}{median_ratio(rounds, figures[LOCKS]):8.2f}")
    goals = Goals()
    goals.at_most("breaker_acquire_report", median_ratio(figures[REPORT], figures[LOCKS]), 4.5)
    goals.at_most("bulkhead_acquire_release", median_ratio(figures[BULKHEAD], figures[LOCKS]), 4.5)
    goals.at_most("adaptive_acquire_release", median_ratio(figures[ADAPTIVE], figures[LOCKS]), 4.5)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
