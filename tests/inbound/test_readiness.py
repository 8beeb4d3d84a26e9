"""The health check says what a call would find, and never locks a server out for good."""

from __future__ import annotations

from typing import Any

import pytest

from failsafe.inbound.readiness import health, readiness
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.testing import answer, refusal
from tests.router_bench import BROKEN, Bench

pytestmark = pytest.mark.usefixtures("expect_logs")  # breakers that open and keys that are refused are news

REJECTED = refusal(401, "no such key", code="invalid_api_key")
TRIP_AT_ONCE: dict[str, Any] = {
    "breaker": CircuitBreakerConfig(failure_threshold=1),
    "retry": RetryConfig(max_retries=0),
}


def ready(router: Router) -> set[str]:
    return {name for name, able in readiness(router).items() if able}


def test_providers_that_nobody_has_asked_yet_are_ready() -> None:
    bench = Bench(answer(), answer())
    assert health(bench.router) == (200, {"status": "ok", "providers": {"ready": 2, "all": 2}})


def test_one_provider_that_works_is_enough() -> None:
    bench = Bench(BROKEN, answer(), **TRIP_AT_ONCE)
    bench.ask()
    assert health(bench.router) == (200, {"status": "ok", "providers": {"ready": 1, "all": 2}})


def test_with_every_breaker_open_nothing_can_answer() -> None:
    bench = Bench(BROKEN, BROKEN, **TRIP_AT_ONCE)
    bench.lose()
    assert health(bench.router) == (503, {"status": "unavailable", "providers": {"ready": 0, "all": 2}})


def test_a_breaker_that_is_due_for_a_probe_is_ready_or_no_call_would_ever_close_it() -> None:
    bench = Bench(BROKEN, **TRIP_AT_ONCE)
    bench.lose()
    bench.clock.advance(59.9)
    assert ready(bench.router) == set()
    bench.clock.advance(0.1)
    assert ready(bench.router) == {"a"}


def test_a_breaker_that_a_person_opened_stays_shut() -> None:
    bench = Bench(answer(), answer())
    bench.router.breakers.get("a").force_open()
    bench.clock.advance(1e6)
    assert ready(bench.router) == {"b"}


def test_one_model_that_works_keeps_its_provider_ready() -> None:
    bench = Bench((BROKEN, answer()), breaker_scope="model", **TRIP_AT_ONCE)
    bench.lose(model="gpt-4.1")
    assert ready(bench.router) == set()
    bench.ask(model="gpt-4.1-mini")
    assert ready(bench.router) == {"a"}


def test_a_provider_whose_only_key_is_rejected_is_not_ready() -> None:
    bench = Bench(REJECTED)
    bench.lose()
    assert ready(bench.router) == set()


def test_a_provider_is_ready_while_one_of_its_keys_is() -> None:
    bench = Bench((REJECTED, answer()), each={"a": {"api_key": ["first", "second"]}})
    bench.ask()
    assert ready(bench.router) == {"a"}


def test_a_model_that_is_gone_takes_no_provider_out() -> None:
    bench = Bench(refusal(404, "no such model", code="model_not_found"))
    bench.lose()
    assert bench.router.stats()["a"]["put_off"]
    assert ready(bench.router) == {"a"}


def test_a_provider_that_is_drained_is_not_ready() -> None:
    bench = Bench(answer(), answer())
    bench.router.drain("a")
    assert ready(bench.router) == {"b"}
    bench.router.resume("a")
    assert ready(bench.router) == {"a", "b"}
