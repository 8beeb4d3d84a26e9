"""
What a provider that hangs costs the callers, when silence is judged by what is usual.

Three fake providers on loopback, each with a usual latency of 200 ms. Twenty calls a second come in, whether
or not those before them have ended; each has a deadline of 5 s and ``progress``. After a while the first
provider accepts every request for 60 s and never answers. Run it from the repository's root:
``python benchmarks/hang.py``.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

from measure import Goals

from failsafe import AttemptLimitConfig, FailsafeError, ProviderConfig, Router, RouterConfig
from failsafe.sim import Behaviour, FakeCloud, Hang

USUAL = 0.2
RATE = 20
DEADLINE = 5.0
WARM_UP, OUTAGE = 10.0, 60.0
THREADS = RATE * int(DEADLINE)  # as many calls as can be under way if all of them hang
NAMES = ("openai", "azure", "openrouter")


def router(cloud: FakeCloud) -> Router:
    """A router over the providers of *cloud*, which all serve one model."""
    providers = [
        ProviderConfig(name=each.name, base_url=each.base_url, api_key=each.key, models=["gpt-4.1-mini"])
        for each in cloud
    ]
    return Router(RouterConfig(providers=providers, attempt_limit=AttemptLimitConfig(floor=0.5)))


def seconds(asked: Router) -> float | None:
    """How long one call takes; None if it was not answered."""
    began = time.perf_counter()
    try:
        asked.chat("hi", model="gpt-4.1-mini", timeout=DEADLINE, progress=True)
    except FailsafeError as error:
        print(error, file=sys.stderr)
        return None
    return time.perf_counter() - began


def at_a_steady_rate(asked: Router, pool: ThreadPoolExecutor, lasting: float) -> list[float | None]:
    """The times of the calls that come in over *lasting* seconds."""
    began, never = time.perf_counter(), threading.Event()
    calls: list[Future[float | None]] = []
    for number in range(int(lasting * RATE)):
        never.wait(max(0.0, began + number / RATE - time.perf_counter()))
        calls.append(pool.submit(seconds, asked))
    return [call.result() for call in calls]


def main() -> int:
    """Measure, print the table and the goals, and return the exit code."""
    goals = Goals()
    with FakeCloud.of(*NAMES) as cloud, router(cloud) as asked, ThreadPoolExecutor(THREADS) as pool:
        for each in cloud:
            each.behave(Behaviour(latency=USUAL))
        before = [took for took in at_a_steady_rate(asked, pool, WARM_UP) if took is not None]
        cloud[NAMES[0]].behave(Behaviour(delivery=Hang()))
        outage = at_a_steady_rate(asked, pool, OUTAGE)
        hung = asked.stats()[NAMES[0]]["faults"].get("timeout", 0)
    answered = sorted(took for took in outage if took is not None)
    usual = statistics.median(before)
    print(f"{len(outage)} calls in an outage of {OUTAGE:g} s; {hung} attempts met the provider that hangs")
    figures = {
        "p50": statistics.median(answered),
        "p99": answered[round(0.99 * len(answered)) - 1],
        "max": answered[-1],
    }
    print(
        f"usual {usual * 1000:.0f} ms; "
        + ", ".join(f"{name} {figure * 1000:.0f} ms" for name, figure in figures.items())
    )
    goals.at_least("answered", len(answered) / len(outage), 1)
    goals.at_most("p99_seconds", figures["p99"], 2)
    goals.at_most("mean_in_usual_latencies", statistics.mean(answered) / usual, 1.5)
    return goals.finish()


if __name__ == "__main__":
    sys.exit(main())
