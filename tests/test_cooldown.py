from __future__ import annotations

import math
import threading

import pytest

from failsafe.cooldown import Blocked, Cooldowns, time_off_for
from failsafe.faults import REACTIONS, Fault
from failsafe.models import Failure
from failsafe.testing import FakeClock
from tests.chance import Chance

KEY, OTHER_KEY = "sk-...aa11", "sk-...bb22"
MODEL, OTHER_MODEL = "gpt-4.1", "gpt-4.1-mini"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cooldowns(clock: FakeClock) -> Cooldowns:
    return Cooldowns(clock, Chance(0.0))


def failure(fault: Fault, retry_after: float | None = None) -> Failure:
    return Failure(fault=fault, message=f"the provider says {fault}", retry_after=retry_after)


def seconds_off(cooldowns: Cooldowns, key: str | None = KEY, model: str | None = MODEL) -> float:
    blocked = cooldowns.blocked(key, model)
    return 0.0 if blocked is None else blocked.retry_after


# Scopes.


def test_nothing_is_off_at_first_and_asking_looks_at_no_clock() -> None:
    class NoClock(FakeClock):
        def monotonic(self) -> float:
            raise AssertionError("the healthy path asked for the time")

    cooldowns = Cooldowns(NoClock(), Chance(0.0))
    assert cooldowns.any is False
    assert cooldowns.blocked(KEY, MODEL) is None
    assert cooldowns.admit(KEY, MODEL) is None
    cooldowns.succeeded(KEY, MODEL)
    cooldowns.give_back(KEY, MODEL)


@pytest.mark.parametrize(
    ("scope", "blocked_pairs"),
    [
        ((KEY, MODEL), {(KEY, MODEL)}),
        ((KEY, None), {(KEY, MODEL), (KEY, OTHER_MODEL), (KEY, None)}),
        ((None, MODEL), {(KEY, MODEL), (OTHER_KEY, MODEL)}),
        ((None, None), {(KEY, MODEL), (KEY, OTHER_MODEL), (OTHER_KEY, MODEL), (OTHER_KEY, OTHER_MODEL), (KEY, None)}),
    ],
)
def test_a_time_off_holds_for_its_scope_and_no_more(
    cooldowns: Cooldowns, scope: tuple[str | None, str | None], blocked_pairs: set[tuple[str, str | None]]
) -> None:
    cooldowns.put_off(*scope, 30, Fault.QUOTA, "no money")
    pairs = [(KEY, MODEL), (KEY, OTHER_MODEL), (OTHER_KEY, MODEL), (OTHER_KEY, OTHER_MODEL), (KEY, None)]
    assert {pair for pair in pairs if cooldowns.blocked(*pair)} == blocked_pairs


def test_blocked_says_why_and_for_how_long(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.put_off(KEY, None, 30, Fault.QUOTA, "no money")
    clock.advance(10)
    assert cooldowns.blocked(KEY, MODEL) == Blocked(
        fault=Fault.QUOTA, until=clock.monotonic() + 20, retry_after=20, message="no money"
    )


def test_of_several_scopes_the_longest_counts(cooldowns: Cooldowns) -> None:
    cooldowns.put_off(KEY, MODEL, 10, Fault.RATE_LIMIT, "slow down")
    cooldowns.put_off(None, None, 30, Fault.OVERLOADED, "busy")
    cooldowns.put_off(KEY, None, 20, Fault.QUOTA, "no money")
    blocked = cooldowns.blocked(KEY, MODEL)
    assert blocked is not None
    assert (blocked.fault, blocked.message) == (Fault.OVERLOADED, "busy")


def test_a_longer_time_off_is_not_shortened_by_a_later_one(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.put_off(KEY, MODEL, 60, Fault.RATE_LIMIT, "long")
    clock.advance(10)
    cooldowns.put_off(KEY, MODEL, 5, Fault.RATE_LIMIT, "short")
    blocked = cooldowns.blocked(KEY, MODEL)
    assert blocked is not None
    assert (blocked.retry_after, blocked.message) == (50, "long")
    cooldowns.put_off(KEY, MODEL, 90, Fault.RATE_LIMIT, "longer")
    assert seconds_off(cooldowns) == 90


@pytest.mark.parametrize("seconds", [0, -1, math.nan])
def test_no_time_is_no_time_off(cooldowns: Cooldowns, seconds: float) -> None:
    cooldowns.put_off(KEY, MODEL, seconds, Fault.RATE_LIMIT, "slow down")
    assert cooldowns.any is False


def test_it_ends_exactly_on_time_and_vanishes(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.put_off(KEY, MODEL, 30, Fault.QUOTA, "no money")
    clock.advance(29.875)
    assert cooldowns.blocked(KEY, MODEL) is not None
    clock.advance(0.125)
    assert cooldowns.blocked(KEY, MODEL) is None
    assert cooldowns.any is False


# How long.


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 20.0), (0.5, 21.0), (1.0, 22.0)])
def test_the_providers_own_time_is_never_undercut_and_passed_by_a_tenth_at_most(
    clock: FakeClock, chance: float, expected: float
) -> None:
    cooldowns = Cooldowns(clock, Chance(chance))
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT, 20.0)) == pytest.approx(expected)
    assert seconds_off(cooldowns) == pytest.approx(expected)


def test_what_a_provider_asks_for_is_capped(cooldowns: Cooldowns) -> None:
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT, 1e9)) == 3600


@pytest.mark.parametrize("asked", [None, 0.0, -5.0, math.nan])
def test_without_a_usable_time_the_tables_own_counts(cooldowns: Cooldowns, asked: float | None) -> None:
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT, asked)) == 1.0


def test_a_fault_that_puts_nothing_out_of_use_does_not(cooldowns: Cooldowns) -> None:
    assert cooldowns.strike(None, None, failure(Fault.OVERLOADED)) == 0.0
    assert cooldowns.any is False
    assert cooldowns.strike(None, None, failure(Fault.OVERLOADED, 7.0)) == 7.0
    assert cooldowns.any is True


def test_repetitions_in_a_row_lengthen_it_up_to_the_limit(cooldowns: Cooldowns, clock: FakeClock) -> None:
    seen = []
    for _ in range(14):
        seen.append(cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)))
        clock.advance(seen[-1])
    assert seen[:5] == [1, 2, 4, 8, 16]
    assert max(seen) <= 3600
    assert seen[-1] == pytest.approx(3600 / 1.1)


def test_a_burst_of_calls_under_way_is_one_repetition(cooldowns: Cooldowns, clock: FakeClock) -> None:
    for _ in range(16):
        assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == 1.0
    clock.advance(1)
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == 2.0


def test_scopes_and_faults_grow_apart(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT))
    clock.advance(1)
    assert cooldowns.strike(KEY, OTHER_MODEL, failure(Fault.RATE_LIMIT)) == 1.0
    assert cooldowns.strike(KEY, MODEL, failure(Fault.PERMISSION)) == 3600


def test_a_success_clears_the_growth(cooldowns: Cooldowns, clock: FakeClock) -> None:
    for expected in (1.0, 2.0):
        assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == expected
        clock.advance(expected)
    cooldowns.succeeded(KEY, MODEL)
    assert cooldowns.any is False
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == 1.0


def test_a_success_of_another_model_clears_nothing_of_this_one(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT))
    clock.advance(1)
    cooldowns.succeeded(KEY, OTHER_MODEL)
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == 2.0


def test_a_success_that_was_under_way_ends_no_time_off(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT, 20.0))
    cooldowns.succeeded(KEY, MODEL)
    assert seconds_off(cooldowns) == 20
    clock.advance(20)
    assert cooldowns.blocked(KEY, MODEL) is None
    assert cooldowns.any is False


def test_after_a_success_that_was_under_way_another_strike_is_the_first_again(
    cooldowns: Cooldowns, clock: FakeClock
) -> None:
    cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT))
    clock.advance(1)
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == 2
    cooldowns.succeeded(KEY, MODEL)
    clock.advance(1.5)
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == 1


def test_growth_is_forgotten_after_a_long_quiet_time(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT))
    clock.advance(3602)
    assert cooldowns.strike(KEY, MODEL, failure(Fault.RATE_LIMIT)) == 1.0


@pytest.mark.parametrize("fault", [fault for fault in Fault if REACTIONS[fault].off_for])
@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_no_time_off_is_shorter_than_the_table_says_or_longer_than_its_limit(fault: Fault, chance: float) -> None:
    reaction = REACTIONS[fault]
    times = [time_off_for(reaction, repeats, None, chance) for repeats in (0, 1, 5, 10**9)]
    assert times == sorted(times)
    assert reaction.off_for <= times[0] <= times[-1] <= reaction.off_at_most


# Rejected keys: one trial at a time.


def test_after_a_rejected_keys_time_one_call_is_on_trial_and_others_wait(
    cooldowns: Cooldowns, clock: FakeClock
) -> None:
    assert cooldowns.strike(KEY, None, failure(Fault.AUTH)) == 60
    clock.advance(60)
    assert cooldowns.blocked(KEY, MODEL) is None, "asking begins no trial"
    assert cooldowns.admit(KEY, MODEL) is None
    for _ in range(3):
        blocked = cooldowns.admit(KEY, OTHER_MODEL)
        assert blocked is not None
        assert (blocked.fault, blocked.retry_after) == (Fault.AUTH, 60)
    assert cooldowns.admit(OTHER_KEY, MODEL) is None


def test_a_trial_that_succeeds_frees_the_key(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, None, failure(Fault.AUTH))
    clock.advance(60)
    cooldowns.admit(KEY, MODEL)
    cooldowns.succeeded(KEY, MODEL)
    assert [cooldowns.admit(KEY, MODEL) for _ in range(3)] == [None] * 3
    assert cooldowns.any is False


def test_a_trial_that_is_rejected_lengthens_the_time_off(cooldowns: Cooldowns, clock: FakeClock) -> None:
    seen = []
    for _ in range(8):
        assert cooldowns.admit(KEY, MODEL) is None
        seen.append(cooldowns.strike(KEY, None, failure(Fault.AUTH)))
        clock.advance(seen[-1])
    assert seen[:4] == [60, 120, 240, 480]
    assert seen[-1] == pytest.approx(3600 / 1.1)


def test_a_trial_that_proved_nothing_is_given_back(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, None, failure(Fault.AUTH))
    clock.advance(60)
    assert cooldowns.admit(KEY, MODEL) is None
    cooldowns.give_back(KEY, MODEL)
    assert cooldowns.admit(KEY, MODEL) is None
    assert cooldowns.admit(KEY, MODEL) is not None


def test_a_trial_nobody_settles_is_over_after_its_lease(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, None, failure(Fault.AUTH))
    clock.advance(60)
    cooldowns.admit(KEY, MODEL)
    clock.advance(59)
    assert cooldowns.admit(KEY, MODEL) is not None
    clock.advance(1)
    assert cooldowns.admit(KEY, MODEL) is None


def test_a_call_that_is_blocked_otherwise_uses_up_no_trial(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, None, failure(Fault.AUTH))
    clock.advance(60)
    cooldowns.put_off(KEY, MODEL, 5, Fault.RATE_LIMIT, "slow down")
    assert cooldowns.admit(KEY, MODEL) is not None
    assert cooldowns.admit(KEY, OTHER_MODEL) is None


def test_threads_that_ask_at_once_get_one_trial(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, None, failure(Fault.AUTH))
    clock.advance(60)
    start = threading.Barrier(16)
    answers: list[Blocked | None] = []

    def ask() -> None:
        start.wait(timeout=10)
        answers.append(cooldowns.admit(KEY, MODEL))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers.count(None) == 1


# Clearing, bounds, words.


def test_clear_forgets_everything_or_what_was_named(cooldowns: Cooldowns) -> None:
    def fill() -> None:
        for key, model in ((KEY, None), (KEY, MODEL), (OTHER_KEY, MODEL), (None, MODEL)):
            cooldowns.put_off(key, model, 30, Fault.QUOTA, "off")

    def left() -> set[tuple[str | None, str | None]]:
        return {(row["key"], row["model"]) for row in cooldowns.listing()}

    fill()
    cooldowns.clear(key=KEY)
    assert left() == {(OTHER_KEY, MODEL), (None, MODEL)}
    fill()
    cooldowns.clear(model=MODEL)
    assert left() == {(KEY, None)}
    fill()
    cooldowns.clear(key=KEY, model=MODEL)
    assert left() == {(KEY, None), (OTHER_KEY, MODEL), (None, MODEL)}
    cooldowns.clear()
    assert left() == set()
    assert cooldowns.any is False


def test_clear_forgets_the_growth_too(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.strike(KEY, None, failure(Fault.AUTH))
    clock.advance(60)
    cooldowns.clear()
    assert [cooldowns.admit(KEY, MODEL) for _ in range(3)] == [None] * 3
    assert cooldowns.strike(KEY, None, failure(Fault.AUTH)) == 60


def test_memory_is_bounded_whatever_names_callers_send(cooldowns: Cooldowns) -> None:
    cooldowns.put_off(KEY, None, 1e6, Fault.QUOTA, "the longest stays")
    for number in range(3000):
        cooldowns.put_off(None, f"model-{number}", 3600, Fault.MODEL, "unknown")
    assert len(cooldowns.listing()) == 1024
    assert seconds_off(cooldowns) == 1e6


def test_the_listing_is_plain_values(cooldowns: Cooldowns, clock: FakeClock) -> None:
    cooldowns.put_off(KEY, None, 30, Fault.QUOTA, "no money")
    cooldowns.put_off(KEY, MODEL, 10, Fault.RATE_LIMIT, "slow down")
    clock.advance(15)
    assert cooldowns.listing() == [
        {"key": KEY, "model": None, "fault": "quota", "retry_after": 15.0, "message": "no money"}
    ]


def test_the_repr_shows_what_is_off(cooldowns: Cooldowns) -> None:
    assert repr(cooldowns) == "<Cooldowns nothing off>"
    cooldowns.put_off(KEY, None, 30, Fault.QUOTA, "no money")
    assert repr(cooldowns) == f"<Cooldowns {KEY}/* quota>"
