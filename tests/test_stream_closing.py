"""A stream gives back all that is held for it on every way out, and no reader takes a cut answer for a whole one."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from failsafe.chunks import Chunk
from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import Cancelled, FailsafeError, ModelNotFound, RouterClosed
from failsafe.events import CallFinished, CircuitState, Event
from failsafe.faults import Fault
from failsafe.models import Failure, Phase
from failsafe.policy_config import BulkheadConfig, CircuitBreakerConfig
from failsafe.stream import Stream
from failsafe.testing import StreamPiece, StreamScript, answer, failing, stalling, streaming
from tests.acceptance.routers import settles
from tests.router_bench import Bench
from tests.stream_bench import CUT, OVERLOADED, broken, delta, nothing_is_held, opened, playing, shown
from tests.test_failover_safety import on_trial
from tests.test_forking import run

pytestmark = pytest.mark.usefixtures("expect_logs")

LONG = 10.0
"""Seconds after which a test has failed that waits for a thread."""


def held_bench(*pieces: StreamPiece | str, finish: str | None = "stop", **settings: Any) -> Bench:
    """A bench whose first call is the only probe, has its key on trial and takes the only place."""
    bench = Bench(
        streaming(*(pieces or ("Hel", "lo")), finish=finish),
        answer("from b"),
        breaker=CircuitBreakerConfig(half_open_max_calls=1, success_threshold=1),
        bulkhead=BulkheadConfig(max_concurrent=1),
        **settings,
    )
    on_trial(bench)
    return bench


def all_is_held(bench: Bench) -> bool:
    """Whether another call would be turned away by each of the three."""
    endpoint = bench.endpoint()
    slots = endpoint.admission.limit
    assert slots is not None
    return (
        bench.breaker().probes_in_flight == 1
        and slots.in_flight == endpoint.in_flight == 1
        and endpoint.cooldowns.blocked(endpoint.config.keys[0].fingerprint, "gpt-4.1") is not None
    )


def read_to_the_end(stream: Stream) -> None:
    list(stream)


def close_it(stream: Stream) -> None:
    stream.close()


def leave_the_block(stream: Stream) -> None:
    with stream as same:
        assert same is stream
        next(same)


def fail_in_the_block(stream: Stream) -> None:
    with suppress(ZeroDivisionError), stream:
        next(stream)
        raise ZeroDivisionError


def break_off(stream: Stream) -> None:
    for _ in stream:
        break


def let_it_go(stream: Stream) -> None:
    next(stream)


def leave_it_in_a_cycle(stream: Stream) -> None:
    knot: list[Any] = [stream]
    knot.append(knot)


def close_it_in_another_thread(stream: Stream) -> None:
    thread = threading.Thread(target=stream.close)
    thread.start()
    thread.join(LONG)


def let_a_thread_end_with_it(stream: Stream) -> None:
    """Its last reference is dropped where no Python code runs any more."""
    own = threading.local()

    def keep(kept: list[Stream]) -> None:
        own.stream = kept.pop()

    thread = threading.Thread(target=keep, args=([stream],))
    del stream
    thread.start()
    thread.join(LONG)


WAYS_OUT = [
    *(read_to_the_end, close_it, leave_the_block, fail_in_the_block, break_off, let_it_go, leave_it_in_a_cycle),
    *(close_it_in_another_thread, let_a_thread_end_with_it),
]


@pytest.mark.parametrize("go", WAYS_OUT)
def test_nothing_is_held_any_more_whichever_way_a_reader_goes(go: Callable[[Stream], None]) -> None:
    bench = held_bench()
    token = CancelToken()
    streams = [opened(bench, cancel=token)]
    assert all_is_held(bench)
    assert bench.ask().provider == "b"
    go(streams.pop())
    gc.collect()
    assert nothing_is_held(bench)
    assert bench.transports["a"].streams[0].closed
    assert token._callbacks == {}
    answered = go is read_to_the_end
    assert bench.breaker().state is (CircuitState.CLOSED if answered else CircuitState.HALF_OPEN)
    ends = [event.error for event in bench.events if isinstance(event, CallFinished)]
    assert ends == [None, None if answered else "closed"]
    assert bench.router.close(timeout=0)


def interrupting(kind: type[BaseException]) -> Callable[[Deadline], bytes]:
    def come(limit: Deadline) -> bytes:
        raise kind

    return come


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit])
def test_an_interrupted_read_gives_back_all(kind: type[BaseException]) -> None:
    bench = held_bench("Hel", interrupting(kind))
    stream = opened(bench)
    next(stream)
    with pytest.raises(kind):
        next(stream)
    assert nothing_is_held(bench)
    assert bench.transports["a"].streams[0].closed
    assert list(stream) == []
    assert [event.error for event in bench.events if isinstance(event, CallFinished)] == [kind.__name__]
    assert bench.breaker().state is CircuitState.HALF_OPEN


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_before_the_first_content_gives_back_all(kind: type[BaseException]) -> None:
    bench = held_bench(interrupting(kind))
    with pytest.raises(kind):
        opened(bench)
    assert nothing_is_held(bench)
    assert bench.transports["a"].streams[0].closed
    assert [event.error for event in bench.events if isinstance(event, CallFinished)] == [kind.__name__]


@pytest.mark.parametrize("piece", [CUT, OVERLOADED, b""])
def test_a_break_gives_back_all(piece: StreamPiece) -> None:
    bench = held_bench("Hel", piece, finish=None)
    broken(opened(bench))
    assert bench.breaker().state is CircuitState.OPEN  # the probe failed
    bench.clock.advance(60)
    assert nothing_is_held(bench)


def test_an_interrupt_anywhere_in_a_stream_leaves_nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The interrupt strikes at every look at the clock in turn, from the call to the last piece."""
    strikes = 0
    for number in range(60):
        bench = held_bench()
        looks = iter(range(number))
        original = bench.clock.monotonic

        def look(looks: Any = looks, original: Callable[[], float] = original) -> float:
            if next(looks, None) is None:
                monkeypatch.undo()
                raise KeyboardInterrupt
            return original()

        monkeypatch.setattr(bench.clock, "monotonic", look)
        try:
            list(opened(bench))
        except KeyboardInterrupt:
            strikes += 1
        monkeypatch.undo()
        assert bench.breaker().probes_in_flight == bench.endpoint().in_flight == bench.router._gate.inside == 0
        assert all(stream.closed for stream in bench.transports["a"].streams)
    assert strikes > 5


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("go", [read_to_the_end, close_it])
def test_a_sync_listener_that_ends_the_program_leaves_nothing_held(
    kind: type[BaseException], go: Callable[[Stream], None]
) -> None:
    bench = held_bench()
    stream = opened(bench)

    def listener(event: Event) -> None:
        raise kind

    bench.router.on_event(listener, sync=True)
    with pytest.raises(kind):
        go(stream)
    assert bench.breaker().probes_in_flight == bench.endpoint().in_flight == bench.router._gate.inside == 0
    assert bench.router.close(timeout=0)


# The garbage collector.


def collecting(bench: Bench) -> list[int]:
    """Have a cycle with a stream in it collected while the router is in the middle of telling an event."""
    left: list[int] = []

    def listener(event: Event) -> None:
        if not left:
            leave_it_in_a_cycle(opened(bench, only="a"))
            gc.collect()
            left.append(len(bench.router._left_behind))

    bench.router.on_event(listener, sync=True)
    return left


def test_what_is_collected_amid_our_own_code_is_given_back_by_the_routers_next_step() -> None:
    bench = Bench((streaming("Hel", "lo"), answer()), answer("from b"), bulkhead=BulkheadConfig(max_concurrent=1))
    left = collecting(bench)
    assert bench.ask(exclude="a").provider == "b"
    assert left == [1]
    assert bench.transports["a"].streams[0].closed  # the socket does not wait
    assert bench.endpoint().in_flight == 1
    assert bench.ask(exclude="b").provider == "a"
    assert nothing_is_held(bench)


@pytest.mark.parametrize("step", ["status", "stats", "close"])
def test_every_step_of_the_router_gives_back_what_was_left_behind(step: str) -> None:
    bench = Bench(streaming("Hel", "lo"), answer("from b"))
    collecting(bench)
    bench.ask(exclude="a")
    getattr(bench.router, step)()
    assert nothing_is_held(bench)


def test_a_collection_while_a_lock_of_ours_is_held_does_not_block() -> None:
    bench = Bench(streaming("Hel", "lo"))
    leave_it_in_a_cycle(opened(bench))
    lock = bench.router.breakers.get("a")._circuit._lock
    names = {"__name__": "failsafe.breaker", "lock": lock, "gc": gc}
    exec("with lock:\n    gc.collect()", names)
    assert bench.transports["a"].streams[0].closed
    assert bench.router.status()
    assert nothing_is_held(bench)


# Other threads.


class Blocking:
    """A piece that comes when the test lets it, or when the read is cancelled."""

    def __init__(self, piece: bytes | Failure) -> None:
        self.waited_for = threading.Event()
        self.come = threading.Event()
        self._piece = piece

    def __call__(self, limit: Deadline) -> bytes | Failure:
        self.waited_for.set()
        assert self.come.wait(LONG)
        return self._piece


CALLED_OFF = failing(Fault.CANCELLED, "cancelled", phase=Phase.READ, maybe_billed=True)


def test_a_second_thread_that_reads_is_refused_and_spoils_nothing() -> None:
    piece = Blocking(delta(content="lo"))
    stream = opened(Bench(streaming("Hel", piece)))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(list[Chunk], stream)
        assert piece.waited_for.wait(LONG)
        with pytest.raises(RuntimeError, match="another thread is waiting for a piece of this stream"):
            next(stream)
        piece.come.set()
        assert shown(first.result(LONG)) == "Hello"


def close_it_now(stream: Stream, token: CancelToken) -> None:
    stream.close()


def cancel_it(stream: Stream, token: CancelToken) -> None:
    token.cancel()


@pytest.mark.parametrize("end", [close_it_now, cancel_it])
def test_a_read_that_blocks_is_ended_from_another_thread(end: Callable[[Stream, CancelToken], None]) -> None:
    piece, token = Blocking(CALLED_OFF), CancelToken()
    bench = held_bench("Hel", piece)
    stream = opened(bench, cancel=token, on_interrupt="restart")
    stream._passage.token.on_cancel(piece.come.set)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(list[Chunk], stream)
        assert piece.waited_for.wait(LONG)
        end(stream, token)
        error = reader.exception(LONG)
    assert isinstance(error, Cancelled)
    assert "the stream was cancelled, or closed by another thread" in str(error)
    assert [attempt.fault for attempt in error.attempts] == [Fault.CANCELLED]
    assert nothing_is_held(bench)
    assert [event.error for event in bench.events if isinstance(event, CallFinished)] == ["Cancelled"]
    assert bench.breaker().failures == 0
    assert token.cancelled is (end is cancel_it)


def test_a_stream_that_is_closed_just_as_a_piece_comes_is_closed_all_the_same() -> None:
    """The reader has its piece, and may never come back for another."""
    piece = Blocking(delta(content="lo"))
    bench = held_bench("Hel", piece)
    stream = opened(bench)
    next(stream)
    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(next, stream)
        assert piece.waited_for.wait(LONG)
        stream.close()
        piece.come.set()
        assert reader.result(LONG).text == "lo"
        assert nothing_is_held(bench)
        assert isinstance(pool.submit(next, stream).exception(LONG), Cancelled)
    assert [event.error for event in bench.events if isinstance(event, CallFinished)] == ["closed"]


def test_a_stream_that_another_thread_has_closed_does_not_look_whole() -> None:
    bench = Bench(streaming("Hel", "lo"))
    stream = opened(bench)
    assert next(stream).text == "Hel"
    close_it_in_another_thread(stream)
    error = broken(stream)
    assert isinstance(error, Cancelled)
    assert str(error).startswith("the stream was closed by another thread before its end\n  1. a (gpt-4.1): cancelled")
    with pytest.raises(RuntimeError, match="was not read to its end"):
        stream.response  # noqa: B018


def test_a_stream_that_its_own_reader_has_closed_is_simply_over() -> None:
    stream = opened(Bench(streaming("Hel", "lo")))
    texts = []
    for chunk in stream:
        texts.append(chunk.text)
        stream.close()
    assert texts == ["Hel"]


def test_a_token_that_is_cancelled_between_two_reads_ends_the_next_one() -> None:
    token = CancelToken()
    bench = held_bench()
    stream = opened(bench, cancel=token)
    next(stream)
    token.cancel()
    assert isinstance(broken(stream), Cancelled)
    assert nothing_is_held(bench)


def test_closing_and_reading_at_the_same_time_ends_in_one_of_two_ways() -> None:
    """Whole, or cancelled: never cut in silence, never held, and told once."""
    ends = set()
    for _ in range(200):
        bench = Bench(streaming("Hel", "lo"))
        stream, together = opened(bench), threading.Barrier(2)

        def read(stream: Stream = stream, together: threading.Barrier = together) -> str:
            together.wait(LONG)
            return shown(stream)

        def close(stream: Stream = stream, together: threading.Barrier = together) -> None:
            together.wait(LONG)
            stream.close()

        with ThreadPoolExecutor(2) as pool:
            reader = pool.submit(read)
            pool.submit(close).result(LONG)
            error = reader.exception(LONG)
        if error is None:
            assert reader.result() == stream.response.content == "Hello"
        else:
            assert isinstance(error, Cancelled)
        ends.add(type(error).__name__)
        assert nothing_is_held(bench)
        assert len([event for event in bench.events if isinstance(event, CallFinished)]) == 1
    assert ends <= {"NoneType", "Cancelled"}


def test_a_listener_that_closes_the_stream_it_hears_of_does_no_harm() -> None:
    bench = Bench(streaming("Hel", "lo"))
    stream = opened(bench)
    bench.router.on_event(lambda event: stream.close(), sync=True)
    assert shown(stream) == stream.response.content == "Hello"


def test_a_signal_handler_that_closes_the_stream_amid_a_read_ends_it() -> None:
    bench: Bench
    streams: list[Stream] = []

    def piece(limit: Deadline) -> Failure:
        streams[0].close()  # as a handler does, in the thread that reads
        return CALLED_OFF

    bench = held_bench("Hel", piece)
    streams.append(opened(bench))
    assert isinstance(broken(streams[0]), Cancelled)
    assert nothing_is_held(bench)


# A call that is refused, and the router's end.


def test_a_refused_call_leaves_nothing_at_the_callers_token() -> None:
    token = CancelToken()
    bench = Bench(streaming("x"), of_provider={"models": ["gpt-4.1"]})
    with pytest.raises(ModelNotFound):
        opened(bench, model="gpt-5", cancel=token)
    bench.router.close()
    with pytest.raises(RouterClosed):
        opened(bench, cancel=token)
    assert token._callbacks == {}
    assert bench.router._gate.inside == 0
    assert bench.events == []


@pytest.mark.parametrize("script", [failing(Fault.NETWORK), streaming("Hel", CUT, finish=None)])
def test_a_failed_call_leaves_nothing_at_the_callers_token(script: Failure | StreamScript) -> None:
    token = CancelToken()
    with pytest.raises(FailsafeError):
        list(opened(Bench(script), cancel=token, timeout=5))
    assert token._callbacks == {}


def test_a_last_answer_leaves_nothing_at_the_callers_token() -> None:
    token = CancelToken()
    opened(Bench(failing(Fault.NETWORK), fallback="call us"), cancel=token, timeout=5)
    assert token._callbacks == {}


def test_closing_the_router_does_not_wait_for_a_stream_of_the_same_thread_which_goes_on() -> None:
    bench = Bench(streaming("Hel", "lo"))
    stream = opened(bench)
    assert bench.router.close()
    assert shown(stream) == stream.response.content == "Hello"
    with pytest.raises(RouterClosed):
        opened(bench)


def test_closing_the_router_waits_for_a_stream_of_another_thread() -> None:
    piece = Blocking(delta(content="lo"))
    bench = Bench(streaming("Hel", piece))
    with ThreadPoolExecutor(2) as pool:
        reader = pool.submit(lambda: shown(opened(bench)))
        assert piece.waited_for.wait(LONG)
        assert not bench.router.close(timeout=0)
        closing = pool.submit(bench.router.close)
        piece.come.set()
        assert reader.result(LONG) == "Hello"
        assert closing.result(LONG)


def test_closing_the_router_does_not_wait_for_a_stream_that_was_dropped() -> None:
    bench = Bench(streaming("Hel", "lo"))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: next(opened(bench)) and None).result(LONG)
    assert bench.router.close(timeout=0)


@pytest.fixture
def no_collection_by_itself() -> Iterator[None]:
    """Nothing is collected before the test says so."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection_by_itself")
def test_closing_the_router_gives_back_what_is_collected_while_it_waits() -> None:
    bench = Bench(streaming("Hel", "lo"))
    leave_it_in_a_cycle(opened(bench))
    with ThreadPoolExecutor(1) as pool:
        closing = pool.submit(bench.router.close, LONG)
        assert settles(lambda: bool(bench.router._gate._closing))
        names = {"__name__": "failsafe.breaker", "gc": gc}
        exec("gc.collect()", names)  # in the middle of another call
        assert closing.result(LONG)
    assert nothing_is_held(bench)


def test_a_stream_that_stalls_after_the_routers_end_is_still_failed_over() -> None:
    bench = playing(lambda bench: streaming("Hel", stalling(bench.clock)), streaming("from b"))
    stream = opened(bench, on_interrupt="restart")
    bench.router.close()
    assert shown(stream) == "from b"


# A probe.


def test_a_probe_that_streams_keeps_its_place_until_it_ends() -> None:
    bench = held_bench()
    stream = opened(bench)
    next(stream)
    assert bench.breaker().state is CircuitState.HALF_OPEN
    assert bench.ask().provider == "b"
    list(stream)
    assert bench.breaker().state is CircuitState.CLOSED
    assert opened(bench).provider == "a"


# A forked child.

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")

SET_UP = """
import gc, threading
from failsafe.testing import ScriptedProvider, answer, scripted_router, streaming
provider = ScriptedProvider("openai", streaming("Hel", "lo"), answer("hi"))
router = scripted_router(provider)
stream = router.stream("hi", model="gpt-4.1")
next(stream)
def attempt(action):
    try:
        return action()
    except BaseException as error:
        return type(error).__name__, str(error)
"""


@forks
def test_a_forked_child_cannot_read_its_parents_stream_and_says_why() -> None:
    answers = run(SET_UP + """
print(in_child(lambda: attempt(lambda: next(stream))))
print("".join(chunk.text for chunk in stream), stream.response.content)
""")  # fmt: skip
    assert "RuntimeError" in answers[0]
    assert "belongs to the process that has opened it; a forked child cannot read it" in answers[0]
    assert answers[1] == "lo Hello"


@forks
def test_what_a_forked_child_does_with_its_copy_does_not_reach_the_parents_stream() -> None:
    answers = run(SET_UP + """
def use():
    global stream
    held = stream._turn.locked()
    stream.close()
    told = router.stats()["openai"]["requests"], router.stats()["openai"]["in_flight"], router._gate.inside
    text = router.chat("hi", model="gpt-4.1").content
    del stream
    gc.collect()
    return held, told, text, router.close(timeout=0)
with stream._turn:  # as if another thread was reading
    print(in_child(use))
print(provider.streams[0].closed, router.stats()["openai"]["in_flight"])
print("".join(chunk.text for chunk in stream), stream.response.content)
""")  # fmt: skip
    assert answers == ["(False, (0, 0, 0), 'hi', True)", "False 1", "lo Hello"]
