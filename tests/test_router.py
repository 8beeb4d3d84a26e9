"""The router as its user sees it: whom it serves, how it closes, what it shows."""

from __future__ import annotations

import copy
import pickle
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import Deadline
from failsafe.errors import ConfigError, ModelNotFound, RouterClosed
from failsafe.events import CallFinished, Event
from failsafe.router import Router
from failsafe.testing import Outcome, ScriptedTransport, SentRequest, answer
from tests.router_bench import BROKEN, Bench, takes

TEN = {"role": "user", "content": "hi"}


def held(go_on: threading.Event, arrived: threading.Event) -> Any:
    def play(request: SentRequest) -> Outcome:
        arrived.set()
        go_on.wait(10)
        return answer()

    return play


def test_chat_and_chat_completion_say_the_same() -> None:
    bench = Bench(answer(model="m"))
    bench.router.chat("hi", model="m", temperature=0.5)
    bench.router.chat([TEN], model="m", temperature=0.5)
    bench.router.chat_completion([TEN], model="m", temperature=0.5)
    bodies = [request.body for request in bench.transports["a"].requests]
    assert bodies[0] == bodies[1] == bodies[2]


def test_a_list_of_providers_is_a_configuration() -> None:
    provider = ProviderConfig(name="a", base_url="https://a.example/v1", api_key="key-of-a")
    with Router([provider], transport=lambda config: ScriptedTransport(answer(model="m"))) as router:
        assert router.providers == ("a",)
        assert router.chat("hi", model="m").content == "hello"


@pytest.mark.parametrize("timeout", [None, 0, -1, float("nan"), float("inf"), True, "3"])
def test_a_timeout_that_is_none_is_refused_before_anything_is_sent(timeout: Any) -> None:
    bench = Bench(answer())
    with pytest.raises(ConfigError, match="timeout="):
        bench.router.chat("hi", model="m", timeout=timeout)
    assert bench.asked() == {"a": 0}


def test_the_configured_timeout_counts_when_the_call_names_none() -> None:
    bench = Bench(answer(), timeout=7.0)
    bench.ask()
    assert bench.transports["a"].requests[0].limits.deadline.timeout == 7.0


def test_priorities_beat_the_order_of_the_list_and_disabled_providers_are_not_there() -> None:
    bench = Bench(answer("a"), answer("b"), answer("c"), each={"a": {"priority": 9}, "b": {"enabled": False}})
    assert bench.router.providers == ("a", "c")
    assert bench.ask().provider == "c"
    assert set(bench.router.stats()) == set(bench.router.status()) == {"a", "c"}


def test_a_model_bound_to_a_provider_goes_there_only() -> None:
    bench = Bench(answer("a"), answer("b", model="special"))
    assert bench.ask(model="b:special").provider == "b"
    assert bench.models("b") == ["special"]


def test_an_unknown_model_names_who_was_asked_and_what_is_close() -> None:
    bench = Bench(answer(), answer(), of_provider={"models": ["gpt-4.1"]}, aliases={"fast": ["gpt-4.1"]})
    with pytest.raises(ModelNotFound, match=r"serves model 'fsat' .*a, b.*did you mean fast\?"):
        bench.router.chat("hi", model="fsat")
    with pytest.raises(ModelNotFound, match=r"serves model 'xyzzy' \(configured: a, b\).* list it under"):
        bench.router.chat("hi", model="xyzzy")


def test_what_is_remembered_of_models_is_bounded() -> None:
    bench = Bench(answer(model=""))
    for number in range(1100):
        bench.ask(model=f"m-{number}")
    assert len(bench.router._serving) == 1024


def test_a_reset_of_nobody_is_refused_with_the_names_there_are() -> None:
    bench = Bench(answer(), answer())
    with pytest.raises(ConfigError, match="provider = 'c': one of a, b is needed"):
        bench.router.reset("c")


@pytest.mark.usefixtures("expect_logs")
def test_a_reset_of_one_provider_leaves_the_others() -> None:
    bench = Bench(answer(), answer())
    for name in "ab":
        bench.router.breakers.get(name).trip()
    bench.router.reset("a")
    assert [str(bench.breaker(name).state) for name in "ab"] == ["closed", "open"]
    bench.router.reset()
    assert str(bench.breaker("b").state) == "closed"


def test_a_closed_router_refuses_calls_and_has_closed_its_connections() -> None:
    bench = Bench(answer(), answer())
    with bench.router:
        bench.ask()
    assert all(transport.closed for transport in bench.transports.values())
    with pytest.raises(RouterClosed):
        bench.ask()
    assert bench.router.close()


def test_one_connection_that_fails_to_close_keeps_no_other_open() -> None:
    bench = Bench(answer(), answer(), answer())

    def failing_close() -> None:
        raise OSError("bad descriptor")

    bench.transports["b"].close = failing_close  # type: ignore[method-assign]
    with pytest.raises(OSError, match="bad descriptor"):
        bench.router.close()
    assert bench.transports["a"].closed
    assert bench.transports["c"].closed


def test_closing_waits_for_calls_under_way_and_says_whether_they_ended() -> None:
    go_on, arrived, replies = threading.Event(), threading.Event(), []
    bench = Bench(held(go_on, arrived))
    thread = threading.Thread(target=lambda: replies.append(bench.ask()))
    thread.start()
    assert arrived.wait(10)
    assert bench.router.close(timeout=0.01) is False
    go_on.set()
    assert bench.router.close(timeout=10) is True
    thread.join(10)
    assert len(replies) == 1


@pytest.mark.parametrize("sync", [True, False])
def test_a_listener_may_close_the_router_in_the_middle_of_a_call(sync: bool) -> None:
    bench = Bench(BROKEN, answer())
    closed = threading.Event()

    def listener(event: Event) -> None:
        bench.router.close()
        closed.set()

    bench.router.on_event(listener, sync=sync)
    assert bench.ask().provider == "b"
    assert closed.wait(10)
    with pytest.raises(RouterClosed):
        bench.ask()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal here")
def test_a_signal_handler_may_close_the_router_in_the_middle_of_a_call_of_its_thread() -> None:
    def play(request: SentRequest) -> Outcome:
        signal.raise_signal(signal.SIGUSR1)
        return answer()

    bench = Bench(play)
    bench.router.on_event(lambda event: None)
    before = signal.signal(signal.SIGUSR1, lambda *_: bench.router.close() and None)
    try:
        assert bench.ask().provider == "a"
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(RouterClosed):
        bench.ask()


def test_a_sync_listener_may_call_the_router() -> None:
    bench = Bench(answer())
    replies: list[Any] = []

    def listener(event: Event) -> None:
        if not replies:
            replies.append(None)
            replies.append(bench.ask())

    bench.router.on_event(listener, sync=True)
    bench.ask()
    assert replies[1].provider == "a"


def test_a_listener_that_is_taken_off_hears_no_more() -> None:
    bench = Bench(answer())
    seen: list[Event] = []
    end = bench.router.on_event(seen.append, sync=True)
    bench.ask()
    end()
    bench.ask()
    assert len([event for event in seen if isinstance(event, CallFinished)]) == 1


def test_events_that_nobody_could_take_are_counted() -> None:
    bench = Bench(answer())
    bench.router.on_event(lambda event: None)
    bench.router.close()
    assert bench.router.dropped_events == 0
    bench.router._reporter.emit(Event(at=0))
    assert bench.router.dropped_events == 1


def test_a_router_pickles_as_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "key-of-mine")
    provider = ProviderConfig(name="a", base_url="https://a.example/v1", api_key="env:MY_KEY")
    router = Router([provider], transport=lambda config: ScriptedTransport(answer()))
    packed = pickle.dumps(router)
    assert b"key-of-mine" not in packed
    other = pickle.loads(packed)
    assert other.providers == ("a",)
    assert other.config.providers[0].keys == router.config.providers[0].keys
    assert copy.copy(router) is not router
    other.close()


def test_the_repr_names_providers_and_how_they_do() -> None:
    bench = Bench(answer(), answer())
    bench.ask()
    assert repr(bench.router) == "<Router [a healthy, b unknown]>"
    assert "key-of-a" not in repr(bench.endpoint())
    assert repr(bench.endpoint()).startswith("<Endpoint a healthy 1/1 answered, <CircuitBreaker a closed")


def test_from_file_and_from_env_make_routers(tmp_path: Path) -> None:
    path = tmp_path / "failsafe.toml"
    path.write_text('[providers.a]\nbase_url = "http://127.0.0.1:9/v1"\n', encoding="utf-8")
    path.chmod(0o600)
    with Router.from_file(path) as router:
        assert router.providers == ("a",)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        Router.from_env({})


def test_a_router_that_was_refused_can_still_be_shown() -> None:
    assert repr(Router.__new__(Router)) == "<Router, refused>"


def test_the_usual_transport_is_requests() -> None:
    provider = ProviderConfig(name="a", base_url="http://127.0.0.1:9/v1")
    with Router(RouterConfig(providers=[provider])) as router:
        assert type(router._endpoints[0].transport).__name__ == "RequestsTransport"


def test_a_deadline_of_the_callers_own_may_span_several_calls() -> None:
    bench: Bench = Bench(takes(lambda: bench, 2, answer()))
    deadline = Deadline.after(5, bench.clock)
    bench.ask(timeout=deadline)
    bench.ask(timeout=deadline)
    left = [request.limits.deadline.left for request in bench.transports["a"].requests]
    assert left == pytest.approx([1, 1])
