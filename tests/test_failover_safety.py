"""Nothing a call holds is lost on any way out, and everybody hears of what happened."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from failsafe.breaker import CircuitBreaker
from failsafe.clock import Random
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import AllProvidersFailed, Cancelled, DeadlineExceeded, InvalidRequest
from failsafe.events import AttemptFinished, CallFinished, CircuitState, Event, PutOff, StateChanged
from failsafe.faults import Fault
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.router import Router
from failsafe.testing import Outcome, ScriptedTransport, SentRequest, answer, refusal
from tests.router_bench import BROKEN, Bench, failing

pytestmark = pytest.mark.usefixtures("expect_logs")

INTERRUPTIONS = [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit, ZeroDivisionError]


def throwing(kind: type[BaseException]) -> Callable[[SentRequest], Outcome]:
    def play(request: SentRequest) -> Outcome:
        raise kind

    return play


def nothing_is_held(bench: Bench) -> bool:
    """A probe is admitted, a key on trial is admitted, and no call counts as under way."""
    endpoint = bench.endpoint()
    free = endpoint.key_for("gpt-4.1") is endpoint.config.keys[0]
    endpoint.give_back(endpoint.config.keys[0], "gpt-4.1")
    return free and bench.breaker().probes_in_flight == 0 and bench.router._gate.inside == 0


def on_trial(bench: Bench) -> None:
    """Bring breaker and key to where exactly one call finds out whether they work again."""
    endpoint = bench.endpoint()
    endpoint.put_off(failing(Fault.AUTH), endpoint.config.keys[0], "gpt-4.1")
    bench.clock.advance(10)
    bench.open_breaker()


ONE_PROBE = CircuitBreakerConfig(half_open_max_calls=1)


@pytest.mark.parametrize("kind", INTERRUPTIONS)
def test_an_interrupted_attempt_gives_back_the_probe_and_the_trial(kind: type[BaseException]) -> None:
    bench = Bench(throwing(kind), breaker=ONE_PROBE)
    on_trial(bench)
    with pytest.raises(kind):
        bench.ask()
    assert nothing_is_held(bench)
    assert bench.breaker().state is CircuitState.HALF_OPEN


@pytest.mark.parametrize("outcome", [answer(), failing(Fault.CONFLICT), failing(Fault.RATE_LIMIT, whole_key=True)])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_a_sync_listener_that_ends_the_program_leaves_nothing_held(kind: type[BaseException], outcome: Outcome) -> None:
    bench = Bench(outcome, breaker=ONE_PROBE)
    on_trial(bench)

    def listener(event: Event) -> None:
        raise kind

    bench.router.on_event(listener, sync=True)
    with pytest.raises(kind):
        bench.ask()
    assert bench.breaker().probes_in_flight == 0
    assert bench.router._gate.inside == 0
    assert all(row["fault"] != "auth" for row in bench.router.stats()["a"]["put_off"])


def test_a_sync_listener_that_fails_reaches_no_call() -> None:
    bench = Bench(BROKEN, answer())

    def listener(event: Event) -> None:
        raise ValueError("mine")

    bench.router.on_event(listener, sync=True)
    assert bench.ask().provider == "b"


@pytest.mark.parametrize("place", ["monotonic", "time"])
def test_an_interrupt_anywhere_in_an_attempt_leaves_nothing_held(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt strikes at every look at the clock in turn."""
    strikes = 0
    for number in range(60):
        bench = Bench(answer(), breaker=ONE_PROBE)
        on_trial(bench)
        looks = iter(range(number))
        original = getattr(bench.clock, place)

        def look(looks: object = looks, original: Callable[[], float] = original) -> float:
            if next(looks, None) is None:  # type: ignore[call-overload]
                monkeypatch.undo()
                raise KeyboardInterrupt
            return original()

        monkeypatch.setattr(bench.clock, place, look)
        try:
            bench.ask()
        except KeyboardInterrupt:
            strikes += 1
        monkeypatch.undo()
        assert bench.breaker().probes_in_flight == 0
        assert bench.router._gate.inside == 0
    assert strikes > 1


def test_a_breaker_that_refuses_at_the_last_moment_gives_the_key_back(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(answer(), answer())
    on_trial(bench)
    monkeypatch.setattr(CircuitBreaker, "try_acquire", lambda breaker: None if breaker.name == "a" else _free(breaker))
    assert bench.ask().provider == "b"
    monkeypatch.undo()
    assert nothing_is_held(bench)


def _free(breaker: CircuitBreaker) -> object:
    return breaker._circuit.admit()


def test_a_key_is_tried_by_one_call_of_many_after_its_time_off() -> None:
    asked, arrived, release = [], threading.Event(), threading.Event()

    def play(request: SentRequest) -> Outcome:
        asked.append(request)
        arrived.set()
        release.wait(10)
        return answer("from a")

    bench = Bench(play, answer("from b"))
    endpoint = bench.endpoint()
    endpoint.put_off(failing(Fault.AUTH), endpoint.config.keys[0], "gpt-4.1")
    bench.clock.advance(70)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(bench.ask)
        assert arrived.wait(10)
        others = [pool.submit(bench.ask) for _ in range(7)]
        assert {other.result(10).provider for other in others} == {"b"}
        release.set()
        assert first.result(10).provider == "a"
    assert len(asked) == 1


def test_sixteen_threads_and_a_thousand_calls_while_all_fail_keep_every_bound() -> None:
    bench = Bench(BROKEN, BROKEN, retry=RetryConfig(max_retries=1, base_delay=0))
    bench.router.on_event(bench.events.append)

    def call(_: int) -> None:
        bench.lose(timeout=0.5)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(call, range(1000)))
    for name in ("a", "b"):
        stats = bench.breaker(name)
        assert stats.probes_in_flight == 0
        # The threshold, the calls in flight when it was reached, and each one's second try.
        assert bench.asked()[name] <= 2 * (5 + 16)
        figures = bench.router.stats()[name]
        assert figures["requests"] == bench.asked()[name] == figures["failures"] == sum(figures["faults"].values())
    assert bench.router._gate.inside == 0
    assert bench.router.close()


# Events.


def kinds(bench: Bench) -> list[str]:
    return [type(event).__name__ for event in bench.events]


def test_an_answered_call_is_told_attempt_by_attempt_in_order_under_one_id() -> None:
    bench = Bench(failing(Fault.AUTH), answer())
    reply = bench.ask()
    assert kinds(bench) == ["PutOff", "AttemptFinished", "AttemptFinished", "CallFinished"]
    attempts = [event for event in bench.events if isinstance(event, AttemptFinished)]
    end = bench.events[-1]
    assert isinstance(end, CallFinished)
    assert {event.call_id for event in attempts} == {end.call_id}
    assert tuple(event.attempt for event in attempts) == reply.attempts
    assert (end.provider, end.model, end.asked_model, end.error, end.attempts) == ("b", "gpt-4.1", "gpt-4.1", None, 2)


def test_every_event_carries_the_time_at_which_it_happened() -> None:
    bench: Bench

    def slow(request: SentRequest) -> Outcome:
        bench.clock.advance(2)
        return BROKEN

    bench = Bench(slow, answer())
    began = bench.clock.time()
    bench.ask()
    assert [event.at - began for event in bench.events] == pytest.approx([2, 2, 2])


def test_calls_have_ids_of_their_own() -> None:
    bench = Bench(answer())
    bench.ask()
    bench.ask()
    assert len({event.call_id for event in bench.events if isinstance(event, CallFinished)}) == 2


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (BROKEN, AllProvidersFailed),
        (failing(Fault.BAD_REQUEST), InvalidRequest),
        (failing(Fault.CANCELLED), Cancelled),
        (throwing(KeyboardInterrupt), KeyboardInterrupt),
        (throwing(SystemExit), SystemExit),
        (throwing(ZeroDivisionError), ZeroDivisionError),
    ],
)
def test_every_way_out_of_a_call_is_told(script: object, error: type[BaseException]) -> None:
    bench = Bench(script, retry=RetryConfig(max_retries=0))  # type: ignore[arg-type]
    with pytest.raises(error):
        bench.ask()
    end = bench.events[-1]
    assert isinstance(end, CallFinished)
    assert (end.error, end.provider, end.model) == (error.__name__, None, None)


def test_a_deadline_that_passes_is_told_with_its_attempts() -> None:
    bench: Bench = Bench(lambda request: bench.hang(request))
    with pytest.raises(DeadlineExceeded):
        bench.ask(timeout=2)
    end = bench.events[-1]
    assert isinstance(end, CallFinished)
    assert (end.error, end.attempts) == ("DeadlineExceeded", 1)
    assert end.latency_ms == pytest.approx(2000)


def test_what_was_refused_before_it_became_a_call_is_not_told() -> None:
    bench = Bench(answer(), of_provider={"models": ["gpt-4.1"]})
    bench.lose(model="unknown")
    bench.lose(temperature=9)
    bench.router.close()
    bench.lose()
    assert bench.events == []


def test_the_opening_of_a_breaker_is_told_in_the_words_of_the_failure_that_did_it() -> None:
    bench = Bench(BROKEN, answer())
    for _ in range(5):
        bench.ask()
    (event,) = [event for event in bench.events if isinstance(event, StateChanged)]
    assert (event.name, event.new) == ("a", CircuitState.OPEN)
    assert "HTTP 500" in event.reason


def test_an_alert_says_everything_once() -> None:
    bench = Bench(refusal(401, "Incorrect API key provided", code="invalid_api_key"))
    error = bench.lose()
    (event,) = [event for event in bench.events if isinstance(event, PutOff)]
    assert event.advice not in event.message
    said = event.message.rpartition("; ")[2]
    assert str(error).count(said) == 1
    assert str(error).count("replace the key") == 1


# One report, by eye.


def test_the_report_of_a_call_that_everyone_failed() -> None:
    bench: Bench

    def slow(request: SentRequest) -> Outcome:
        bench.clock.advance(0.25)
        return failing(Fault.TIMEOUT, maybe_billed=True)

    bench = Bench(
        (failing(Fault.SERVER, status=500, request_id="req-1"), failing(Fault.SERVER, status=500, request_id="req-2")),
        failing(Fault.AUTH, status=401),
        slow,
        answer(),
        each={"c": {"max_retries": 0}},
        retry=RetryConfig(max_retries=1, base_delay=0),
    )
    bench.router.breakers.get("d").force_open()
    with pytest.raises(AllProvidersFailed) as raised:
        bench.ask()
    assert str(raised.value).splitlines() == [
        "no provider answered 'gpt-4.1' (4 attempts in 250 ms)",
        "  1. a (gpt-4.1): server: seen as server [0 ms, HTTP 500, request req-1]",
        "  2. b (gpt-4.1): auth: seen as auth [0 ms, HTTP 401]",
        "  3. c (gpt-4.1): timeout: seen as timeout [250 ms, may be billed]",
        "  4. a (gpt-4.1): server: seen as server [0 ms, HTTP 500, request req-2]",
        "  -  c (gpt-4.1): not asked again: no further try in one call (max_retries = 0)",
        "  -  d (gpt-4.1): not asked: its circuit breaker is forced_open (forced open by hand)",
        "  -  b (gpt-4.1): not asked again: left alone for another 60.6 s (auth)",
        "  => a: the provider failed; see its status page",
        "  => b: replace the key",
        "  => c: the provider is slow or hangs; a longer timeout= leaves it more time",
    ]


def test_a_router_over_a_transport_that_raises_still_counts_its_calls_out() -> None:
    transport = ScriptedTransport(throwing(ZeroDivisionError))
    provider = ProviderConfig(name="a", base_url="https://a.example/v1", api_key="key-of-a")
    router = Router(RouterConfig(providers=[provider]), random=Random(1), transport=lambda config: transport)
    with pytest.raises(ZeroDivisionError):
        router.chat("hi", model="m")
    assert router.close(timeout=0)
