"""That a call begins is told to those who want to hear it, and whatever has begun is said to end, once."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import pytest

from failsafe.errors import AllProvidersFailed, RouterClosed
from failsafe.events import AttemptFinished, CallFinished, CallStarted, Event
from failsafe.policy_config import RetryConfig
from failsafe.telemetry.bus import EventBus
from failsafe.testing import answer, streaming
from tests.router_bench import BROKEN, Bench

LOST: dict[str, Any] = {"retry": RetryConfig(max_retries=0)}


def heard(bench: Bench) -> list[Event]:
    seen: list[Event] = []
    bench.router.on_event(seen.append, sync=True, starts=True)
    return seen


def test_a_call_begins_before_anything_is_sent_and_only_those_who_asked_are_told() -> None:
    bench = Bench(answer())
    seen = heard(bench)
    bench.ask(tag="nightly")
    started, attempt, finished = seen
    assert isinstance(started, CallStarted)
    assert isinstance(attempt, AttemptFinished)
    assert isinstance(finished, CallFinished)
    assert started.call_id == attempt.call_id == finished.call_id
    assert (started.asked_model, started.operation, started.stream, started.tag) == (
        "gpt-4.1",
        "chat",
        False,
        "nightly",
    )
    assert started.at == bench.clock.time()
    assert not [event for event in bench.events if isinstance(event, CallStarted)]


def test_a_stream_and_embeddings_say_what_they_are() -> None:
    bench = Bench((streaming("Hel", "lo"), BROKEN), **LOST)
    seen = heard(bench)
    list(bench.router.stream("hi", model="gpt-4.1"))
    with contextlib.suppress(AllProvidersFailed):
        bench.router.embed("hi", model="text-embedding-3-small")
    starts = [event for event in seen if isinstance(event, CallStarted)]
    assert [(start.operation, start.stream) for start in starts] == [("chat", True), ("embeddings", False)]


def _unable(_request: object, _error: object) -> str:
    raise LookupError("no last answer either")


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_whose_last_answer_fails_ends_all_the_same(stream: bool) -> None:
    bench = Bench(BROKEN, fallback=_unable, **LOST)
    seen = heard(bench)
    with pytest.raises(LookupError):
        (bench.router.stream if stream else bench.router.chat)("hi", model="gpt-4.1")
    (finished,) = [event for event in seen if isinstance(event, CallFinished)]
    assert (finished.error, finished.provider) == ("AllProvidersFailed", None)


def test_a_call_that_a_closed_router_refuses_has_not_begun() -> None:
    bench = Bench(answer())
    seen = heard(bench)
    assert not bench.router.closed
    bench.router.close()
    assert bench.router.closed
    with pytest.raises(RouterClosed):
        bench.ask()
    with pytest.raises(RouterClosed):
        bench.router.stream("hi", model="gpt-4.1")
    assert seen == []


def test_a_listener_that_is_interrupted_at_the_start_ends_the_call() -> None:
    bench = Bench(answer())
    seen = heard(bench)

    def interrupted(event: Event) -> None:
        if isinstance(event, CallStarted):
            raise KeyboardInterrupt

    bench.router.on_event(interrupted, sync=True, starts=True)
    with pytest.raises(KeyboardInterrupt):
        bench.ask()
    assert [type(event) for event in seen] == [CallStarted, CallFinished]


def test_a_plain_listener_hears_of_beginnings_on_the_thread_of_the_bus() -> None:
    bus, seen = EventBus(), []
    ends = bus.subscribe(lambda event: seen.append((event, threading.current_thread().name)), starts=True)
    bus.subscribe(lambda event: seen.append((event, "not asked for")))
    started = CallStarted(at=0.0, call_id="call-1-1", asked_model="m")
    assert bus.starts
    bus.emit_start(started)
    bus.close()
    assert seen == [(started, "failsafe-events")]
    ends()
    assert not bus.starts
    assert bus.active
