"""Calls with ``progress``: asked for as streams and put together, so that silence is noticed at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import Deadline
from failsafe.errors import ContentFiltered, DeadlineExceeded, InvalidRequest
from failsafe.events import AttemptFinished, CallFinished
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.policy_config import AttemptLimitConfig, CircuitBreakerConfig, HedgeConfig, StreamConfig
from failsafe.request import build_request
from failsafe.router import Router
from failsafe.testing import (
    RecordedEvents,
    ScriptedTransport,
    SentRequest,
    StreamScript,
    answer,
    failing,
    hanging,
    stalling,
    streaming,
)
from tests.router_bench import Bench
from tests.stream_bench import CUT, FILTERED, OVERLOADED, after, delta, nothing_is_held, playing
from tests.test_failover_safety import on_trial
from tests.test_stream import TOOLS, WHOLE_AND_STREAMED, comparable

pytestmark = pytest.mark.usefixtures("expect_logs")

LONG = 10.0
"""Seconds after which a test has failed that waits for a thread."""


def lasting(bench: Bench, first: float, *others: float) -> StreamScript:
    """An answer whose pieces come after so many seconds each."""
    return streaming(*(after(bench, seconds, delta(content="x")) for seconds in (first, *others)))


@pytest.mark.parametrize("name", WHOLE_AND_STREAMED)
def test_the_reply_is_what_a_plain_call_gives(name: str) -> None:
    at_once, streamed = WHOLE_AND_STREAMED[name]
    arguments: dict[str, Any] = {"tools": TOOLS} if name == "tool calls" else {}
    reply = Bench(streamed).ask(progress=True, **arguments)
    assert comparable(reply) == comparable(Bench(at_once).ask(**arguments))


@pytest.mark.parametrize(
    ("of_router", "of_call", "streams"),
    [(False, None, False), (False, True, True), (True, None, True), (True, False, False), (True, True, True)],
)
def test_it_is_a_setting_and_a_call_may_say_otherwise(of_router: bool, of_call: bool | None, streams: bool) -> None:
    bench = Bench(
        lambda request: streaming("Hello") if "stream" in request.body else answer("Hello"), progress=of_router
    )
    arguments: dict[str, Any] = {} if of_call is None else {"progress": of_call}
    request = build_request("hi", "gpt-4.1", {}, None)
    assert bench.ask(**arguments).content == "Hello"
    assert bench.router.chat_completion(request.messages, model="gpt-4.1", **arguments).content == "Hello"
    assert bench.router.ask(request, options=arguments).content == "Hello"
    assert [request.body.get("stream", False) for request in bench.transports["a"].requests] == [streams] * 3


def test_what_is_neither_yes_nor_no_is_refused() -> None:
    error = Bench(streaming("x")).lose(progress="yes")
    assert isinstance(error, InvalidRequest)
    assert "progress = 'yes': True or False is needed" in str(error)


def test_the_receipt_says_when_the_first_content_came() -> None:
    bench = playing(lambda bench: lasting(bench, 0.5, 2))
    recorded = RecordedEvents()
    bench.router.on_event(recorded, sync=True)
    (attempt,) = bench.ask(progress=True).attempts
    assert attempt.first_content_ms == pytest.approx(500)
    assert attempt.latency_ms == pytest.approx(2500)
    assert [event.attempt for event in recorded.of(AttemptFinished)] == [attempt]
    assert [event.error for event in recorded.of(CallFinished)] == [None]


# A hang, and a long answer.


def warmed(scripts: list[Any], *others: Any, first: float = 0.1, **settings: Any) -> Bench:
    """A bench whose provider a is known from twenty answers; *scripts* come after them."""
    bench: Bench
    warm = [lambda request: lasting(bench, first)] * 20
    bench = Bench((*warm, *scripts), *others, **settings)
    for _ in warm:
        bench.ask(progress=True, only="a")
    return bench


def test_a_hang_costs_a_few_usual_latencies() -> None:
    bench: Bench
    bench = warmed([lambda request: hanging(bench.clock)(request)], streaming("from b"))
    began = bench.clock.monotonic()
    reply = bench.ask(progress=True, timeout=60)
    assert reply.content == "from b"
    assert bench.clock.monotonic() - began == pytest.approx(1.0)  # the floor; four times the usual is less
    assert [attempt.fault for attempt in reply.attempts] == [Fault.TIMEOUT, None]
    assert bench.breaker().streak == 1


def test_pings_do_not_hide_a_hang() -> None:
    bench: Bench
    pings = [lambda limit: after(bench, 0.3, b": ping\n\n")(limit)] * 50
    bench = warmed([streaming(*pings)], streaming("from b"), attempt_limit=AttemptLimitConfig(floor=0))
    began = bench.clock.monotonic()
    assert bench.ask(progress=True, timeout=60).content == "from b"
    assert bench.clock.monotonic() - began == pytest.approx(0.4)


@pytest.mark.parametrize("settings", [{"attempt_limit": AttemptLimitConfig(enabled=False)}, {"progress": False}])
def test_without_the_limit_or_without_progress_a_hang_costs_the_providers_timeout(settings: dict[str, Any]) -> None:
    bench: Bench
    bench = warmed(
        [lambda request: hanging(bench.clock)(request)],
        lambda request: streaming("from b") if "stream" in request.body else answer("from b"),
        **settings,
    )
    began = bench.clock.monotonic()
    assert bench.ask(timeout=120, **({"progress": True} if "attempt_limit" in settings else {})).content == "from b"
    assert bench.clock.monotonic() - began == pytest.approx(30)


def test_a_provider_that_is_not_known_yet_has_its_own_timeout() -> None:
    bench = playing(lambda bench: streaming(stalling(bench.clock)), streaming("from b"))
    began = bench.clock.monotonic()
    bench.ask(progress=True, timeout=120)
    assert bench.clock.monotonic() - began == pytest.approx(30)


def test_a_long_answer_is_not_cut_by_the_providers_timeout() -> None:
    bench = playing(lambda bench: lasting(bench, 1, *[5] * 20), of_provider={"timeout": 10})
    assert bench.ask(progress=True, timeout=300).content == "x" * 21
    assert bench.breaker().streak == 0


def test_a_stall_amid_an_answer_is_failed_over_unseen() -> None:
    bench = playing(
        lambda bench: streaming("Hel", stalling(bench.clock)), streaming("from b"), stream=StreamConfig(stall=3)
    )
    began = bench.clock.monotonic()
    reply = bench.ask(progress=True, timeout=60)
    assert reply.content == "from b"
    assert reply.seams == ()
    assert bench.clock.monotonic() - began == pytest.approx(3)
    stalled = reply.attempts[0]
    assert (stalled.fault, stalled.message) == (
        Fault.TIMEOUT,
        "the answer stalled: no content for 3 s (149 bytes so far)",
    )
    assert stalled.first_content_ms == 0
    assert bench.breaker().streak == 1


BREAKS = {
    "an error event": streaming("Hel", OVERLOADED, finish=None),
    "a cut": streaming("Hel", CUT, finish=None),
    "an end without a reason": streaming("Hel", finish=None),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_break_amid_an_answer_is_failed_over_unseen(name: str) -> None:
    bench = Bench(BREAKS[name], streaming("from b"))
    reply = bench.ask(progress=True)
    assert reply.content == "from b"
    assert reply.attempts[0].maybe_billed
    assert bench.breaker().streak == 1
    assert nothing_is_held(bench)


def test_a_filter_amid_an_answer_is_raised_with_what_it_let_through() -> None:
    error = Bench(streaming("Hel", FILTERED, finish=None), streaming("from b")).lose(progress=True)
    assert isinstance(error, ContentFiltered)
    assert error.partial == "Hel"


# The caller's deadline.


def test_a_provider_that_was_writing_when_the_deadline_came_is_not_to_blame() -> None:
    bench = playing(lambda bench: lasting(bench, *[0.4] * 100))
    for _ in range(6):
        assert isinstance(bench.lose(progress=True, timeout=10.2), DeadlineExceeded)
    assert bench.breaker().streak == bench.breaker().failures == 0


def test_a_provider_that_was_silent_when_the_deadline_came_is() -> None:
    bench = playing(lambda bench: streaming("Hel", stalling(bench.clock)))
    assert isinstance(bench.lose(progress=True, timeout=5), DeadlineExceeded)
    assert bench.breaker().streak == 1


def test_the_next_provider_is_left_the_time_for_a_whole_answer() -> None:
    """Its first content comes soon; an answer takes it three seconds, and that is what the first must leave."""
    bench: Bench
    known = [lambda request: lasting(bench, 0.1, 2.9)] * 5
    bench = Bench(lambda request: hanging(bench.clock)(request), (*known, lambda request: lasting(bench, 0.1, 2.5)))
    for _ in known:
        bench.ask(progress=True, only="b")
    reply = bench.ask(progress=True, timeout=8)
    assert reply.provider == "b"
    assert reply.attempts[0].latency_ms == pytest.approx(5000)


# What is held.


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError])
def test_an_interrupt_amid_an_answer_gives_back_all(kind: type[BaseException]) -> None:
    def strike(limit: Deadline) -> bytes:
        raise kind

    bench = Bench(streaming("Hel", strike), breaker=CircuitBreakerConfig(half_open_max_calls=1))
    on_trial(bench)
    with pytest.raises(kind):
        bench.ask(progress=True)
    assert nothing_is_held(bench)
    assert bench.transports["a"].streams[0].closed


# With hedging.


class Waiting:
    """A piece that does not come until its read is called off."""

    def __init__(self) -> None:
        self.called_off = threading.Event()

    def play(self, request: SentRequest) -> StreamScript:
        assert request.limits.cancel is not None
        request.limits.cancel.on_cancel(self.called_off.set)
        return streaming("Hel", self.come)

    def come(self, limit: Deadline) -> Failure:
        assert self.called_off.wait(LONG)
        return failing(Fault.CANCELLED, phase=Phase.READ, maybe_billed=True)


def test_a_slow_answer_is_hedged_and_the_slower_one_is_called_off() -> None:
    waiting = Waiting()
    providers = [
        ProviderConfig(name=name, base_url=f"https://{name}.example/v1", api_key=f"key-of-{name}") for name in "ab"
    ]
    transports = {"a": ScriptedTransport(waiting.play), "b": ScriptedTransport(streaming("from ", "b"))}
    config = RouterConfig(providers=providers, hedge=HedgeConfig(delay=0), progress=True)
    with Router(config, transport=lambda each: transports[each.name]) as router:
        reply = router.chat("hi", model="gpt-4.1")
        assert (reply.content, reply.provider) == ("from b", "b")
        assert waiting.called_off.is_set()
        lost, won = reply.attempts
        assert (lost.provider, lost.fault, lost.hedge) == ("a", Fault.CANCELLED, False)
        assert (won.provider, won.fault, won.hedge) == ("b", None, True)
        assert lost.first_content_ms is not None
        assert won.first_content_ms is not None
        assert all(stream.closed for stream in transports["a"].streams)
        assert router.stats()["a"]["in_flight"] == router.stats()["b"]["in_flight"] == 0
        assert router.breakers.get("a").stats().failures == 0
