"""Events and log records: what listeners hear, and that no listener harms a call."""

from __future__ import annotations

import functools
import logging
import threading
from collections import Counter
from typing import Any

import msgspec
import pytest

from failsafe import router as router_module
from failsafe.errors import AllProvidersFailed
from failsafe.events import AttemptFinished, CallFinished, CircuitState, Event, PutOff, StateChanged
from failsafe.faults import Fault
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.sim import BEHAVIOURS, HEALTHY, FakeCloud
from failsafe.telemetry.bus import EventBus
from tests.acceptance.routers import PATIENCE, ShiftedClock, config, said_by, stopwatch


def heard(router: Router, *calls: str, sync: bool = True) -> list[Event]:
    """The events of a call for each of *calls*."""
    events: list[Event] = []
    end = router.on_event(events.append, sync=sync)
    for prompt in calls:
        try:
            router.chat(prompt, model="fast", timeout=5)
        except AllProvidersFailed:
            continue
    end()
    return events


def test_the_events_of_a_call_carry_its_id_and_tell_its_receipt(cloud: FakeCloud) -> None:
    cloud["openai"].behave(BEHAVIOURS["server-error"])
    with Router(config(cloud)) as router:
        events = heard(router, "one", "two")
    attempts = [event for event in events if isinstance(event, AttemptFinished)]
    calls = [event for event in events if isinstance(event, CallFinished)]
    assert [type(event).__name__ for event in events] == ["AttemptFinished", "AttemptFinished", "CallFinished"] * 2
    assert [(event.attempt.provider, event.attempt.fault) for event in attempts[:2]] == [
        ("openai", Fault.SERVER),
        ("anthropic", None),
    ]
    assert [event.call_id for event in attempts] == [event.call_id for event in calls for _ in range(2)]
    assert len({event.call_id for event in calls}) == 2
    assert {(event.provider, event.asked_model, event.model, event.error, event.attempts) for event in calls} == {
        ("anthropic", "fast", "claude-haiku-4-5", None, 2)
    }


def test_a_failed_call_says_so_in_its_event(cloud: FakeCloud) -> None:
    for provider in cloud:
        provider.behave(BEHAVIOURS["server-error"])
    with Router(config(cloud, retry=RetryConfig(max_retries=0))) as router:
        *attempts, call = heard(router, "hello")
    assert isinstance(call, CallFinished)
    assert (call.provider, call.error, call.attempts, len(attempts)) == (None, "AllProvidersFailed", 3, 3)


def test_no_event_carries_the_prompt_or_the_answer(cloud: FakeCloud) -> None:
    cloud["openai"].behave(BEHAVIOURS["half-json"])
    with Router(config(cloud)) as router:
        events = heard(router, "my deepest secret")
    assert len(events) == 3
    assert "deepest" not in repr(events) + msgspec.json.encode(events).decode()


@pytest.mark.usefixtures("expect_logs")
@pytest.mark.parametrize(
    ("name", "fault", "seconds"),
    [("wrong-key", Fault.AUTH, 60), ("quota", Fault.QUOTA, 3600), ("redirect", Fault.MISCONFIGURED, 60)],
)
def test_what_a_person_must_mend_is_told_with_an_alert_and_advice(
    cloud: FakeCloud, name: str, fault: Fault, seconds: float
) -> None:
    cloud["openai"].behave(BEHAVIOURS[name])
    with Router(config(cloud)) as router:
        (put_off,) = [event for event in heard(router, "hello", "again") if isinstance(event, PutOff)]
    assert (put_off.provider, put_off.fault, put_off.alert, put_off.model) == ("openai", fault, True, None)
    assert seconds <= put_off.seconds <= 1.1 * seconds
    assert put_off.advice
    assert (put_off.key is None) == (fault is Fault.MISCONFIGURED)


def test_a_rate_limit_is_told_without_an_alert(cloud: FakeCloud) -> None:
    cloud["openai"].behave(BEHAVIOURS["rate-limit"])
    with Router(config(cloud)) as router:
        (put_off,) = [event for event in heard(router, "hello") if isinstance(event, PutOff)]
    assert (put_off.alert, put_off.model, put_off.fault) == (False, "gpt-4.1-mini", Fault.RATE_LIMIT)


@pytest.mark.usefixtures("expect_logs")
def test_a_breaker_that_opens_probes_and_closes_is_told_in_order(cloud: FakeCloud) -> None:
    clock, settings = ShiftedClock(), CircuitBreakerConfig(failure_threshold=2, success_threshold=1)
    changes: list[StateChanged] = []
    with Router(config(cloud, breaker=settings), clock=clock) as router:
        router.on_event(lambda event: changes.append(event) if isinstance(event, StateChanged) else None, sync=True)
        cloud["openai"].behave(BEHAVIOURS["server-error"])
        heard(router, "one", "two")
        cloud["openai"].behave(HEALTHY)
        clock.shift = settings.timeout
        heard(router, "three")
    assert [(change.name, change.old, change.new) for change in changes] == [
        ("openai", CircuitState.CLOSED, CircuitState.OPEN),
        ("openai", CircuitState.OPEN, CircuitState.HALF_OPEN),
        ("openai", CircuitState.HALF_OPEN, CircuitState.CLOSED),
    ]


def broken(_: Event) -> None:
    raise RuntimeError("a listener's own mistake")


@pytest.mark.parametrize("sync", [True, False])
def test_a_listener_that_fails_reaches_no_call_and_each_failure_is_logged_once(
    cloud: FakeCloud, caplog: pytest.LogCaptureFixture, sync: bool
) -> None:
    with Router(config(cloud)) as router:
        router.on_event(broken, sync=sync)
        events: list[Event] = []
        router.on_event(events.append, sync=sync)
        answers = [router.chat("hello", model="fast").content for _ in range(3)]
    assert answers == [said_by("openai", "hello")] * 3
    assert Counter(type(event) for event in events) == {AttemptFinished: 3, CallFinished: 3}
    complaints = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert Counter((record.name, record.getMessage()) for record in complaints) == {
        ("failsafe.events", "a listener failed on AttemptFinished"): 3,
        ("failsafe.events", "a listener failed on CallFinished"): 3,
    }
    assert all("a listener's own mistake" in str(record.exc_text or record.exc_info) for record in complaints)


def test_a_listener_that_blocks_delays_no_call_and_what_does_not_fit_is_dropped_and_counted(
    cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, capacity = 20, 4
    released, begun, events = threading.Event(), threading.Event(), list[Event]()

    def slow(event: Event) -> None:
        events.append(event)
        begun.set()
        released.wait(PATIENCE)

    monkeypatch.setattr(router_module, "EventBus", functools.partial(EventBus, capacity=capacity))
    with Router(config(cloud)) as router:
        router.on_event(slow)
        took = stopwatch()
        router.chat("hello", model="fast")
        assert begun.wait(PATIENCE)
        for _ in range(calls - 1):
            router.chat("hello", model="fast")
        assert took() < PATIENCE / 2
        dropped = router.dropped_events
        released.set()
    assert len(events) == 1 + capacity
    assert dropped + len(events) == 2 * calls


def test_a_listener_hears_what_was_queued_when_the_router_closes(cloud: FakeCloud) -> None:
    with Router(config(cloud)) as router:
        events: list[Event] = []
        router.on_event(events.append)
        for _ in range(10):
            router.chat("hello", model="fast")
    assert len(events) == 20


def test_a_listener_that_was_taken_off_hears_nothing_more(cloud: FakeCloud) -> None:
    with Router(config(cloud)) as router:
        events = heard(router, "one")
        router.chat("two", model="fast")
    assert len(events) == 2


def test_a_listener_may_use_the_router(cloud: FakeCloud) -> None:
    answers: list[str] = []

    def ask_once_more(router: Router, event: Event) -> None:
        if isinstance(event, CallFinished) and not answers:
            answers.append("")
            answers.append(router.chat("from the listener", model="fast").content)

    with Router(config(cloud)) as router:
        router.on_event(functools.partial(ask_once_more, router), sync=True)
        router.chat("hello", model="fast")
    assert answers[1:] == [said_by("openai", "from the listener")]


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and text of what the router logged, without ids, numbers and addresses."""
    return [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "failsafe"]


def test_what_goes_well_is_logged_for_debugging_only(cloud: FakeCloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="failsafe")
    with Router(config(cloud)) as router:
        router.chat("hello", model="fast")
    levels, texts = zip(*records(caplog), strict=True)
    assert set(levels) == {"DEBUG"}
    assert "openai answered in" in texts[0]
    assert "answered by openai in" in texts[1]


Expected = list[tuple[str, str]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("server-error", [("INFO", "openai failed after")]),
        ("rate-limit", [("INFO", "left alone for 2"), ("INFO", "openai failed after")]),
        ("wrong-key", [("WARNING", "left alone for 6"), ("INFO", "openai failed after")]),
        ("quota", [("WARNING", "left alone for 6"), ("INFO", "openai failed after")]),
    ],
)
def test_failed_attempts_and_cooldowns_are_logged_by_urgency(
    cloud: FakeCloud, caplog: pytest.LogCaptureFixture, name: str, expected: Expected
) -> None:
    caplog.set_level(logging.INFO, logger="failsafe")
    cloud["openai"].behave(BEHAVIOURS[name])
    with Router(config(cloud)) as router:
        router.chat("hello", model="fast")
    found = records(caplog)
    assert [level for level, _ in found] == [level for level, _ in expected]
    assert all(part in text for (_, text), (_, part) in zip(found, expected, strict=True))


def test_an_opening_breaker_is_a_warning_and_a_failed_call_is_not(
    cloud: FakeCloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="failsafe")
    cloud["openai"].behave(BEHAVIOURS["server-error"])
    settings: dict[str, Any] = {
        "breaker": CircuitBreakerConfig(failure_threshold=1),
        "retry": RetryConfig(max_retries=0),
    }
    with Router(config(cloud, "openai", **settings)) as router, pytest.raises(AllProvidersFailed):
        router.chat("hello", model="fast")
    levels = {text.split("openai")[0]: level for level, text in records(caplog)}
    assert levels["breaker "] == "WARNING"
    assert records(caplog)[-1][0] == "INFO"
    assert "failed with AllProvidersFailed after 1 attempts" in records(caplog)[-1][1]


def ids_of(texts: list[str]) -> set[str]:
    return {text.split()[0] for text in texts if text.startswith("call-")}


def test_the_records_of_one_call_share_an_id(cloud: FakeCloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="failsafe")
    cloud["openai"].behave(BEHAVIOURS["server-error"])
    with Router(config(cloud)) as router:
        router.chat("hello", model="fast")
        first = ids_of([text for _, text in records(caplog)])
        caplog.clear()
        router.chat("hello", model="fast")
        second = ids_of([text for _, text in records(caplog)])
    assert (len(first), len(second), first & second) == (1, 1, set())
