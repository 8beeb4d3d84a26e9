"""The limit on silence: what is usual decides, what became slower is found out, and hangs stay cheap."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from failsafe import forking
from failsafe.chunks import Chunk
from failsafe.clock import Random
from failsafe.deadline import Deadline
from failsafe.errors import FailsafeError
from failsafe.faults import Fault
from failsafe.first_content import FirstContent
from failsafe.models import Failure, Phase
from failsafe.policy_config import AttemptLimitConfig, RetryConfig
from failsafe.testing import (
    FakeClock,
    ScriptedProvider,
    SentRequest,
    StreamScript,
    failing,
    scripted_router,
    streaming,
)

HANGS = math.inf
OWN = 30.0
"""What the provider is given at most, whatever is usual."""
USUAL = 0.5
LIMIT = 4 * USUAL


def known(*answers: float, **settings: float) -> FirstContent:
    """One that has seen *answers*, or 64 usual ones."""
    limit = FirstContent(AttemptLimitConfig(**{"floor": 0.0, **settings}))  # type: ignore[arg-type]
    for seconds in answers or [USUAL] * 64:
        limit.observe(seconds, limit.began(OWN if limit.seconds is None else limit.seconds))
    return limit


# What is usual.


def test_nothing_is_judged_before_there_are_answers_enough() -> None:
    limit = known(*[1.0] * 19)
    assert limit.seconds is None
    assert limit.began(OWN) == 0.0
    limit.gave_up(OWN)
    assert limit.seconds is None
    limit.observe(1.0)
    assert limit.seconds == 4.0


def test_nothing_is_judged_when_it_is_turned_off() -> None:
    limit = known(enabled=False)
    limit.gave_up(OWN)
    assert limit.seconds is None
    assert limit.p95 == USUAL


@pytest.mark.parametrize(
    ("settings", "answers", "seconds"),
    [
        ({}, [1.0] * 20, 4.0),
        ({}, [1.0] * 19 + [2.0], 8.0),
        ({}, [2.0] + [1.0] * 63, 8.0),
        ({}, [2.0] + [1.0] * 64, 4.0),
        ({"floor": 1.0}, [0.1] * 20, 1.0),
        ({"floor": 1.0}, [0.3] * 20, 1.2),
        ({"multiple": 1.5}, [1.0] * 20, 1.5),
        ({"minimum_calls": 1}, [3.0], 12.0),
        ({"minimum_calls": 64}, [3.0] * 64, 12.0),
        ({"minimum_calls": 64}, [3.0] * 63, None),
    ],
)
def test_the_table(settings: dict[str, float], answers: list[float], seconds: float | None) -> None:
    assert known(*answers, **settings).seconds == pytest.approx(seconds)


def test_the_percentile_is_that_of_the_answers() -> None:
    limit = FirstContent(AttemptLimitConfig())
    assert limit.p95 is None
    for number in range(1, 65):
        limit.observe(number / 10)
    assert limit.p95 == 6.1


# Longer tries.


def attempt(limit: FirstContent, takes: float, own: float = OWN) -> float | None:
    """One attempt at a provider that *takes* so long; what it cost if it was given up, else None."""
    given_ = own if limit.seconds is None else min(own, limit.seconds)
    taken = limit.began(given_)
    if takes <= given_:
        limit.observe(takes, taken)
        return None
    limit.gave_up(given_)
    return given_


def longer_tries(limit: FirstContent, attempts: int, *, answers: int) -> list[tuple[int, float | None]]:
    """Which of the attempts at a provider that hangs are longer, and how long; so many *answers* come between two."""
    costs: list[float | None] = []
    for _ in range(attempts):
        costs.append(attempt(limit, HANGS))
        for _ in range(answers):
            limit.observe(USUAL)
    return [(place, cost) for place, cost in enumerate(costs) if cost != LIMIT]


def test_a_longer_try_is_made_once_as_much_was_lost_and_each_is_twice_as_long() -> None:
    assert longer_tries(known(), 40, answers=1) == [(2, 2 * LIMIT), (7, 4 * LIMIT), (16, 8 * LIMIT), (33, OWN)]


def test_while_nobody_is_answered_longer_tries_are_made_sooner() -> None:
    """The first of all attempts is cut amid answers."""
    assert longer_tries(known(), 30, answers=0) == [
        (2, 2 * LIMIT),
        (5, 4 * LIMIT),
        (10, 8 * LIMIT),
        (19, OWN),
        (28, OWN),
    ]


def test_a_longer_try_is_one_attempts_alone() -> None:
    limit = known()
    limit.gave_up(LIMIT)
    limit.gave_up(LIMIT)
    longer = limit.seconds
    assert longer == 2 * LIMIT
    assert limit.began(longer) == longer
    assert limit.seconds == LIMIT
    assert limit.began(LIMIT) == 0.0  # one beside it
    limit.observe(USUAL)
    assert limit.seconds == LIMIT
    limit.gave_up(longer)
    assert limit.seconds == LIMIT


def test_a_longer_try_that_was_not_needed_is_anothers() -> None:
    limit = known()
    limit.gave_up(LIMIT)
    limit.gave_up(LIMIT)
    for _ in range(100):
        assert limit.seconds == 2 * LIMIT
        assert attempt(limit, USUAL) is None
    assert attempt(limit, HANGS) == 2 * LIMIT
    assert limit.seconds == LIMIT


def test_a_longer_try_that_ends_otherwise_is_spent() -> None:
    limit = known()
    limit.gave_up(LIMIT)
    limit.gave_up(LIMIT)
    limit.began(2 * LIMIT)
    limit.observe(USUAL)
    assert [attempt(limit, HANGS) for _ in range(3)] == [LIMIT, LIMIT, 2 * LIMIT]


def test_an_answer_slower_than_the_limit_ends_the_search() -> None:
    limit = known()
    for _ in range(2):
        attempt(limit, 3.0)
    assert attempt(limit, 3.0) is None
    assert limit.seconds == 12.0
    for _ in range(63):
        limit.observe(USUAL)
        assert limit.seconds == 12.0
    limit.observe(USUAL)
    assert limit.seconds == LIMIT


def test_what_was_given_less_proves_nothing() -> None:
    limit = known()
    for _ in range(100):
        limit.gave_up(0.9 * LIMIT)
        limit.gave_up(0.0)
    assert limit.seconds == LIMIT


def test_a_little_less_than_the_limit_is_the_limit() -> None:
    """Some of it is gone before the request is sent."""
    limit = known()
    for cost in (LIMIT, LIMIT, 2 * LIMIT, LIMIT, LIMIT, 4 * LIMIT):
        assert limit.seconds == pytest.approx(cost)
        limit.began(0.995 * cost)
        limit.gave_up(0.995 * cost)


def test_where_the_provider_is_never_given_so_long_longer_tries_are_as_long_as_they_may_be() -> None:
    limit = known()
    costs = [attempt(limit, HANGS, own=1.25 * LIMIT) for _ in range(100)]
    assert set(costs) == {LIMIT, 1.25 * LIMIT}
    assert costs.count(1.25 * LIMIT) <= 62


def test_a_limit_above_the_providers_own_is_never_in_force() -> None:
    limit = known()
    for _ in range(100):
        assert attempt(limit, HANGS, own=LIMIT / 2) == LIMIT / 2
    assert limit.seconds == LIMIT


def test_the_floor_is_widened_too() -> None:
    """Else a provider whose usual answers are far below it would be given the floor for ever."""
    limit = known(*[0.01] * 64, floor=1.0)
    assert [attempt(limit, 1.5) for _ in range(3)] == [1.0, 1.0, None]
    assert limit.seconds == 6.0
    limit = known(*[0.01] * 64, floor=1.0)
    assert [attempt(limit, HANGS) for _ in range(3)] == [1.0, 1.0, 2.0]


def test_a_long_outage_is_forgotten_step_by_step() -> None:
    limit = known()
    for _ in range(40):
        attempt(limit, HANGS)
    for _ in range(256 * 4):
        assert attempt(limit, USUAL) is None
    assert [attempt(limit, HANGS) for _ in range(4)] == [2 * LIMIT, LIMIT, LIMIT, 4 * LIMIT]


def test_the_longest_try_is_a_number() -> None:
    limit = known()
    for _ in range(100):
        limit.gave_up(1e300)
    assert limit.seconds is not None
    assert limit.seconds <= LIMIT * 2.0**40


# What a caller loses.

Provider = Callable[[int, Random], float]


class Losses(NamedTuple):
    """What became of many attempts, one after the other: the cost of those that were given up, by their places."""

    cut: dict[int, float]
    hung: dict[int, float]


def tried(provider: Provider, attempts: int, *, seed: int = 0, own: float = OWN) -> Losses:
    """*attempts* at a provider whose answers were usual before."""
    chance, limit = Random(seed), known()
    losses = Losses({}, {})
    for number in range(attempts):
        takes = provider(number, chance)
        cost = attempt(limit, takes, own)
        if cost is not None:
            (losses.hung if takes == HANGS else losses.cut)[number] = cost
    return losses


@pytest.mark.parametrize(("factor", "most"), [(3.9, 0), (6, 2), (7.9, 2), (20, 10), (30, 10), (55, 19)])
def test_a_provider_that_became_slower_for_good_is_soon_waited_for(factor: float, most: int) -> None:
    losses = tried(lambda *_: factor * USUAL, 2000)
    assert len(losses.cut) <= most
    assert all(number <= most for number in losses.cut)
    assert sum(losses.cut.values()) <= 4 * LIMIT * max(factor, 4)


def test_a_provider_that_became_slower_than_it_may_be_is_given_up() -> None:
    losses = tried(lambda *_: 1.1 * OWN, 500)
    assert len(losses.cut) == 500
    assert sum(losses.cut.values()) <= 500 * 3 * LIMIT


def test_a_provider_that_hangs_for_ever_costs_three_times_the_limit_on_the_average() -> None:
    losses = tried(lambda *_: HANGS, 2000)
    assert LIMIT < sum(losses.hung.values()) / 2000 <= 3 * LIMIT
    assert max(losses.hung.values()) == OWN
    assert sum(1 for cost in losses.hung.values() if cost > LIMIT) < 0.12 * 2000


@given(share=st.floats(0.001, 1.0), seed=st.integers(0, 1000), own=st.floats(1.0, 200.0))
@settings(max_examples=60)
def test_whatever_share_hangs_a_hang_costs_two_or_three_limits_on_the_average(
    share: float, seed: int, own: float
) -> None:
    """One backend in many that is dead, say: the limit must not creep up to the provider's own."""
    losses = tried(lambda _, chance: HANGS if chance.random() < share else USUAL, 1500, seed=seed, own=own)
    assert not losses.cut
    in_silence = sum(number - 1 in losses.hung for number in losses.hung)
    assert sum(losses.hung.values()) <= 1.001 * min(LIMIT, own) * (2 * len(losses.hung) + in_silence)


@pytest.mark.parametrize(
    ("share", "takes", "most"),
    [(0.3, 4.0, 0.02), (0.3, 16.0, 0.02), (0.1, 4.0, 0.02), (0.1, 16.0, 0.08), (0.05, 4.0, 0.1), (0.05, 16.0, 0.45)],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_provider_that_is_slow_now_and_then_is_waited_for(share: float, takes: float, most: float, seed: int) -> None:
    """It need not be slow often; *most* is the share of its slow answers that nobody waited for."""
    slow = 0

    def provider(_: int, chance: Random) -> float:
        nonlocal slow
        is_slow = chance.random() < share
        slow += is_slow
        return takes if is_slow else USUAL

    losses = tried(provider, 8000, seed=seed)
    assert len(losses.cut) <= most * slow
    assert sum(losses.cut.values()) <= 2.02 * LIMIT * len(losses.cut)


def test_a_provider_that_is_rarely_slow_costs_no_more_than_one_that_rarely_hangs() -> None:
    losses = tried(lambda _, chance: 10.0 if chance.random() < 0.002 else USUAL, 20_000)
    assert sum(losses.cut.values()) <= 2.02 * LIMIT * 60


def test_answers_that_differ_as_answers_do_are_hardly_ever_cut() -> None:
    losses = tried(lambda _, chance: chance.lognormvariate(math.log(USUAL), 0.6), 20_000)
    assert len(losses.cut) <= 20


def test_it_comes_back_after_the_provider_does() -> None:
    limit = known()
    for _ in range(50):
        attempt(limit, 20 * USUAL)
    assert limit.seconds == 4 * 20 * USUAL
    for _ in range(64):
        attempt(limit, USUAL)
    assert limit.seconds == LIMIT


# Any course of events.

_steps = st.lists(
    st.one_of(
        st.tuples(st.just("answer"), st.floats(0, 50)),
        st.tuples(st.just("cut"), st.sampled_from([0.5, 0.995, 1.0])),
        st.tuples(st.just("begin"), st.just(1.0)),
        st.tuples(st.just("stray cut"), st.floats(0, 1000)),
        st.tuples(st.just("stray begin"), st.floats(0, 1000)),
    ),
    max_size=150,
)


@given(_steps, st.sampled_from([0.0, 1.0, 7.0]), st.sampled_from([1.0, 1.5, 4.0]), st.integers(1, 20))
def test_whatever_happens_the_limit_is_what_is_usual_or_a_doubling_of_it(
    steps: list[tuple[str, float]], floor: float, multiple: float, minimum: int
) -> None:
    limit = FirstContent(AttemptLimitConfig(floor=floor, multiple=multiple, minimum_calls=minimum))
    answers: list[float] = []
    taken: list[float] = []
    lost = spent = 0.0
    for what, amount in steps:
        before = limit.seconds
        if what == "answer":
            limit.observe(amount, taken.pop() if taken else 0.0)
            answers.append(amount)
        elif what == "stray cut":
            limit.gave_up(amount)
            lost += amount
        elif what == "stray begin":
            limit.began(amount)
        elif before is not None:
            took = limit.began(amount * before)
            spent += took
            if what == "begin":
                taken.append(took)
            else:
                limit.gave_up(amount * before)
                lost += amount * before
        usual = max(floor, multiple * max(answers[-64:], default=0.0))
        if len(answers) < minimum:
            assert limit.seconds is None
        else:
            assert limit.seconds is not None
            assert limit.seconds >= max(usual, floor)
            doublings = math.log2(limit.seconds / usual) if usual else 0.0
            assert doublings == pytest.approx(round(doublings))
    if not any("cut" in what for what, _ in steps):
        assert limit.seconds in (None, pytest.approx(usual) if steps else None)
        assert spent == 0.0


# Threads and forks.


def test_threads_spoil_nothing() -> None:
    limit, failures = known(), []

    def use(seed: int) -> None:
        chance = Random(seed)
        for _ in range(1500):
            try:
                attempt(limit, HANGS if chance.random() < 0.2 else USUAL)
            except Exception as error:  # noqa: BLE001 -- shown by the assertion
                failures.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    for _ in range(64):
        limit.observe(USUAL)
    assert limit.seconds is not None
    assert limit.seconds >= LIMIT
    assert math.log2(limit.seconds / LIMIT) == round(math.log2(limit.seconds / LIMIT))


def test_of_many_at_once_few_are_given_longer() -> None:
    """All of those that begin while the longer try is under way wait for the usual time alone."""
    limit = known()
    limit.gave_up(LIMIT)
    limit.gave_up(LIMIT)
    given_: list[float] = []
    for _ in range(100):
        assert limit.seconds is not None
        given_.append(limit.seconds)
        limit.began(limit.seconds)
        limit.observe(USUAL)
    assert sum(seconds > LIMIT for seconds in given_) == 1


def test_a_fork_in_the_middle_of_something_leaves_a_sound_lock() -> None:
    limit = known()
    assert limit in forking._registered
    with limit._lock:
        limit._after_fork()
        limit.observe(USUAL)
        limit.gave_up(LIMIT)
        assert limit.seconds == LIMIT


def test_it_says_what_it_knows() -> None:
    assert repr(FirstContent(AttemptLimitConfig())) == "<FirstContent 0 answers, limit ->"
    assert repr(known()) == "<FirstContent 64 answers, limit 2.000 s>"


# Through a router.


def provider_that(clock: FakeClock, takes: Callable[[], float], name: str = "slow") -> ScriptedProvider:
    """A provider whose streams show their first content after so many seconds."""

    def play(_: SentRequest) -> StreamScript:
        seconds = takes()
        script = streaming("hello")

        def first(limit: Deadline) -> bytes | Failure:
            if limit.left < seconds:
                clock.advance(limit.left)
                return failing(Fault.TIMEOUT, "late", phase=Phase.READ, maybe_billed=True)
            clock.advance(seconds)
            return b": here\n\n"

        return script._replace(pieces=(first, *script.pieces))

    return ScriptedProvider(name, play, models=["m"])


@pytest.mark.parametrize("factor", [6, 20])
@pytest.mark.usefixtures("expect_logs")
def test_a_lone_provider_that_became_slower_answers_again_within_a_few_calls(factor: float) -> None:
    clock, pace = FakeClock(), [USUAL]
    with scripted_router(
        provider_that(clock, lambda: pace[0]), clock=clock, retry=RetryConfig(max_retries=4), timeout=300.0
    ) as router:
        for _ in range(30):
            router.chat("hi", model="m", progress=True)
        pace[0] = factor * USUAL
        lost = 0
        for _ in range(40):
            try:
                router.chat("hi", model="m", progress=True)
            except FailsafeError:
                lost += 1
                clock.advance(60)
        assert lost <= 3
        assert router.chat("hi", model="m", progress=True).attempts[-1].fault is None


@pytest.mark.usefixtures("expect_logs")
def test_beside_another_provider_no_call_is_lost_and_each_cut_costs_the_limit() -> None:
    clock, pace = FakeClock(), [USUAL]
    slow = provider_that(clock, lambda: pace[0])
    other = provider_that(clock, lambda: USUAL, "other")
    with scripted_router(slow, other, clock=clock) as router:
        for _ in range(30):
            router.chat("hi", model="m", progress=True)
        pace[0] = HANGS
        began = clock.monotonic()
        for _ in range(50):
            assert router.chat("hi", model="m", progress=True).provider == "other"
        assert clock.monotonic() - began <= 50 * USUAL + 7 * LIMIT  # the breaker opens after five


@pytest.mark.usefixtures("expect_logs")
def test_a_stream_is_judged_by_the_same_limit() -> None:
    clock, pace = FakeClock(), [USUAL]
    slow = provider_that(clock, lambda: pace[0])
    other = provider_that(clock, lambda: USUAL, "other")
    with scripted_router(slow, other, clock=clock) as router:
        for _ in range(30):
            assert sum(isinstance(chunk, Chunk) for chunk in router.stream("hi", model="m")) == 2
        pace[0] = HANGS
        began = clock.monotonic()
        stream = router.stream("hi", model="m")
        assert stream.provider == "other"
        assert clock.monotonic() - began == pytest.approx(LIMIT + USUAL)
        list(stream)
