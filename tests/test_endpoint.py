"""What a router keeps of one provider, and what it makes of an answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from failsafe.cooldown import Blocked
from failsafe.events import PutOff
from failsafe.faults import Fault
from failsafe.health import ProviderStatus
from failsafe.models import Adjustment, Failure
from failsafe.policy_config import CircuitBreakerConfig
from failsafe.testing import answer
from failsafe.transport.base import RawAnswer
from tests.router_bench import BROKEN, LIMITED, Bench, failing

pytestmark = pytest.mark.usefixtures("expect_logs")


def body(content: bytes, status: int = 200) -> RawAnswer:
    return RawAnswer(status=status, headers={}, body=content)


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (body(b""), "HTTP 200 with an empty body"),
        (body(b" \r\n\t "), "HTTP 200 with an empty body"),
        (body(b"", 204), "HTTP 204 with an empty body"),
        (body(b"<!DOCTYPE html><p>hi"), "HTTP 200 with HTML instead of JSON"),
        (body(b"  <HTML>"), "HTTP 200 with HTML instead of JSON"),
        (body(b'<?xml version="1.0"?>'), "HTTP 200 with HTML instead of JSON"),
        (body(b'{"choices": [{"mess'), "HTTP 200 with 19 bytes that are not JSON"),
        (body(b"\xff\xfe\x00"), "HTTP 200 with 3 bytes that are not JSON"),
        (body(b"[" * 100_000), "HTTP 200 with 100000 bytes that are not JSON"),
    ],
)
def test_a_success_that_is_no_json_is_named_and_fails_over(raw: RawAnswer, what: str) -> None:
    bench = Bench(raw, answer())
    attempt = bench.ask().attempts[0]
    assert (attempt.fault, attempt.message, attempt.maybe_billed) == (Fault.MALFORMED, what, True)
    assert (attempt.status, attempt.bytes_received) == (raw.status, len(raw.body))


@pytest.mark.parametrize("document", [None, 1, "text", [], {}, {"choices": None}, {"choices": [None]}, {"choices": {}}])
def test_json_of_any_shape_is_a_failure_and_never_an_exception(document: Any) -> None:
    bench = Bench(body(msgspec.json.encode(document)), answer())
    assert bench.ask().attempts[0].fault in (Fault.MALFORMED, Fault.SERVER)


def test_an_answer_that_no_reader_foresaw_costs_the_attempt_and_not_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(answer(), answer())

    class Dialect:
        name = "openai"
        build = bench.endpoint().dialect.build

        def read(self, body: object, target: object) -> object:
            raise IndexError("list index out of range")

    monkeypatch.setattr(bench.endpoint(), "dialect", Dialect())
    reply = bench.ask()
    assert reply.provider == "b"
    assert reply.attempts[0].message == "HTTP 200 with an answer that could not be read (IndexError)"


def test_an_error_inside_a_success_is_recognised() -> None:
    limited = {"error": {"message": "Rate limit reached", "code": "rate_limit_exceeded"}}
    bench = Bench(body(msgspec.json.encode(limited)), answer())
    assert bench.ask().attempts[0].fault is Fault.RATE_LIMIT


def test_the_key_shows_in_no_failure_even_when_the_server_echoes_it() -> None:
    key = "sk-secret-0123456789abcdef"
    echo = {"error": {"message": f"no: {key}", "code": "server_error"}, "choices": []}
    bench = Bench(body(msgspec.json.encode(echo)), answer(), of_provider={"api_key": key})
    reply = bench.ask()
    for text in (str(reply.attempts), str(bench.events), str(bench.router.stats()), repr(bench.endpoint())):
        assert key not in text


def test_the_stats_count_attempts_and_name_every_fault() -> None:
    bench = Bench((BROKEN, answer(), LIMITED), answer())
    for _ in range(3):
        bench.ask()
    stats = bench.router.stats()["a"]
    assert (stats["requests"], stats["successes"], stats["failures"]) == (3, 1, 2)
    assert stats["success_rate"] == pytest.approx(1 / 3)
    assert stats["faults"] == {"server": 1, "rate_limit": 1}
    assert stats["last_fault"].startswith("HTTP 429")
    assert [row["fault"] for row in stats["put_off"]] == ["rate_limit"]
    assert stats["p95_ms"] == 0
    assert stats["retry_budget"] == 10


def test_the_stats_of_a_provider_never_asked() -> None:
    stats = Bench(answer()).router.stats()["a"]
    assert stats["status"] == "unknown"
    assert stats["success_rate"] is None
    assert stats["p95_ms"] is None


def test_the_status_follows_breaker_keys_and_models() -> None:
    bench = Bench((LIMITED, answer()), answer(), of_provider={"api_key": ["k1-x", "k2-x"]})
    endpoint = bench.endpoint()
    assert endpoint.status() is ProviderStatus.UNKNOWN
    bench.ask()
    assert endpoint.status() is ProviderStatus.DEGRADED
    bench.clock.advance(30)
    assert endpoint.status() is ProviderStatus.HEALTHY
    for key in endpoint.config.keys:
        endpoint.put_off(failing(Fault.AUTH), key, "gpt-4.1")
    assert endpoint.status() is ProviderStatus.DOWN
    bench.router.reset()
    endpoint.admission.breaker("m").force_open()
    assert endpoint.status() is ProviderStatus.DOWN


def test_a_reset_forgets_everything_learnt_against_the_provider() -> None:
    bench = Bench(BROKEN)
    endpoint = bench.endpoint()
    endpoint.learn_refusals("m", {"seed"}, ())
    endpoint.put_off(failing(Fault.AUTH), endpoint.config.keys[0], "m")
    endpoint.admission.breaker("m").trip()
    while endpoint.admission.budget.try_spend():
        pass
    endpoint.reset()
    assert endpoint.target("m").refused == frozenset()
    assert endpoint.blocked("m") is None
    assert str(endpoint.admission.breaker("m").state) == "closed"
    assert endpoint.admission.budget.available == 10
    assert isinstance(endpoint.put_off(failing(Fault.AUTH), endpoint.config.keys[0], "m"), PutOff)


def test_a_provider_without_a_key_has_scopes_too() -> None:
    endpoint = Bench(answer(), each={"a": {"api_key": None}}).endpoint()
    assert endpoint.config.keys == ()
    assert endpoint.key_for("m") is None
    news = endpoint.put_off(failing(Fault.AUTH), None, "m")
    assert news is not None
    assert news.key is None
    assert endpoint.status() is ProviderStatus.DOWN
    assert isinstance(endpoint.key_for("m"), Blocked)


def test_what_is_remembered_of_models_is_bounded_and_works_beyond_the_bound() -> None:
    bench = Bench(answer(), of_provider={"api_key": ["k1-x", "k2-x"]})
    endpoint = bench.endpoint()
    for number in range(400):
        model = f"m-{number}"
        assert endpoint.target(model).model == model
        endpoint.learn_refusals(model, {"seed"}, ())
        assert endpoint.key_for(model) in endpoint.config.keys
    assert len(endpoint._targets) == len(endpoint._turns) == 256
    assert endpoint.target("m-0").refused == {"seed"}
    assert endpoint.target("m-399").refused == frozenset()
    assert endpoint.target("m-399") == endpoint.target("m-399")


def test_what_is_remembered_of_alerts_is_bounded() -> None:
    bench = Bench(answer())
    endpoint = bench.endpoint()
    for number in range(300):
        assert endpoint.put_off(failing(Fault.MODEL), endpoint.config.keys[0], f"m-{number}") is not None
    assert len(endpoint._told_until) <= 256


def test_a_refusal_known_already_is_not_renewed_by_a_further_call() -> None:
    bench = Bench(answer())
    endpoint = bench.endpoint()
    endpoint.learn_refusals("m", {"seed"}, ())
    bench.clock.advance(3000)
    endpoint.learn_refusals("m", {"seed"}, ())
    bench.clock.advance(700)
    assert endpoint.target("m").refused == frozenset()


def test_a_limit_on_the_length_that_had_to_go_is_not_learnt_and_the_rest_is() -> None:
    endpoint = Bench(answer()).endpoint()
    gone = Adjustment(parameter="max_tokens", action="dropped", detail="")
    endpoint.learn_refusals("m", {"max_tokens", "max_completion_tokens", "seed"}, (gone,))
    assert endpoint.target("m").refused == {"seed"}


def test_local_servers_name_their_models_as_they_like() -> None:
    bench = Bench(answer(model="whatever.gguf"), of_provider={"preset": "ollama"})
    assert not bench.endpoint().notice_substitute("m", "whatever.gguf")


def test_counts_add_up_under_threads() -> None:
    bench = Bench(lambda request: answer() if request.body["seed"] % 3 else BROKEN, answer(),
                  breaker=CircuitBreakerConfig(failure_threshold=10_000))  # fmt: skip

    def work(number: int) -> None:
        bench.ask(seed=number)
        bench.router.stats()
        repr(bench.router)
        if number % 50 == 0:
            bench.router.reset()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(900)))
    stats = bench.router.stats()["a"]
    assert (stats["requests"], stats["failures"]) == (900, 300)


def test_the_lock_of_a_forked_child_is_free() -> None:
    endpoint = Bench(answer()).endpoint()
    endpoint._lock.acquire()
    endpoint._after_fork()
    assert endpoint.stats()["requests"] == 0


def test_of_several_blocked_keys_the_first_to_come_back_is_named() -> None:
    endpoint = Bench(answer(), of_provider={"api_key": ["k1-x", "k2-x", "k3-x"]}).endpoint()
    for key, hint in zip(endpoint.config.keys, (10.0, 30.0, 20.0), strict=True):
        endpoint.put_off(failing(Fault.RATE_LIMIT, retry_after=hint), key, "m")
    for _ in range(3):
        blocked = endpoint.key_for("m")
        assert isinstance(blocked, Blocked)
        assert 10 <= blocked.retry_after <= 11


def test_a_failure_of_the_transport_passes_through() -> None:
    failure = Failure(fault=Fault.NETWORK, message="connection refused")
    bench = Bench(failure, answer())
    assert bench.ask().attempts[0].message == "connection refused"
