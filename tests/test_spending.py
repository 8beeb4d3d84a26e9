"""Caps on what may be spent, by themselves: days and months, what is set aside, and what others spend."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.faults import Fault
from failsafe.models import Attempt, Usage
from failsafe.monitoring_config import SpendConfig
from failsafe.pricing import Rates
from failsafe.spending import ALL, Overrun, Reservation, Spending
from failsafe.testing import FakeClock

DAY = 86_400
NOTHING = Decimal(0)
NOV_24_NOON = 20_781 * DAY + DAY / 2
PICO = 10**12


def at_noon() -> FakeClock:
    return FakeClock(wall=NOV_24_NOON)


def spending(clock: FakeClock | None = None, *, of: dict[str, SpendConfig] | None = None, **caps: Any) -> Spending:
    return Spending(SpendConfig(**caps) if caps else None, of or {}, clock or at_noon())


def set_aside(book: Spending, estimate: float, provider: str = "a") -> Reservation:
    overrun, reservation = book.reserve(provider, estimate)
    assert overrun is None
    assert reservation is not None
    return reservation


def answered(usd: str | None) -> Attempt:
    stated = None if usd is None else Decimal(usd)
    return Attempt(provider="a", model="m", usage=Usage(prompt_tokens=1, cost_usd=stated))


def spend(book: Spending, usd: str, provider: str = "a") -> None:
    set_aside(book, float(usd) / 2, provider).settle(answered(usd))


def day(book: Spending, provider: str = ALL) -> Decimal:
    return next(each.day for each in book.status() if each.provider == provider)


def refused(book: Spending, estimate: float | None, provider: str = "a") -> Overrun:
    overrun = book.overrun(provider, estimate)
    assert overrun is not None
    assert book.reserve(provider, estimate) == (overrun, None)
    return overrun


# Which caps there are.


def test_without_a_cap_there_is_nothing_to_watch() -> None:
    local = ProviderConfig(name="ollama")
    assert Spending.of(RouterConfig(providers=[local]), at_noon()) is None
    empty = RouterConfig(providers=[ProviderConfig(name="ollama", spend=SpendConfig())], spend=SpendConfig(warn_at=0.5))
    assert Spending.of(empty, at_noon()) is None


def test_a_switched_off_providers_cap_does_not_count() -> None:
    off = ProviderConfig(name="vllm", enabled=False, spend=SpendConfig(per_day=1))
    assert Spending.of(RouterConfig(providers=[ProviderConfig(name="ollama"), off]), at_noon()) is None


def test_a_provider_without_caps_of_its_own_is_free_of_anothers() -> None:
    book = spending(of={"a": SpendConfig(per_call=0.01)})
    assert book.overrun("b", 5.0) is None
    assert book.reserve("b", None) == (None, None)


# Each cap.


def test_one_call_must_not_cost_more_than_it_may() -> None:
    book = spending(per_call=0.02)
    assert book.overrun("a", 0.02) is None
    overrun = refused(book, 0.0201)
    assert (overrun.cap, overrun.limit, overrun.spent, overrun.retry_after) == (
        "spend.per_call", Decimal("0.02"), None, None,
    )  # fmt: skip
    assert str(overrun) == "would cost about $0.0201, above spend.per_call = $0.02"


def test_a_day_must_not_cost_more_than_it_may() -> None:
    book = spending(per_day=1.0)
    spend(book, "0.7")
    assert book.overrun("a", 0.3) is None
    overrun = refused(book, 0.31)
    assert overrun.spent == Decimal("0.7")
    assert (overrun.resets_at, overrun.retry_after) == (20_782 * DAY, DAY / 2)
    assert str(overrun) == (
        "would cost about $0.31, and $0.70 of spend.per_day = $1.00 are spent or under way; "
        "it begins anew at 2026-11-25 00:00 UTC"
    )


def test_a_month_must_not_cost_more_than_it_may() -> None:
    book = spending(per_month=10.0)
    spend(book, "9.9")
    overrun = refused(book, 0.2)
    assert overrun.cap == "spend.per_month"
    assert str(overrun).endswith("it begins anew at 2026-12-01 00:00 UTC")


def test_a_providers_own_cap_and_everybodys_hold_side_by_side() -> None:
    book = spending(per_day=1.0, of={"a": SpendConfig(per_day=0.5)})
    spend(book, "0.4", "a")
    spend(book, "0.5", "b")
    assert refused(book, 0.2, "a").cap == "providers.a.spend.per_day"
    assert refused(book, 0.11, "b").cap == "spend.per_day"
    assert book.overrun("b", 0.1) is None
    assert (day(book), day(book, "a")) == (Decimal("0.9"), Decimal("0.4"))


@pytest.mark.parametrize("caps", [{"per_call": 1.0}, {"per_day": 1.0}, {"per_month": 1.0}])
def test_a_model_of_unknown_price_is_refused_or_let_in_as_you_say(caps: dict[str, Any]) -> None:
    overrun = refused(spending(**caps), None)
    assert str(overrun) == "its price is not known, and spend.unknown_prices = refuse"
    assert "unknown_prices = allow" in overrun.advice
    allowed = spending(**caps, unknown_prices="allow")
    overrun_or_none, reservation = allowed.reserve("a", None)
    assert overrun_or_none is None
    assert reservation is not None
    reservation.settle(answered(None))
    assert day(allowed) == 0


def test_what_costs_nothing_is_never_refused() -> None:
    book = spending(per_day=1.0)
    spend(book, "1.5")
    assert book.overrun("a", 0.0) is None
    assert book.reserve("a", 0.0) == (None, None)


# What is set aside.


def test_what_is_under_way_counts_until_it_has_ended() -> None:
    book = spending(per_day=1.0)
    first = set_aside(book, 0.6)
    assert refused(book, 0.5).spent == Decimal("0.6")
    first.settle(answered("0.1"))
    assert book.overrun("a", 0.9) is None
    assert day(book) == Decimal("0.1")


def test_it_ends_once() -> None:
    book = spending(per_day=1.0)
    first = set_aside(book, 0.25)
    first.settle(answered("0.25"))
    first.settle(answered("0.25"))
    first.hold()
    first.release()
    (status,) = book.status()
    assert (status.day, status.under_way, status.doubtful) == (Decimal("0.25"), NOTHING, NOTHING)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        (answered("0.125"), "0.125"),
        (answered(None), "0.25"),  # answered, and the provider does not say how many tokens
        (Attempt(provider="a", model="m", fault=Fault.TIMEOUT, maybe_billed=True), "0.25"),
        (Attempt(provider="a", model="m", fault=Fault.NETWORK), "0"),
    ],
)
def test_what_an_attempt_has_cost_takes_the_place_of_the_estimate(line: Attempt, counts: str) -> None:
    book = spending(per_day=1.0)
    set_aside(book, 0.25).settle(line)
    (status,) = book.status()
    assert (status.day, status.under_way) == (Decimal(counts), NOTHING)


def test_a_stray_cost_beyond_the_estimate_is_counted_in_full() -> None:
    book = spending(per_day=1.0)
    set_aside(book, 0.1).settle(answered("3.5"))
    assert day(book) == Decimal("3.5")
    assert refused(book, 0.000001).spent == Decimal("3.5")


def test_rates_are_billed_exactly() -> None:
    book = spending(per_day=1.0)
    line = Attempt(
        provider="a",
        model="m",
        usage=Usage(prompt_tokens=7, completion_tokens=3),
        rates=Rates(input=Decimal("0.15"), output=Decimal("0.6")),
    )
    for _ in range(1000):
        set_aside(book, 0.0001).settle(line)
    assert day(book) == Decimal("0.00285")


# Days and months.


def test_at_midnight_in_utc_the_day_begins_anew_and_the_month_goes_on() -> None:
    clock = at_noon()
    book = spending(clock, per_day=1.0, per_month=1.5)
    spend(book, "1")
    clock.advance(DAY / 2 - 1)
    assert refused(book, 0.6).cap == "spend.per_day"
    clock.advance(1)
    assert book.overrun("a", 0.5) is None
    assert refused(book, 0.6).cap == "spend.per_month"


def test_a_new_month_begins_anew() -> None:
    clock = at_noon()
    book = spending(clock, per_month=1.0)
    spend(book, "1")
    clock.advance(6.5 * DAY - 1)
    assert refused(book, 0.1).retry_after == 1
    clock.advance(1)
    assert book.overrun("a", 1.0) is None
    (status,) = book.status()
    assert (status.month, status.day_ends, status.month_ends) == (NOTHING, 20_789.0 * DAY, 20_819.0 * DAY)


def test_an_attempt_counts_for_the_day_on_which_it_ends() -> None:
    clock = at_noon()
    book = spending(clock, per_day=1.0)
    late = set_aside(book, 0.5)
    clock.advance(DAY)
    late.settle(answered("0.4"))
    assert day(book) == Decimal("0.4")
    clock.advance(DAY)
    assert day(book) == 0


def test_a_clock_that_is_set_back_does_not_give_a_day_away() -> None:
    clock = at_noon()
    book = spending(clock, per_day=1.0)
    spend(book, "1")
    clock.advance(DAY)
    spend(book, "0.2")
    clock.advance(-DAY)
    assert refused(book, 0.1).spent == 1


def test_old_days_are_forgotten() -> None:
    clock = at_noon()
    book = spending(clock, per_day=1.0)
    for _ in range(400):
        spend(book, "0.5")
        clock.advance(DAY)
    account = book._accounts[ALL]
    assert len(account.own) <= 8


# What others spend.


class Later:
    """Runs what was put off when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[Callable[[], None]] = []

    def __call__(self, job: Callable[[], None]) -> None:
        self.jobs.append(job)

    def run(self) -> None:
        while self.jobs:
            self.jobs.pop()()


def test_what_all_have_spent_counts_from_the_start() -> None:
    book, later = spending(per_day=1.0), Later()
    book.read_from(lambda day, month: {ALL: (900_000_000_000, 2 * PICO)}, later)
    assert refused(book, 0.2).spent == Decimal("0.9")
    assert later.jobs == []


def test_the_totals_are_looked_up_again_after_some_seconds_and_off_the_calls_way() -> None:
    clock, later, total = at_noon(), Later(), [0]
    book = spending(clock, per_day=1.0)
    asked: list[tuple[str, str]] = []

    def look(of_day: str, of_month: str) -> dict[str, tuple[int, int]]:
        asked.append((of_day, of_month))
        return {ALL: (total[0], total[0])}

    book.read_from(look, later)
    total[0] = PICO
    clock.advance(4.9)
    assert book.overrun("a", 0.5) is None
    assert later.jobs == []
    clock.advance(0.1)
    assert book.overrun("a", 0.5) is None  # what it knows, while it is being looked up
    assert book.overrun("a", 0.5) is None
    assert len(later.jobs) == 1
    later.run()
    assert refused(book, 0.5).spent == 1
    assert asked == [("2026-11-24", "2026-11")] * 2


def test_our_own_part_of_the_totals_is_not_counted_twice() -> None:
    clock, later, total = at_noon(), Later(), [0]
    book = spending(clock, per_day=10.0)
    book.read_from(lambda day, month: {ALL: (total[0], total[0])}, later)
    spend(book, "1")
    total[0] = 3 * PICO  # two of others', one of ours
    clock.advance(5)
    book.overrun("a", 0.1)
    later.run()
    assert day(book) == 3
    spend(book, "0.5")
    assert day(book) == Decimal("3.5")


def test_what_did_not_reach_the_totals_is_spent_all_the_same() -> None:
    clock, later = at_noon(), Later()
    book = spending(clock, per_day=10.0)
    book.read_from(lambda day, month: {ALL: (0, 0)}, later)
    spend(book, "1")
    clock.advance(5)
    book.overrun("a", 0.1)
    later.run()
    assert day(book) == 1
    spend(book, "1")
    assert day(book) == 2


def test_totals_that_cannot_be_read_leave_the_last_ones_in_force() -> None:
    clock, later, answers = at_noon(), Later(), [{ALL: (PICO, PICO)}, None]
    book = spending(clock, per_day=1.0)
    book.read_from(lambda day, month: answers.pop(0), later)
    clock.advance(5)
    assert refused(book, 0.1).spent == 1
    later.run()
    assert refused(book, 0.1).spent == 1
    assert answers == []


def test_a_thread_that_cannot_be_had_is_tried_again() -> None:
    clock = at_noon()
    book = spending(clock, per_day=1.0)

    def no_thread(job: object) -> None:
        raise KeyboardInterrupt

    book.read_from(lambda day, month: {}, no_thread)
    clock.advance(5)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            book.overrun("a", 0.1)


# Properties.


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 2 * 10**6), st.booleans()), max_size=60))
def test_no_more_is_set_aside_or_spent_than_the_cap_as_long_as_estimates_hold(
    calls: list[tuple[int, int, bool]],
) -> None:
    """Estimates and costs in millionths of a dollar; a cost is at most its estimate."""
    book, open_ones = spending(per_day=3.0), []
    for estimate, cost, at_once in calls:
        overrun, reservation = book.reserve("a", estimate / 10**6)
        if overrun is None and reservation is not None:
            open_ones.append((reservation, Decimal(min(cost, estimate)) / 10**6))
        if at_once and open_ones:
            ended, usd = open_ones.pop(0)
            ended.settle(answered(str(usd)))
        (status,) = book.status()
        assert status.day + status.under_way <= 3
    for ended, usd in open_ones:
        ended.settle(answered(str(usd)))
    (status,) = book.status()
    assert status.under_way == 0


def test_sixteen_threads_cannot_take_the_last_dollar_twice() -> None:
    book, start, let_in = spending(per_day=1.0), threading.Barrier(16), []

    def work() -> None:
        start.wait(10)
        for _ in range(50):
            overrun, reservation = book.reserve("a", 0.03)
            if overrun is None and reservation is not None:
                let_in.append(reservation)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(let_in) == 33
    for reservation in let_in:
        reservation.settle(answered("0.03"))
    assert day(book) == Decimal("0.99")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_nothing_under_way_and_keeps_what_was_spent() -> None:
    book = spending(per_day=1.0)
    spend(book, "0.3")
    parents = set_aside(book, 0.6)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with book._lock:
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        (status,) = book.status()
        fine = (status.day, status.under_way) == (Decimal("0.3"), NOTHING)
        parents.release()  # unwinding of a frame that the parent has, too
        (status,) = book.status()
        os._exit(0 if fine and status.under_way == 0 and book.overrun("a", 0.7) is None else 1)
    done.set()
    holder.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert book.status()[0].under_way == Decimal("0.6")


def test_it_says_what_it_holds() -> None:
    book = spending(per_day=1.0, of={"a": SpendConfig(per_day=1.0)})
    spend(book, "0.25")
    assert repr(book) == "<Spending all $0.25 today, a $0.25 today>"
