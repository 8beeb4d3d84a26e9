"""
What hedging does to the slowest calls, and what it costs in requests.

Two fake providers on loopback. One call in forty takes the first one twenty times as long as usual. Calls
with and without hedging take turns, so that a noisy moment of the machine hits both; the first ones, which
fill the window of 1,000 calls that the delay is taken from, are not counted. Run it from the repository's
root: ``python benchmarks/tail.py``.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from measure import Goals

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.policy_config import HedgeConfig
from failsafe.router import Router
from failsafe.sim import Behaviour, FakeCloud

USUAL, SLOW, EVERY = 0.02, 0.4, 40
WINDOW = 1000
CALLS = 4000
THREADS = 4


def router(cloud: FakeCloud, hedge: HedgeConfig | None) -> Router:
    """A router over the providers of *cloud*."""
    providers = [ProviderConfig(name=each.name, base_url=each.base_url, api_key=each.key) for each in cloud]
    return Router(RouterConfig(providers=providers, hedge=hedge))


def seconds(asked: Router) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    asked.chat("hi", model="gpt-4.1-mini", timeout=10)
    return time.perf_counter() - began


def quantile(times: list[float], share: float) -> float:
    """The time within which that *share* of the calls ended."""
    return sorted(times)[round(share * len(times)) - 1]


def requests(cloud: FakeCloud) -> int:
    """How many requests the providers of *cloud* were sent."""
    return sum(each.count() for each in cloud)


def main() -> int:
    """Measure, print the table and the goals, and return the exit code."""
    goals = Goals()
    usual = Behaviour(latency=USUAL, latency_jitter=USUAL / 4)
    slow_sometimes = Behaviour(latency=SLOW, spared_latency=USUAL, latency_jitter=USUAL / 4, every=EVERY)
    hedge = HedgeConfig(window_size=WINDOW)
    with FakeCloud.of("openai", "azure") as plain_cloud, FakeCloud.of("openai", "azure") as hedged_cloud:
        for cloud in (plain_cloud, hedged_cloud):
            cloud["openai"].behave(slow_sometimes)
            cloud["azure"].behave(usual)
        with router(plain_cloud, None) as plain, router(hedged_cloud, hedge) as hedged:
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(seconds, [hedged] * WINDOW))
                before = requests(hedged_cloud)
                times = list(pool.map(seconds, [plain, hedged] * CALLS))
            extra = (requests(hedged_cloud) - before) / CALLS - 1
    without, with_hedges = times[::2], times[1::2]
    print(f"{CALLS:,} calls each, one in {EVERY} of the first provider's slowed to {SLOW / USUAL:g} times the usual")
    print(f"{'':12}{'p50 ms':>9}{'p95 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for name, measured in (("plain", without), ("hedged", with_hedges)):
        figures = [quantile(measured, share) * 1000 for share in (0.5, 0.95, 0.99, 1.0)]
        print(f"{name:12}" + "".join(f"{figure:9.1f}" for figure in figures))
    goals.at_least("p99_cut", quantile(without, 0.99) / quantile(with_hedges, 0.99), 5)
    goals.at_most("extra_requests", extra, 0.06)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
