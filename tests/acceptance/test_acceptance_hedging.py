"""Hedged calls over real sockets: the first answer wins, and nothing of what lost is left behind."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from failsafe.deadline import CancelToken
from failsafe.errors import CallFailed, Cancelled
from failsafe.faults import Fault
from failsafe.models import Phase
from failsafe.policy_config import HedgeConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, Behaviour, DripBody, FakeCloud
from tests.acceptance.routers import GRACE, PATIENCE, config, in_background, said_by, settles, stopwatch

HANG = BEHAVIOURS["hang"]
SOON = HedgeConfig(delay=0.05, budget=1.0)


def hedging(cloud: FakeCloud, hedge: HedgeConfig = SOON) -> Router:
    return Router(config(cloud, "openai", "anthropic", hedge=hedge))


def test_a_provider_that_hangs_costs_the_delay_and_its_socket_is_closed(cloud: FakeCloud) -> None:
    cloud["openai"].behave(HANG)
    with hedging(cloud) as router:
        took = stopwatch()
        reply = router.chat("hello", model="fast", timeout=30)
        assert took() < SOON.delay + GRACE  # type: ignore[operator]
        assert reply.content == said_by("anthropic", "hello")
        lost = next(line for line in reply.attempts if line.provider == "openai")
        assert (lost.fault, lost.phase, lost.maybe_billed) == (Fault.CANCELLED, Phase.WAIT, True)
        assert "another attempt was faster" in lost.message
        assert settles(lambda: cloud["openai"].open_connections == 0)
        assert router.stats()["openai"]["breaker"].failures == 0
        assert router.stats()["openai"]["in_flight"] == 0


def test_an_answer_that_drips_is_overtaken(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(delivery=DripBody(interval=0.05)))
    with hedging(cloud) as router:
        reply = router.chat("hello", model="fast", timeout=30)
        assert reply.provider == "anthropic"
        assert {line.phase for line in reply.attempts if line.fault} == {Phase.READ}
        assert settles(lambda: cloud["openai"].open_connections == 0)


def test_the_first_wins_when_the_hedge_hangs_and_the_hedge_is_called_off(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.3))
    cloud["anthropic"].behave(HANG)
    with hedging(cloud) as router:
        reply = router.chat("hello", model="fast", timeout=30)
        assert reply.provider == "openai"
        hedge = next(line for line in reply.attempts if line.hedge)
        assert (hedge.provider, hedge.fault, hedge.maybe_billed) == ("anthropic", Fault.CANCELLED, True)
        assert settles(lambda: cloud["anthropic"].open_connections == 0)


def test_a_healthy_connection_is_not_hurt_by_a_race_that_it_won(cloud: FakeCloud) -> None:
    cloud["openai"].behave(HANG)
    with hedging(cloud) as router:
        for _ in range(5):
            assert router.chat("hello", model="fast", timeout=30).provider == "anthropic"
        assert cloud["anthropic"].connections == 1


def test_both_hang_and_the_call_still_ends_by_its_deadline(cloud: FakeCloud) -> None:
    for name in ("openai", "anthropic"):
        cloud[name].behave(HANG)
    with hedging(cloud) as router:
        took = stopwatch()
        with pytest.raises(CallFailed) as raised:
            router.chat("hello", model="fast", timeout=0.6)
        assert took() < 0.6 + GRACE
        assert {line.provider for line in raised.value.attempts} == {"openai", "anthropic"}


def test_cancelling_closes_the_sockets_of_both(cloud: FakeCloud) -> None:
    for name in ("openai", "anthropic"):
        cloud[name].behave(HANG)
    token = CancelToken()
    with hedging(cloud) as router:
        with in_background(lambda: router.chat("hello", model="fast", timeout=30, cancel=token)) as call:
            assert cloud["anthropic"].wait_for_requests(1, PATIENCE)
            took = stopwatch()
            token.cancel()
            assert isinstance(call.exception(PATIENCE), Cancelled)
            assert took() < GRACE
        assert settles(lambda: cloud["openai"].open_connections == cloud["anthropic"].open_connections == 0)


def test_closing_the_router_joins_the_hedges(cloud: FakeCloud) -> None:
    cloud["openai"].behave(HANG)
    router = hedging(cloud)
    router.chat("hello", model="fast", timeout=30)
    assert router.close()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("failsafe-hedge")]


def test_many_threads_with_a_slow_first_provider_all_get_answers(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.4, spared_latency=0.0, every=3))
    with hedging(cloud, HedgeConfig(delay=0.05, budget=1.0)) as router, ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda _: router.chat("hello", model="fast", timeout=30), range(120)))
        assert {reply.content for reply in replies} <= {said_by("openai", "hello"), said_by("anthropic", "hello")}
        assert any(reply.provider == "anthropic" for reply in replies)
        for stats in router.stats().values():
            assert stats["in_flight"] == 0
            assert stats["breaker"].failures == 0


def test_the_budget_bounds_the_extra_requests(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.03))
    with hedging(cloud, HedgeConfig(delay=0.0, budget=0.0)) as router:
        for _ in range(10):
            router.chat("hello", model="fast", timeout=30)
        assert cloud["anthropic"].count() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_hedges_with_threads_of_its_own(cloud: FakeCloud) -> None:
    cloud["openai"].behave(HANG)
    with hedging(cloud) as router:
        router.chat("hello", model="fast", timeout=30)
        child = os.fork()
        if child == 0:
            try:
                answered = router.chat("hello", model="fast", timeout=10).provider == "anthropic"
                os._exit(0 if answered else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.usefixtures("expect_logs")
def test_a_hedge_that_fails_leaves_the_call_to_the_first(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.3))
    cloud["anthropic"].behave(BEHAVIOURS["server-error"])
    with hedging(cloud) as router:
        reply = router.chat("hello", model="fast", timeout=30)
        assert reply.provider == "openai"
        assert {(line.provider, line.fault) for line in reply.attempts} == {
            ("openai", None),
            ("anthropic", Fault.SERVER),
        }


def test_no_hedging_without_settings(cloud: FakeCloud) -> None:
    cloud["openai"].behave(Behaviour(latency=0.1))
    with Router(config(cloud, "openai", "anthropic", retry=RetryConfig())) as router:
        assert len(router.chat("hello", model="fast", timeout=30).attempts) == 1
        assert cloud["anthropic"].count() == 0
    cloud["openai"].behave(HEALTHY)
