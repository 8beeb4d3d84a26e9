"""Many threads on one router, many routers in one process: bounded load, no mix-up, nothing left behind."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from failsafe.budget import RetryBudget
from failsafe.errors import AllProvidersFailed, FailsafeError
from failsafe.events import CircuitState
from failsafe.faults import Fault
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import Behaviour, CutBody, Error, FakeCloud
from tests.acceptance.routers import VENDORS, ShiftedClock, config, said_by, settles, stopwatch

SICK = Behaviour(Error(fault=Fault.SERVER))

pytestmark = pytest.mark.usefixtures("expect_logs")


def failure_of(router: Router) -> type[FailsafeError] | None:
    try:
        router.chat("hello", model="fast", timeout=5)
    except FailsafeError as error:
        return type(error)
    return None


def test_a_thousand_calls_while_everything_fails_send_no_more_than_the_settings_allow(cloud: FakeCloud) -> None:
    threads, reopenings = 16, 1
    breaker, retry = CircuitBreakerConfig(), RetryConfig(base_delay=0.01, max_delay=0.02)
    for provider in cloud:
        provider.behave(SICK)
    clock = ShiftedClock()
    took = stopwatch()
    with (
        Router(config(cloud, breaker=breaker, retry=retry), clock=clock) as router,
        ThreadPoolExecutor(threads) as pool,
    ):
        outcomes = list(pool.map(failure_of, [router] * 500))
        clock.shift = breaker.timeout + 1
        outcomes += pool.map(failure_of, [router] * 500)
    assert took() < breaker.timeout, "the breakers opened by themselves in between"
    # Calls that failed before the breaker opened, and those that were under way when it did ...
    threshold = breaker.failure_threshold or 0
    first_tries = threshold - 1 + threads
    # ... which repeat themselves no more often than rounds and budget allow; no success refills that ...
    repeats = min(first_tries * retry.max_retries, int(RetryBudget().available))
    # ... and the probes of each reopening.
    bound = first_tries + repeats + reopenings * breaker.half_open_max_calls
    assert {name: cloud[name].count() for name in VENDORS if cloud[name].count() > bound} == {}
    assert all(cloud[name].count() >= threshold + reopenings for name in VENDORS)
    assert outcomes == [AllProvidersFailed] * 1000


def test_only_the_allowed_probes_reach_a_sick_provider_when_its_open_time_ends(cloud: FakeCloud) -> None:
    threads, clock, sick = 32, ShiftedClock(), cloud["openai"]
    sick.behave(Behaviour(SICK.answer, latency=0.1))
    breaker = CircuitBreakerConfig(failure_threshold=1)
    with Router(config(cloud, breaker=breaker), clock=clock) as router, ThreadPoolExecutor(threads) as pool:
        router.chat("hello", model="fast")
        assert router.breakers.get("openai").state is CircuitState.OPEN
        before, barrier = sick.count(), threading.Barrier(threads)
        clock.shift = breaker.timeout

        def ask(number: int) -> tuple[str, str]:
            barrier.wait()
            reply = router.chat(f"question {number}", model="fast", timeout=5)
            return reply.provider, reply.content

        answers = list(pool.map(ask, range(threads)))
        assert router.breakers.get("openai").stats().probes_in_flight == 0
    assert 1 <= sick.count() - before <= breaker.half_open_max_calls
    assert answers == [("anthropic", said_by("anthropic", f"question {number}")) for number in range(threads)]


def test_the_probes_of_a_recovered_provider_bring_it_back_for_everybody(cloud: FakeCloud) -> None:
    clock, sick = ShiftedClock(), cloud["openai"]
    sick.behave(Behaviour(SICK.answer, first=1))
    breaker = CircuitBreakerConfig(failure_threshold=1)
    with Router(config(cloud, breaker=breaker), clock=clock) as router, ThreadPoolExecutor(8) as pool:
        router.chat("hello", model="fast")
        clock.shift = breaker.timeout
        list(pool.map(lambda _: router.chat("hello", model="fast"), range(40)))
        assert router.breakers.get("openai").state is CircuitState.CLOSED
        assert router.chat("hello", model="fast").provider == "openai"


@pytest.mark.parametrize(
    "behaviour",
    [
        pytest.param(Behaviour(), id="healthy"),
        pytest.param(Behaviour(delivery=CutBody(), every=3), id="every third answer cut"),
        pytest.param(Behaviour(latency_jitter=0.01), id="answers overtake each other"),
    ],
)
def test_sixty_four_threads_never_get_each_others_answers(cloud: FakeCloud, behaviour: Behaviour) -> None:
    threads, calls = 64, 320
    cloud["openai"].behave(behaviour)
    settings = config(cloud, breaker=CircuitBreakerConfig(failure_threshold=10_000))

    def ask(number: int) -> bool:
        prompt = f"question {number} of {calls}"
        reply = router.chat(prompt, model="fast")
        return reply.content == said_by(reply.provider, prompt)

    with Router(settings) as router, ThreadPoolExecutor(threads) as pool:
        assert all(pool.map(ask, range(calls)))
        stats = router.stats()
    assert sum(stats[vendor]["successes"] for vendor in VENDORS) == calls
    assert {vendor: stats[vendor]["requests"] for vendor in VENDORS} == {
        vendor: cloud[vendor].count() for vendor in VENDORS
    }


def test_connections_are_reused_and_no_more_of_them_than_threads(cloud: FakeCloud) -> None:
    with Router(config(cloud)) as router, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: router.chat("hello", model="fast"), range(200)))
    assert cloud["openai"].connections <= 8


def test_two_hundred_routers_leave_no_thread_and_no_descriptor_behind(cloud: FakeCloud) -> None:
    def use_one() -> str:
        with Router(config(cloud)) as router:
            return router.chat("hello", model="fast").content

    use_one()
    threads, descriptors = own_threads(), settled_descriptors(cloud)
    assert {use_one() for _ in range(200)} == {said_by("openai", "hello")}
    assert own_threads() == threads
    assert settled_descriptors(cloud) <= descriptors
    assert cloud["openai"].connections == 201


def test_routers_leave_no_memory_behind(cloud: FakeCloud) -> None:
    """What a forgotten router still weighs is held against what one weighs that is kept."""

    def use(routers: int, kept: list[Router]) -> int:
        for _ in range(routers):
            with Router(config(cloud)) as router:
                router.chat("hello", model="fast")
            kept.append(router)
        return weight()

    def weight() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        kept: list[Router] = []
        use(20, [])
        before = weight()
        each_kept = (use(20, kept) - before) / 20
        kept.clear()
        before = weight()
        for _ in range(5):
            use(20, [])
        each_forgotten = (weight() - before) / 100
    finally:
        tracemalloc.stop()
    assert each_forgotten < each_kept / 4, "the servers' own record of its request is in both"


def test_a_router_that_nobody_closed_leaves_nothing_behind(cloud: FakeCloud) -> None:
    before = settled_descriptors(cloud)
    for _ in range(5):
        Router(config(cloud)).chat("hello", model="fast")
    gc.collect()
    assert settled_descriptors(cloud) <= before


def own_threads() -> list[str]:
    """The names of the threads that are no fake provider's."""
    return sorted(thread.name for thread in threading.enumerate() if not thread.name.startswith("failsafe-sim-"))


def settled_descriptors(cloud: FakeCloud) -> int:
    """Open descriptors of this process, once the servers have seen their clients go."""
    assert settles(lambda: all(provider.open_connections == 0 for provider in cloud))
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208
