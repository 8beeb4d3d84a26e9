"""What calls cost, kept in memory: exact sums, what is not known apart, and bounds."""

from __future__ import annotations

import decimal
import os
import threading
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe.errors import ConfigError
from failsafe.events import AttemptFinished, CallFinished
from failsafe.faults import Fault
from failsafe.ledger import OTHER, Ledger
from failsafe.models import Attempt, Usage
from failsafe.policy_config import RetryConfig
from failsafe.pricing import Price, Rates, bill
from failsafe.telemetry.views import CostRow
from failsafe.testing import answer
from tests.router_bench import BROKEN, Bench, failing
from tests.test_stated_cost import said

DAY = 86_400
NOTHING = Decimal(0)
NOV_24 = 20_781 * DAY  # 2026-11-24
DEAR = Rates(input=Decimal(3), output=Decimal(15), cached_input=Decimal("0.3"))
CHEAP = Rates(input=Decimal("0.15"), output=Decimal("0.6"))


def attempt(
    rates: Rates | None = DEAR, *, at: float = NOV_24, tag: str = "", call: str = "1", **fields: Any
) -> AttemptFinished:
    usage = fields.pop("usage", None if "fault" in fields else Usage(prompt_tokens=1000, completion_tokens=100))
    line = Attempt(**{"provider": "a", "model": "m", "usage": usage, "rates": rates, **fields})
    return AttemptFinished(at=at, call_id=call, attempt=line, tag=tag)


def ended(call: str = "1") -> CallFinished:
    return CallFinished(
        at=NOV_24, call_id=call, asked_model="m", provider="a", model="m", error=None, attempts=1, latency_ms=1.0
    )


def lost(**fields: Any) -> AttemptFinished:
    return attempt(fault=Fault.TIMEOUT, maybe_billed=True, **fields)


def filled(*events: AttemptFinished | CallFinished, **settings: Any) -> Ledger:
    ledger = Ledger(**settings)
    for event in events:
        ledger.take(event)
    return ledger


def test_answers_are_added_up_exactly() -> None:
    ledger = filled(attempt(), attempt(CHEAP), attempt())
    # 2 x (1,000 x 3 + 100 x 15) + 1,000 x 0.15 + 100 x 0.6 = 9,210 millionths
    assert ledger.total() == CostRow(
        answers=3, prompt_tokens=3000, completion_tokens=300, usd=Decimal("0.00921"), duplicates_usd=Decimal(0)
    )


def test_an_empty_ledger_has_an_empty_row() -> None:
    assert Ledger().total() == CostRow()
    assert Ledger().rows() == []


def test_they_are_kept_by_provider_model_tag_and_day() -> None:
    ledger = filled(
        attempt(provider="a", model="m", tag="x"),
        attempt(provider="a", model="n", tag="y"),
        attempt(provider="b", model="m", tag="x", at=NOV_24 + DAY - 0.001),
        attempt(provider="b", model="m", tag="x", at=NOV_24 + DAY),
    )
    one = Decimal("0.0045")
    assert {row.provider: row.usd for row in ledger.rows()} == {"a": 2 * one, "b": 2 * one}
    assert {row.model: row.usd for row in ledger.rows(["model"])} == {"m": 3 * one, "n": one}
    assert {row.tag: row.usd for row in ledger.rows(["tag"])} == {"x": 3 * one, "y": one}
    assert {row.day: row.usd for row in ledger.rows(["day"])} == {"2026-11-24": 3 * one, "2026-11-25": one}
    by_both = {(row.provider, row.day): row.answers for row in ledger.rows(["day", "provider"])}
    assert by_both == {("a", "2026-11-24"): 2, ("b", "2026-11-24"): 1, ("b", "2026-11-25"): 1}


def test_a_time_begins_and_ends_with_whole_days() -> None:
    ledger = filled(*(attempt(at=NOV_24 + days * DAY) for days in range(5)))
    days = [row.day for row in ledger.rows(["day"], first_day="2026-11-25", last_day="2026-11-27")]
    assert days == ["2026-11-25", "2026-11-26", "2026-11-27"]


@pytest.mark.parametrize("wrong", [{"by": ["week"]}, {"first_day": "yesterday"}, {"last_day": "2026-02-30"}])
def test_what_cannot_be_asked_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Ledger().rows(**wrong)


def test_an_answer_of_unknown_price_is_counted_apart_and_not_as_nothing() -> None:
    ledger = filled(attempt(None), attempt())
    assert (ledger.total().answers, ledger.total().unpriced, ledger.total().usd) == (2, 1, Decimal("0.0045"))
    silent = filled(attempt(usage=Usage()))
    assert (silent.total().unpriced, silent.total().usd) == (1, NOTHING)


def test_what_the_provider_says_comes_first() -> None:
    usage = Usage(prompt_tokens=1000, completion_tokens=100, cost_usd=Decimal("0.0123"))
    assert filled(attempt(usage=usage), attempt(None, usage=usage)).total().usd == Decimal("0.0246")


def test_a_failure_that_is_not_billed_is_not_counted() -> None:
    assert filled(attempt(fault=Fault.NETWORK)).rows() == []


# Attempts that may have been billed in vain.


def rates_of(provider: str, model: str, at: float, prompt_tokens: int) -> Rates | None:
    return {"a": DEAR, "b": CHEAP}.get(provider)


def test_a_duplicate_is_counted_and_estimated_by_the_answer_of_its_call() -> None:
    ledger = filled(lost(provider="b"), attempt(provider="a"), ended(), rates=rates_of)
    rows = {row.provider: row for row in ledger.rows()}
    assert (rows["b"].duplicates, rows["b"].answers, rows["b"].usd) == (1, 0, NOTHING)
    assert rows["b"].duplicates_usd == Decimal("0.00021")  # 1,000 x 0.15 + 100 x 0.6
    assert (rows["a"].duplicates, rows["a"].usd) == (0, Decimal("0.0045"))


def test_a_duplicate_that_ends_after_the_answer_is_estimated_too() -> None:
    ledger = filled(attempt(provider="a"), lost(provider="b"), ended(), rates=rates_of)
    assert ledger.total().duplicates_usd == Decimal("0.00021")


@pytest.mark.parametrize(
    "events",
    [
        [lost(provider="b"), ended()],  # nobody answered
        [lost(provider="b", call="1"), attempt(call="2")],  # another call's answer
        [attempt(call="1"), ended("1"), lost(provider="b", call="1")],  # long after the end
        [lost(provider="nobody"), attempt()],  # no price
    ],
)
def test_a_duplicate_that_nothing_tells_of_is_counted_and_not_estimated(events: list[Any]) -> None:
    total = filled(*events, rates=rates_of).total()
    assert (total.duplicates, total.duplicates_usd) == (1, NOTHING)


def test_without_prices_to_look_up_duplicates_are_only_counted() -> None:
    total = filled(lost(), attempt()).total()
    assert (total.duplicates, total.duplicates_usd) == (1, NOTHING)


# Bounds.


def test_beyond_its_bound_tags_and_then_models_are_put_together_and_nothing_is_lost() -> None:
    ledger = filled(*(attempt(model=f"m{n % 7}", tag=f"t{n}") for n in range(500)), most=20)
    assert len(ledger) <= 21
    assert ledger.total().answers == 500
    assert ledger.total().usd == 500 * Decimal("0.0045")
    tags = Counter({row.tag: row.answers for row in ledger.rows(["tag"])})
    assert tags["t0"] == 1
    assert tags[OTHER] == 480


def test_days_are_kept_for_about_a_year() -> None:
    ledger = filled(*(attempt(at=NOV_24 + days * DAY) for days in range(1000)))
    assert len(ledger) == 400
    assert ledger.rows(["day"], last_day="2029-08-19")[0].day >= "2028-07-16"


def test_calls_that_never_end_are_forgotten() -> None:
    ledger = Ledger(rates_of)
    for number in range(3000):
        ledger.take(attempt(call=f"answered {number}"))
        ledger.take(lost(call=f"lost {number}"))
    assert len(ledger._answered) == len(ledger._waiting) == 1000


def test_it_says_what_it_holds() -> None:
    assert repr(filled(attempt(), attempt(None))) == "<Ledger 2 answers, $0.0045, 1 of unknown price>"


# Exactness.

rate = st.decimals(0, 1000, places=7)
rates = st.builds(Rates, input=rate, output=rate, cached_input=st.none() | rate, cache_write=st.none() | rate)
token = st.integers(0, 10**7)


@given(
    st.lists(rates, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 3), token, token, token, token, st.sampled_from("xyz")), max_size=30),
)
def test_the_sum_is_that_of_all_bills(prices: list[Rates], answers: list[tuple[int, int, int, int, int, str]]) -> None:
    ledger, expected = Ledger(), Decimal(0)
    with decimal.localcontext(decimal.Context(prec=60, traps=[decimal.Inexact])):
        for which, prompt, cached, written, completion, tag in answers:
            usage = Usage(
                prompt_tokens=prompt,
                cached_tokens=min(cached, prompt),
                cache_write_tokens=min(written, prompt),  # both together may be more than there is
                completion_tokens=completion,
            )
            event = attempt(prices[which % len(prices)], usage=usage, tag=tag)
            ledger.take(event)
            expected += event.attempt.cost_usd or 0
        assert ledger.total().usd == expected
        assert sum((row.usd for row in ledger.rows(["tag"])), Decimal(0)) == expected


def test_it_does_not_depend_on_a_programs_own_precision() -> None:
    with decimal.localcontext(decimal.Context(prec=2)):
        ledger = filled(*(attempt() for _ in range(1000)))
        assert ledger.total().usd == Decimal("4.5")


def test_many_threads_add_up() -> None:
    ledger, start = Ledger(rates_of), threading.Barrier(8)

    def work(number: int) -> None:
        start.wait(10)
        for each in range(500):
            ledger.take(attempt(call=f"{number}-{each}", tag=f"t{number}"))
            ledger.take(ended(f"{number}-{each}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert ledger.total().usd == 4000 * Decimal("0.0045")
    assert {row.answers for row in ledger.rows(["tag"])} == {500}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_is_not_stopped_by_a_lock_that_another_thread_held() -> None:
    ledger = filled(attempt())
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with ledger._lock:
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    child = os.fork()
    if child == 0:
        ledger.take(attempt())
        os._exit(ledger.total().answers)
    done.set()
    holder.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2


# At a router.

PRICES = {"gpt-4.1": {"input": 2, "output": 8}, "gpt-4.1-mini": {"input": 1, "output": 4}}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500}  # 0.006 USD
PRICED: dict[str, Any] = {"of_provider": {"prices": PRICES}}


def test_a_router_counts_from_when_it_is_first_asked() -> None:
    bench = Bench(said(**USAGE), **PRICED)
    bench.ask(tag="before")
    assert bench.router.ledger.rows() == []
    assert bench.router.ledger is bench.router.ledger
    bench.ask(tag="team-a")
    bench.ask(tag="team-b")
    assert [(row.tag, row.usd) for row in bench.router.ledger.rows(["tag"])] == [
        ("team-a", Decimal("0.006")),
        ("team-b", Decimal("0.006")),
    ]


def test_nobody_listens_before_that() -> None:
    router = Bench(said(**USAGE), **PRICED).router
    other = Bench(said(**USAGE), **PRICED).router
    bus = other._reporter.bus
    for subscription in (*bus._sync, *bus._plain):
        bus._end(subscription)
    assert not other._reporter.bus.active
    _ = router.ledger
    assert router._reporter.bus.active


@pytest.mark.usefixtures("expect_logs")
def test_a_try_that_may_have_been_billed_in_vain_shows_as_a_duplicate() -> None:
    bench = Bench(failing(Fault.TIMEOUT, maybe_billed=True), said(**USAGE), **PRICED)
    ledger = bench.router.ledger
    bench.ask()
    rows = {row.provider: row for row in ledger.rows()}
    assert (rows["a"].duplicates, rows["a"].duplicates_usd) == (1, Decimal("0.006"))
    assert (rows["b"].answers, rows["b"].usd, rows["b"].duplicates) == (1, Decimal("0.006"), 0)


@pytest.mark.usefixtures("expect_logs")
def test_a_try_that_was_refused_is_no_duplicate() -> None:
    bench = Bench(BROKEN, said(**USAGE), retry=RetryConfig(max_retries=0), **PRICED)
    ledger = bench.router.ledger
    attempts = bench.ask().attempts
    assert ledger.total().duplicates == sum(each.maybe_billed for each in attempts)


def test_without_a_store_costs_are_the_ledgers() -> None:
    bench = Bench(said(**USAGE), **PRICED)
    assert bench.router.costs() == []
    bench.ask()
    bench.clock.advance(2 * DAY)
    bench.ask(model="gpt-4.1-mini")
    assert [(row.provider, row.usd) for row in bench.router.costs()] == [("a", Decimal("0.009"))]
    assert [(row.model, row.usd) for row in bench.router.costs(3600.0, ["model"])] == [
        ("gpt-4.1-mini", Decimal("0.003"))
    ]


@pytest.mark.parametrize("wrong", [{"by": ["week"]}, {"window": 0}, {"window": float("nan")}])
def test_a_router_refuses_what_cannot_be_asked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        Bench(answer()).router.costs(**wrong)


def test_prices_of_several_days_are_billed_apart() -> None:
    early, late = Price(input=Decimal(1), output=Decimal(1)), Price(input=Decimal(2), output=Decimal(2))
    ledger = filled(attempt(early), attempt(late))
    assert ledger.total().usd == bill(early, prompt_tokens=1000, completion_tokens=100) + bill(
        late, prompt_tokens=1000, completion_tokens=100
    )
