"""
What a guarded call costs, beside the locks it needs and beside other libraries.

Run it from the repository's root: ``python benchmarks/primitives.py``. All figures come from interleaved
rounds of one run; compare ratios, not nanoseconds, between machines. Every guard is used as its library's
guide shows it first: as a decorator on a function that does nothing.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Callable

import circuitbreaker
import pybreaker
import stamina
import tenacity
from measure import Goals, interleaved, median_ratio

from failsafe.adaptive import AdaptiveConcurrency
from failsafe.backoff import calculate_delay
from failsafe.breaker import CircuitBreaker
from failsafe.budget import RetryBudget
from failsafe.bulkhead import Bulkhead
from failsafe.clock import SYSTEM_CLOCK, new_random
from failsafe.composition import Policy
from failsafe.cooldown import Cooldowns
from failsafe.latency import LatencyWindow
from failsafe.limiter import RateLimiter
from failsafe.policy_config import BulkheadConfig, CircuitBreakerConfig, RateLimiterConfig, RetryConfig
from failsafe.retrying import Retry, retry

ROUNDS = 31
COUNT = 10_000
THREADS = 8
THREAD_ROUNDS = 15
THREAD_COUNT = 80_000

LOCKS = "two bare lock/unlock pairs"
REPORT = "breaker: acquire + success"
BULKHEAD = "bulkhead: acquire + release"
ADAPTIVE = "adaptive: acquire + release"
GUARDED = "breaker: guarded call"
SMALL_WINDOW, LARGE_WINDOW = "breaker: window of 10 calls", "breaker: window of 10,000 calls"
RETRY = "retry: first try succeeds"
CIRCUITBREAKER, PYBREAKER, TENACITY, STAMINA = "circuitbreaker", "pybreaker", "tenacity", "stamina"


def nothing() -> None:
    """What is guarded."""


def windowed(size: int) -> Callable[[], None]:
    """A guarded call whose breaker also judges rates over *size* calls, the window being full."""
    guarded = CircuitBreaker(
        f"window of {size}", CircuitBreakerConfig(window_size=size, failure_rate_threshold=0.5, minimum_calls=5)
    )(nothing)
    for _ in range(size):
        guarded()
    return guarded


def operations() -> dict[str, Callable[[], object]]:
    """What is measured, by the name it is printed under."""
    lock = threading.Lock()
    random, config = new_random(), RetryConfig()
    closed, refusing = CircuitBreaker("closed"), CircuitBreaker("refusing")
    refusing.force_open()
    budget, cooldowns, latency = RetryBudget(), Cooldowns(SYSTEM_CLOCK, random), LatencyWindow()
    limiter = RateLimiter("limiter", RateLimiterConfig(requests_per_minute=1e9))

    bulkhead, adaptive = Bulkhead("free", BulkheadConfig(max_concurrent=10)), AdaptiveConcurrency("free")
    full = Bulkhead("full", BulkheadConfig(max_concurrent=1))
    full.acquire()

    def two_locks() -> None:
        with lock:
            pass
        with lock:
            pass

    return {
        "a function that does nothing": nothing,
        LOCKS: two_locks,
        REPORT: lambda: closed.acquire().success(),
        GUARDED: CircuitBreaker("guarded")(nothing),
        SMALL_WINDOW: windowed(10),
        LARGE_WINDOW: windowed(10_000),
        "breaker: refusal as a value": refusing.try_acquire,
        CIRCUITBREAKER: circuitbreaker.circuit(name="guarded")(nothing),
        PYBREAKER: pybreaker.CircuitBreaker()(nothing),
        RETRY: retry(nothing),
        TENACITY: tenacity.retry(stop=tenacity.stop_after_attempt(3))(nothing),
        STAMINA: stamina.retry(on=OSError)(nothing),
        "policy: retry + breaker": Policy.compose(Retry(), CircuitBreaker("composed"))(nothing),
        "rate limiter: granted": limiter.try_acquire,
        BULKHEAD: lambda: bulkhead.acquire().release(),
        "bulkhead: refusal as a value": full.try_acquire,
        ADAPTIVE: lambda: adaptive.acquire().release(pushback=False),
        "calculate_delay": lambda: calculate_delay(3, config, random),
        "budget: credit when full": budget.credit,
        "cooldowns: nothing is off": lambda: cooldowns.admit("key", "model"),
        "latency: add": lambda: latency.add(random.random()),
    }


def with_threads(operation: Callable[[], object], threads: int, count: int) -> float:
    """Nanoseconds a call takes, *count* calls being divided among *threads* that begin together."""
    together = threading.Barrier(threads + 1)

    def work() -> None:
        together.wait()
        for _ in range(count // threads):
            operation()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    together.wait()
    began = time.perf_counter_ns()
    for worker in workers:
        worker.join()
    return (time.perf_counter_ns() - began) / count


def slowdown_by_threads() -> float:
    """How many times as long a guarded call takes with eight threads at one breaker as with one: the median round."""
    guarded = CircuitBreaker("threads")(nothing)
    return statistics.median(
        with_threads(guarded, THREADS, THREAD_COUNT) / with_threads(guarded, 1, THREAD_COUNT)
        for _ in range(THREAD_ROUNDS)
    )


def main() -> int:
    """Measure, print the table and the goals, and return the exit code."""
    figures = interleaved(operations(), rounds=ROUNDS, count=COUNT)
    print(f"{'operation':32}{'ns':>8}{'locks':>8}   (median of {ROUNDS} interleaved rounds of {COUNT:,} calls)")
    for name, rounds in figures.items():
        print(f"{name:32}{statistics.median(rounds):8.0f}{median_ratio(rounds, figures[LOCKS]):8.2f}")
    goals = Goals()
    goals.at_most("breaker_acquire_report", median_ratio(figures[REPORT], figures[LOCKS]), 4.5)
    goals.at_most("breaker_to_circuitbreaker", median_ratio(figures[GUARDED], figures[CIRCUITBREAKER]), 1.2)
    goals.at_most("breaker_to_pybreaker", median_ratio(figures[GUARDED], figures[PYBREAKER]), 0.6)
    goals.at_most("window_10000_to_10", median_ratio(figures[LARGE_WINDOW], figures[SMALL_WINDOW]), 1.3)
    goals.at_most("retry_to_tenacity", median_ratio(figures[RETRY], figures[TENACITY]), 0.2)
    goals.at_most("threads_1_to_8", slowdown_by_threads(), 1.5)
    goals.at_most("bulkhead_acquire_release", median_ratio(figures[BULKHEAD], figures[LOCKS]), 4.5)
    goals.at_most("adaptive_acquire_release", median_ratio(figures[ADAPTIVE], figures[LOCKS]), 4.5)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
