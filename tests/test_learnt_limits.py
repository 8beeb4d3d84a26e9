from __future__ import annotations

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe.learnt_limits import LearntLimits, Reading
from failsafe.testing import FakeClock
from tests.test_forking import run

KEY, MODEL = "key-1", "gpt-4.1"


def learn(learnt: LearntLimits, *readings: Reading, sent_at: float = 1000.0) -> None:
    learnt.update(KEY, MODEL, readings, sent_at)


def test_nothing_is_known_at_first() -> None:
    learnt = LearntLimits(FakeClock())
    assert (learnt.any, learnt.wait(KEY, MODEL, 1e9)) == (False, 0.0)


def test_nothing_left_means_refused_until_the_reset_and_then_forgotten() -> None:
    clock = FakeClock()
    learnt = LearntLimits(clock)
    learn(learnt, Reading("requests", 0, 20.0, limit=500))
    assert (learnt.any, learnt.wait(KEY, MODEL)) == (True, 20.0)
    clock.advance(19.5)
    assert learnt.wait(KEY, MODEL) == 0.5
    clock.advance(0.5)
    assert (learnt.wait(KEY, MODEL), learnt.any) == (0.0, False)


def test_what_is_known_belongs_to_a_key_and_a_model() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 0, 20.0))
    assert [learnt.wait(*where) for where in ((KEY, "other"), ("key-2", MODEL), (None, MODEL))] == [0.0] * 3


def test_asking_changes_nothing_and_sending_counts() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 2, 20.0))
    assert [learnt.wait(KEY, MODEL) for _ in range(5)] == [0.0] * 5
    learnt.sent(KEY, MODEL)
    assert learnt.wait(KEY, MODEL) == 0.0
    learnt.sent(KEY, MODEL)
    assert learnt.wait(KEY, MODEL) == 20.0


def test_a_request_needs_room_for_its_tokens() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("tokens", 900, 6.0, limit=30_000), Reading("requests", 5, 60.0))
    assert [learnt.wait(KEY, MODEL, tokens) for tokens in (0, 900, 901)] == [0.0, 0.0, 6.0]
    learnt.sent(KEY, MODEL, 500)
    assert [learnt.wait(KEY, MODEL, tokens) for tokens in (400, 401)] == [0.0, 6.0]


def test_the_longest_of_several_waits_counts() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("tokens", 0, 6.0), Reading("requests", 0, 60.0), Reading("input_tokens", 0, 7.0))
    assert learnt.wait(KEY, MODEL) == 60.0


def test_tokens_of_the_answer_count_only_when_none_are_left() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("output_tokens", 10, 6.0))
    learnt.sent(KEY, MODEL, 500)
    assert learnt.wait(KEY, MODEL, 500) == 0.0
    learn(learnt, Reading("output_tokens", 0, 6.0), sent_at=2000.0)
    assert learnt.wait(KEY, MODEL) == 6.0


def test_a_request_larger_than_the_limit_is_left_to_the_provider() -> None:
    """Or a busy program, whose every answer tells of a limit that is not whole, would never send it."""
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("tokens", 29_000, 2.0, limit=30_000))
    assert [learnt.wait(KEY, MODEL, tokens) for tokens in (29_001, 30_000, 30_001)] == [2.0, 2.0, 0.0]


@pytest.mark.parametrize("tokens", [math.nan, math.inf, -5.0])
def test_an_estimate_that_is_no_number_counts_as_none(tokens: float) -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("tokens", 10, 6.0))
    learnt.sent(KEY, MODEL, tokens)
    assert learnt.wait(KEY, MODEL, tokens) == 0.0
    assert learnt.wait(KEY, MODEL, 10) == 0.0


@pytest.mark.parametrize(
    "reading",
    [
        Reading("requests", math.nan, 5.0),
        Reading("requests", -1, 5.0),
        Reading("requests", 0, math.nan),
        Reading("requests", 0, -5.0),
        Reading("requests", 0, 0.0),
        Reading("requests", math.inf, 5.0),
    ],
)
def test_garbage_and_plenty_block_nothing(reading: Reading) -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, reading)
    assert (learnt.wait(KEY, MODEL), learnt.any) == (0.0, False)


@pytest.mark.parametrize("reset", [3600.0, 3601.0, 1e300, math.inf])
def test_a_reset_beyond_an_hour_counts_as_an_hour(reset: float) -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 0, reset))
    assert learnt.wait(KEY, MODEL) == 3600.0


# -- several requests under way --------------------------------------------------------------------------------------


def test_what_was_sent_after_a_request_is_subtracted_from_what_its_answer_says() -> None:
    """Bug class: a reading taken before requests that are still under way overstates what is left."""
    learnt = LearntLimits(FakeClock())
    first = learnt.sent(KEY, MODEL)
    for _ in range(3):
        learnt.sent(KEY, MODEL)
        learnt.sent(KEY, "other")
    learn(learnt, Reading("requests", 4, 60.0), sent_at=first)
    assert learnt.wait(KEY, MODEL) == 0.0
    learnt.sent(KEY, MODEL)
    assert learnt.wait(KEY, MODEL) == 60.0


def test_more_under_way_than_was_left_is_a_debt_and_not_a_crash() -> None:
    learnt = LearntLimits(FakeClock())
    first = learnt.sent(KEY, MODEL, 500)
    for _ in range(600):
        learnt.sent(KEY, MODEL, 500)
    learn(learnt, Reading("requests", 4, 60.0), Reading("tokens", 4, 30.0), sent_at=first)
    assert learnt.wait(KEY, MODEL) == 60.0


def test_no_two_requests_are_sent_at_the_same_time() -> None:
    """Or it could not be told which of them an answer counts in; a coarse clock shows one time for many."""
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 90, 60.0))
    times = [learnt.sent(KEY, MODEL) for _ in range(10)]
    times += [learnt.try_send(KEY, MODEL) or 0.0 for _ in range(10)]
    learnt.clear()
    times += [learnt.try_send(KEY, MODEL) or 0.0 for _ in range(10)]
    assert times == sorted(set(times))
    assert times[-1] == pytest.approx(1000.0)


def test_the_answer_of_a_later_request_knows_more() -> None:
    learnt = LearntLimits(FakeClock())
    first, second = learnt.sent(KEY, MODEL), learnt.sent(KEY, MODEL)
    learn(learnt, Reading("requests", 1, 60.0), sent_at=first)
    assert learnt.wait(KEY, MODEL) == 60.0
    learn(learnt, Reading("requests", 7, 50.0), sent_at=second)
    assert learnt.wait(KEY, MODEL) == 0.0


def test_an_earlier_request_that_was_overtaken_can_only_lower_what_is_left() -> None:
    clock = FakeClock()
    learnt = LearntLimits(clock)
    early = learnt.sent(KEY, MODEL)
    clock.advance(0.5)
    late = learnt.sent(KEY, MODEL)
    learn(learnt, Reading("requests", 2, 60.0), sent_at=late)
    learn(learnt, Reading("requests", 50, 60.0), sent_at=early)
    learnt.sent(KEY, MODEL)
    assert learnt.wait(KEY, MODEL) == 0.0
    learn(learnt, Reading("requests", 1, 60.0), sent_at=early)
    assert learnt.wait(KEY, MODEL) == 60.0


def test_a_long_answer_that_tells_of_a_minute_ago_lowers_nothing() -> None:
    clock = FakeClock()
    learnt = LearntLimits(clock)
    long_ago = learnt.sent(KEY, MODEL)
    clock.advance(30)
    learn(learnt, Reading("requests", 40, 60.0), sent_at=learnt.sent(KEY, MODEL))
    learn(learnt, Reading("requests", 0, 60.0), sent_at=long_ago)
    assert learnt.wait(KEY, MODEL) == 0.0


def test_the_reset_of_a_long_answer_is_reckoned_from_when_its_request_was_counted() -> None:
    clock = FakeClock()
    learnt = LearntLimits(clock)
    sent_at = learnt.sent(KEY, MODEL)
    clock.advance(30)
    learn(learnt, Reading("requests", 0, 40.0), sent_at=sent_at)
    assert learnt.wait(KEY, MODEL) == 11.0  # a second on its way, 40 to the reset, less the 30 it took
    learn(learnt, Reading("requests", 0, 20.0), sent_at=math.nextafter(sent_at, math.inf))
    assert (learnt.wait(KEY, MODEL), learnt.any) == (0.0, False)


def test_what_comes_back_steadily_has_come_back_in_part_when_a_long_answer_arrives() -> None:
    """Bug class: all that a busy program has sent during a long answer, subtracted from what was left at its start."""
    clock = FakeClock()
    learnt = LearntLimits(clock)
    sent_at = learnt.sent(KEY, MODEL)
    for _ in range(160):
        clock.advance(0.125)
        learnt.sent(KEY, MODEL)
    steady = Reading("requests", 10, 58.8, limit=500, gradual=True)
    learn(learnt, steady, sent_at=sent_at)
    assert learnt.wait(KEY, MODEL) == 0.0
    for _ in range(17):  # 10 + 490 * 20 / 58.8 - 160
        learnt.sent(KEY, MODEL)
    assert learnt.wait(KEY, MODEL) == pytest.approx(39.8)


def test_of_a_limit_that_comes_back_all_at_once_nothing_comes_back_before() -> None:
    clock = FakeClock()
    learnt = LearntLimits(clock)
    for gradual, remaining, limit in ((False, 1, 500), (True, 0, 500), (True, 1, math.inf), (True, 5, 1)):
        learnt.clear()
        sent_at = learnt.sent(KEY, MODEL)
        for _ in range(remaining):
            learnt.sent(KEY, MODEL)
        clock.advance(20)
        learn(learnt, Reading("requests", remaining, 60.0, limit, gradual), sent_at=sent_at)
        assert learnt.wait(KEY, MODEL) == pytest.approx(41.0)


def test_plenty_in_a_later_answer_ends_what_an_earlier_one_said_and_not_the_other_way_round() -> None:
    learnt = LearntLimits(FakeClock())
    first, second, third = (learnt.sent(KEY, MODEL) for _ in range(3))
    learn(learnt, Reading("requests", 0, 60.0), Reading("tokens", 0, 5.0), sent_at=second)
    learn(learnt, Reading("requests", math.inf), sent_at=first)
    assert learnt.wait(KEY, MODEL) == 60.0
    learn(learnt, Reading("requests", math.inf), sent_at=third)
    assert learnt.wait(KEY, MODEL) == 5.0
    learn(learnt, Reading("tokens", math.inf), sent_at=third)
    assert (learnt.wait(KEY, MODEL), learnt.any) == (0.0, False)


def test_an_answer_that_says_nothing_leaves_what_is_known() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 0, 60.0))
    learn(learnt, sent_at=2000.0)
    assert learnt.wait(KEY, MODEL) == 60.0


def test_try_send_counts_or_refuses_in_one_step() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 2, 60.0))
    assert [learnt.try_send(KEY, MODEL) is not None for _ in range(4)] == [True, True, False, False]
    assert learnt.wait(KEY, MODEL) == 60.0


def test_threads_together_send_no_more_than_is_left() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 50, 60.0))
    start = threading.Barrier(8)

    def ask() -> int:
        start.wait(10)
        return sum(learnt.try_send(KEY, MODEL) is not None for _ in range(20))

    with ThreadPoolExecutor(8) as pool:
        assert sum(future.result(10) for future in [pool.submit(ask) for _ in range(8)]) == 50


# -- memory ----------------------------------------------------------------------------------------------------------


def test_everything_is_forgotten_on_demand() -> None:
    learnt = LearntLimits(FakeClock())
    learn(learnt, Reading("requests", 0, 60.0))
    assert repr(learnt) == "<LearntLimits 1 short>"
    learnt.clear()
    assert (learnt.wait(KEY, MODEL), learnt.any) == (0.0, False)


def test_memory_is_bounded_and_what_is_over_first_makes_room() -> None:
    learnt = LearntLimits(FakeClock())
    for number in range(1100):
        reset = 5.0 if number == 700 else 60.0
        learnt.update(KEY, f"model-{number}", (Reading("requests", 0, reset),), 1000.0)
        for _ in range(10):
            learnt.sent(KEY, f"model-{number}")
    assert repr(learnt) == "<LearntLimits 1024 short>"
    assert learnt.wait(KEY, "model-700") == 0.0
    assert learnt.wait(KEY, "model-1099") == 60.0
    learnt.update(KEY, "model-1099", (Reading("tokens", 0, 90.0),), 1000.0)  # it has a place already
    assert repr(learnt) == "<LearntLimits 1024 short>"


def test_what_is_over_is_forgotten_one_by_one() -> None:
    clock = FakeClock()
    learnt = LearntLimits(clock)
    learn(learnt, Reading("requests", 0, 10.0), Reading("tokens", 0, 20.0))
    learnt.update(None, "local", (Reading("requests", 0, 5.0),), 1000.0)
    clock.advance(6)
    assert (learnt.wait(None, "local"), learnt.wait(KEY, MODEL), repr(learnt)) == (0.0, 14.0, "<LearntLimits 1 short>")
    clock.advance(6)
    assert learnt.wait(KEY, MODEL) == 8.0
    clock.advance(8)
    assert (learnt.wait(KEY, MODEL), learnt.any) == (0.0, False)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_a_forked_child_has_a_sound_lock_and_knows_what_its_parent_knew() -> None:
    answers = run("""
from failsafe.clock import SYSTEM_CLOCK
from failsafe.learnt_limits import LearntLimits, Reading
learnt = LearntLimits(SYSTEM_CLOCK)
learnt.update("key", "model", (Reading("requests", 1, 60.0),), SYSTEM_CLOCK.monotonic())
def use():
    return learnt.wait("key", "model"), learnt.sent("key", "model") > 0, learnt.wait("key", "model") > 50
with learnt._lock:
    print(in_child(use))
""")
    assert answers == ["(0.0, True, True)"]


# -- against a provider ----------------------------------------------------------------------------------------------


class Provider:
    """Admits *limit* requests and *tokens* tokens a window and refuses what is above; counts when a request arrives."""

    def __init__(self, clock: FakeClock, *, limit: int, tokens: int, window: float = 60.0) -> None:
        self.clock, self.limit, self.tokens, self.window = clock, limit, tokens, window
        self.ends = clock.monotonic() + window
        self.left, self.tokens_left = limit, tokens
        self.refused = self.admitted = 0

    def ask(self, tokens: int) -> tuple[Reading, ...]:
        """What the answer to a request that arrives now will say, whenever that is."""
        now = self.clock.monotonic()
        if now >= self.ends:
            self.ends, self.left, self.tokens_left = now + self.window, self.limit, self.tokens
        if self.left < 1 or self.tokens_left < tokens:
            self.refused += 1
        else:
            self.left, self.tokens_left = self.left - 1, self.tokens_left - tokens
            self.admitted += 1
        reset = self.ends - now
        return (
            Reading("requests", self.left, reset, self.limit),
            Reading("tokens", self.tokens_left, reset, self.tokens),
        )


@settings(deadline=None)
@given(st.data(), st.integers(1, 40), st.integers(100, 4000))
def test_after_the_first_answer_nothing_is_refused_and_the_allowance_is_used(
    data: st.DataObject, limit: int, tokens: int
) -> None:
    """Many under way, answers in any order; requests arrive in the order in which they are sent."""
    clock = FakeClock()
    provider, learnt = Provider(clock, limit=limit, tokens=tokens), LearntLimits(clock)
    under_way: list[tuple[float, tuple[Reading, ...]]] = []

    def send(size: int) -> None:
        under_way.append((learnt.sent(KEY, MODEL, size), provider.ask(size)))

    def answer(which: int) -> None:
        sent_at, readings = under_way.pop(which)
        learnt.update(KEY, MODEL, readings, sent_at)

    for _ in range(data.draw(st.integers(1, 10))):
        send(1)
    answer(data.draw(st.integers(0, len(under_way) - 1)))
    refused_before = provider.refused
    for act in data.draw(st.lists(st.sampled_from(["send", "answer", "time"]), max_size=80)):
        if act == "answer" and under_way:
            answer(data.draw(st.integers(0, len(under_way) - 1)))
        elif act == "time" and clock.monotonic() < 1050:
            clock.advance(data.draw(st.floats(0, 0.5)))
        elif act == "send":
            size = data.draw(st.integers(0, 100))  # one larger than the limit is left to the provider
            if learnt.wait(KEY, MODEL, size) == 0.0:
                send(size)
    while learnt.wait(KEY, MODEL, 1) == 0.0:
        send(1)
    assert provider.refused == refused_before
    assert provider.left == 0 or provider.tokens_left == 0


def test_the_next_window_is_used_as_soon_as_it_begins_and_as_well() -> None:
    clock = FakeClock()
    provider, learnt = Provider(clock, limit=20, tokens=10_000), LearntLimits(clock)
    while clock.monotonic() < 1000 + 300:
        sent_at = learnt.try_send(KEY, MODEL, 10)
        if sent_at is None:
            clock.advance(learnt.wait(KEY, MODEL, 10))
        else:
            readings = provider.ask(10)
            clock.advance(0.2)
            learnt.update(KEY, MODEL, readings, sent_at)
    assert provider.refused == 0
    assert provider.admitted >= 20 * 5 - 1


def test_what_overtakes_is_refused_rarely_and_shuts_nothing_for_long() -> None:
    """Requests that arrive in another order than they were sent are the one thing no reading can tell of."""
    clock = FakeClock()
    provider, learnt = Provider(clock, limit=30, tokens=10_000), LearntLimits(clock)
    answers: list[Any] = []
    for _ in range(10):
        earlier, later = learnt.sent(KEY, MODEL), learnt.sent(KEY, MODEL)
        answers += [(later, provider.ask(0)), (earlier, provider.ask(0))]
    for sent_at, readings in answers:
        learnt.update(KEY, MODEL, readings, sent_at)
    while learnt.try_send(KEY, MODEL) is not None:
        provider.ask(0)
    assert provider.refused == 0
    assert provider.left <= 1
    assert learnt.wait(KEY, MODEL) <= 60.0
