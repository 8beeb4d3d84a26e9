"""Caps on what may be spent, at a router: who is asked instead, what is refused, and many calls at once."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken
from failsafe.errors import AllProvidersFailed, CallFailed, SpendLimitReached
from failsafe.events import CallFinished
from failsafe.faults import Fault
from failsafe.models import SkipReason
from failsafe.monitoring_config import SpendConfig, StoreConfig
from failsafe.policy_config import BulkheadConfig, HedgeConfig, RetryConfig, SelectionConfig
from failsafe.router import Router
from failsafe.sim import FakeProvider
from failsafe.testing import SentRequest, answer, streaming, vectors
from tests.router_bench import BROKEN, Bench, failing
from tests.test_stated_cost import said

NOTHING = Decimal(0)
DEAR = {"gpt-4.1": {"input": 10, "output": 100}}  # 500 tokens of answer are 0.05 USD
CHEAP = {"gpt-4.1": {"input": 1, "output": 10}}
FREE = {"gpt-4.1": {"input": 0, "output": 0}}
USED = said(prompt_tokens=1000, completion_tokens=400)  # 0.05 USD at the dear one, 0.005 at the cheap one


def bench(*scripts: Any, prices: str = "dc", **settings: Any) -> Bench:
    tables = {"d": DEAR, "c": CHEAP, "f": FREE, "u": {}}
    own = {name: {"prices": tables[kind]} for name, kind in zip("abcdefgh", prices, strict=False)}
    for name, more in settings.pop("each", {}).items():
        own[name] = {**own.get(name, {}), **more}
    return Bench(*scripts, each=own, **settings)


def test_a_call_that_would_cost_too_much_asks_somebody_cheaper() -> None:
    two = bench(USED, USED, spend=SpendConfig(per_call=0.04))
    reply = two.ask()
    assert (reply.provider, two.asked()) == ("b", {"a": 0, "b": 1})
    (skip,) = reply.skipped
    assert (skip.provider, skip.reason) == ("a", SkipReason.SPEND_LIMIT)
    assert skip.detail == "would cost about $0.05, above spend.per_call = $0.04"


def test_when_nobody_is_cheap_enough_nothing_is_sent_and_the_error_says_all() -> None:
    two = bench(USED, USED, spend=SpendConfig(per_call=0.004))
    error = two.lose()
    assert isinstance(error, SpendLimitReached)
    assert two.asked() == {"a": 0, "b": 0}
    assert str(error) == (
        "a cap on what may be spent leaves nobody to ask for 'gpt-4.1'; nothing was sent\n"
        "  -  a (gpt-4.1): not asked: would cost about $0.05, above spend.per_call = $0.004\n"
        "  -  b (gpt-4.1): not asked: would cost about $0.005, above spend.per_call = $0.004\n"
        "  => raise spend.per_call, or add a cheaper provider or model; [spend] says what may be spent"
    )
    assert (error.cap, error.limit, error.spent, error.resets_at, error.retry_after) == (
        "spend.per_call", Decimal("0.004"), None, None, None,
    )  # fmt: skip
    assert [skip.provider for skip in error.skipped] == ["a", "b"]
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def test_it_is_a_failed_call_like_any_other() -> None:
    two = bench(USED, spend=SpendConfig(per_call=0.004), prices="d")
    assert isinstance(two.lose(), CallFailed)
    (ended,) = [event for event in two.events if isinstance(event, CallFinished)]
    assert (ended.error, ended.attempts) == ("SpendLimitReached", 0)


def test_the_last_answer_may_stand_in() -> None:
    two = bench(USED, spend=SpendConfig(per_call=0.004), prices="d", fallback="no money left")
    assert two.ask().content == "no money left"


def test_a_day_is_used_up_by_what_calls_really_cost() -> None:
    one = bench(USED, prices="d", spend=SpendConfig(per_day=0.2))
    assert [one.ask().provider for _ in range(3)] == ["a"] * 3
    error = one.lose()
    assert isinstance(error, SpendLimitReached)
    assert error.spent == Decimal("0.15")
    assert error.estimate == pytest.approx(Decimal("0.05"), rel=Decimal("0.01"))
    assert error.resets_at is not None
    assert error.retry_after is not None
    assert error.retry_after == pytest.approx(error.resets_at - one.clock.time())
    assert error.resets_at % 86_400 == 0
    one.clock.advance(error.retry_after)
    assert one.ask().provider == "a"


def test_a_used_up_provider_leaves_the_others() -> None:
    two = bench(USED, USED, each={"a": {"spend": SpendConfig(per_day=0.06)}})
    assert [two.ask().provider for _ in range(3)] == ["a", "b", "b"]
    (status,) = two.router.spend()
    assert (status.provider, status.day, status.under_way) == ("a", Decimal("0.05"), NOTHING)


def test_what_is_free_is_asked_when_the_money_is_gone() -> None:
    two = bench(USED, USED, prices="df", spend=SpendConfig(per_day=0.06))
    assert [two.ask().provider for _ in range(4)] == ["a", "b", "b", "b"]


def test_a_model_of_unknown_price_is_not_asked_unless_you_say_so() -> None:
    two = bench(USED, USED, prices="ud", spend=SpendConfig(per_day=1))
    reply = two.ask()
    assert reply.provider == "b"
    assert reply.skipped[0].detail == "its price is not known, and spend.unknown_prices = refuse"
    allowed = bench(USED, USED, prices="ud", spend=SpendConfig(per_day=1, unknown_prices="allow"))
    assert allowed.ask().provider == "a"
    only = bench(USED, prices="u", spend=SpendConfig(per_day=1)).lose()
    assert isinstance(only, SpendLimitReached)
    assert "spend.unknown_prices = allow" in str(only)


def test_of_an_alias_the_cheaper_model_is_asked() -> None:
    prices = {"big": {"input": 10, "output": 100}, "small": {"input": 1, "output": 1}}
    one = Bench(
        USED, each={"a": {"prices": prices}}, aliases={"best": ["big", "small"]}, spend=SpendConfig(per_call=0.01)
    )
    assert one.ask(model="best").asked_model == "small"
    assert one.clock.waits == []


def test_the_cap_of_one_call_and_that_of_the_settings_both_hold() -> None:
    two = bench(USED, USED, spend=SpendConfig(per_call=0.01))
    error = two.lose(max_cost_usd=0.001)
    assert isinstance(error, AllProvidersFailed)
    assert [skip.reason for skip in error.skipped] == [SkipReason.CONSTRAINT] * 2


@pytest.mark.usefixtures("expect_logs")
def test_when_the_affordable_one_fails_the_call_fails_as_usual() -> None:
    two = bench(USED, BROKEN, spend=SpendConfig(per_call=0.04), retry=RetryConfig(max_retries=0))
    error = two.lose()
    assert isinstance(error, AllProvidersFailed)
    assert "would cost about $0.05" in str(error)


@pytest.mark.parametrize("strategy", ["priority", "round_robin", "cheapest", "weighted", "lowest_latency"])
def test_every_order_keeps_within_the_caps(strategy: str) -> None:
    two = bench(USED, USED, spend=SpendConfig(per_call=0.04), selection=SelectionConfig(strategy=strategy))
    assert {two.ask().provider for _ in range(5)} == {"b"}


# What counts.


@pytest.mark.usefixtures("expect_logs")
def test_a_try_that_may_have_been_billed_counts_as_if_it_had_been() -> None:
    two = bench(failing(Fault.TIMEOUT, maybe_billed=True), USED, prices="dd", spend=SpendConfig(per_day=1))
    two.ask()
    (status,) = two.router.spend()
    assert status.doubtful == pytest.approx(Decimal("0.05"), rel=Decimal("0.01"))
    assert status.day == status.doubtful + Decimal("0.05")


@pytest.mark.usefixtures("expect_logs")
def test_a_try_that_was_not_billed_does_not_count() -> None:
    two = bench(failing(Fault.NETWORK), USED, spend=SpendConfig(per_day=1))
    two.ask()
    (status,) = two.router.spend()
    assert (status.day, status.doubtful, status.under_way) == (Decimal("0.005"), NOTHING, NOTHING)


@pytest.mark.usefixtures("expect_logs")
def test_the_next_try_is_refused_once_the_tries_before_have_used_the_day_up() -> None:
    lost = failing(Fault.TIMEOUT, maybe_billed=True)
    two = bench(lost, lost, prices="dd", spend=SpendConfig(per_day=0.06), retry=RetryConfig(max_retries=3))
    error = two.lose()
    assert isinstance(error, AllProvidersFailed)
    assert sum(two.asked().values()) == 1
    assert "spend.per_day" in str(error)
    assert len(two.clock.waits) <= 4  # nobody waits for money


def test_a_stream_counts_when_it_has_ended() -> None:
    one = bench(streaming("Hel", "lo"), prices="d", spend=SpendConfig(per_day=0.09))
    with closing(one.router.stream("hi", model="gpt-4.1")) as stream:
        assert next(iter(stream)).text == "Hel"
        assert one.router.spend()[0].under_way > 0
        for _ in stream:
            pass
    (status,) = one.router.spend()
    assert (status.day, status.under_way) == (Decimal("0.00023"), NOTHING)  # 3 x 10 + 2 x 100 millionths


def test_a_stream_that_its_reader_closes_counts_as_estimated() -> None:
    one = bench(streaming("Hel", "lo"), prices="d", spend=SpendConfig(per_day=0.09))
    with one.router.stream("hi", model="gpt-4.1") as stream:
        next(iter(stream))
    (status,) = one.router.spend()
    assert (status.day > 0, status.day == status.doubtful, status.under_way) == (True, True, NOTHING)
    with pytest.raises(SpendLimitReached):
        one.router.stream("hi", model="gpt-4.1")


def test_embeddings_count() -> None:
    prices = {"text-embedding-3-small": {"input": 1000, "output": 0}}
    one = Bench(vectors([0.5, 1.0]), each={"a": {"prices": prices}}, spend=SpendConfig(per_day=0.0125))
    one.router.embed("hi", model="text-embedding-3-small")
    (status,) = one.router.spend()
    assert (status.day, status.under_way) == (Decimal("0.002"), NOTHING)
    one.router.embed("hi", model="text-embedding-3-small")
    with pytest.raises(SpendLimitReached):
        one.router.embed("long " * 100, model="text-embedding-3-small")


def test_a_hedge_is_not_sent_beyond_the_cap() -> None:
    clock_holder: list[Bench] = []

    def slow(request: SentRequest) -> Any:
        clock_holder[0].clock.advance(3.0)
        return USED

    two = bench(slow, USED, prices="dd", spend=SpendConfig(per_day=0.06), hedge=HedgeConfig())
    clock_holder.append(two)
    two.ask()
    (status,) = two.router.spend()
    assert status.day <= Decimal("0.06")
    two.router.close()


def test_a_refusal_by_something_else_frees_what_was_set_aside() -> None:
    two = bench(USED, USED, prices="dd", spend=SpendConfig(per_day=1), bulkhead=BulkheadConfig(max_concurrent=1))
    slot = two.endpoint("a").admission.enter("gpt-4.1", 0.0, repeated=False)
    assert two.ask().provider == "b"
    slot.abandon()  # type: ignore[union-attr]
    (status,) = two.router.spend()
    assert (status.day, status.under_way) == (Decimal("0.05"), NOTHING)


def test_a_cancelled_call_counts_as_what_it_may_have_cost() -> None:
    token = CancelToken()

    def cancelled(request: SentRequest) -> Any:
        token.cancel()
        return failing(Fault.CANCELLED, maybe_billed=True)

    one = bench(cancelled, prices="d", spend=SpendConfig(per_day=1))
    one.lose(cancel=token)
    (status,) = one.router.spend()
    assert (status.day > 0, status.under_way) == (True, NOTHING)


def test_an_interrupted_call_leaves_nothing_set_aside() -> None:
    def interrupted(request: SentRequest) -> Any:
        raise KeyboardInterrupt

    one = bench(interrupted, prices="d", spend=SpendConfig(per_day=1))
    with pytest.raises(KeyboardInterrupt):
        one.ask()
    (status,) = one.router.spend()
    assert (status.under_way, status.doubtful > 0) == (NOTHING, True)


def test_without_caps_there_is_nothing_to_tell() -> None:
    one = Bench(answer())
    assert one.router.spend() == ()
    assert one.router._shared.spending is None


# Many at once, over sockets, and several routers over one store.

PER_TOKEN = {"*": {"input": 0, "output": 1000}}  # a tenth of a cent a token


def over_sockets(server: FakeProvider, **settings: Any) -> Router:
    provider = ProviderConfig(name="sim", base_url=server.base_url, api_key=server.key, prices=PER_TOKEN)
    return Router(RouterConfig(providers=[provider], **settings))


def ask_from_threads(router: Router, threads: int, calls: int) -> tuple[list[Decimal], int]:
    """What the answers cost, and how many calls were refused."""
    start, costs, refusals = threading.Barrier(threads), [], []

    def work() -> None:
        start.wait(20)
        for _ in range(calls):
            try:
                reply = router.chat("hi", model="gpt-4.1", max_tokens=50, timeout=20)
            except SpendLimitReached as error:
                refusals.append(error)
            else:
                costs.append(reply.cost_usd or Decimal(0))

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for each in workers:
        each.start()
    for each in workers:
        each.join(60)
    return costs, len(refusals)


def test_sixteen_threads_keep_within_the_cap_of_a_day() -> None:
    cap = 0.5  # ten calls as they are estimated
    with FakeProvider("openai") as server, over_sockets(server, spend=SpendConfig(per_day=cap), store="off") as router:
        costs, refused = ask_from_threads(router, 16, 20)
        (status,) = router.spend()
    assert len(costs) + refused == 320
    assert refused > 0
    assert len(costs) >= 10
    assert sum(costs) == status.day <= Decimal(repr(cap))
    assert status.under_way == 0
    assert len(server.requests) == len(costs)


def test_what_was_spent_before_counts_after_a_restart_and_for_others(tmp_path: Path) -> None:
    store = StoreConfig(path=str(tmp_path / "store.db"))
    caps = SpendConfig(per_day=0.5, per_month=100)
    with FakeProvider("openai") as server:
        with over_sockets(server, spend=caps, store=store) as first:
            costs, _ = ask_from_threads(first, 4, 40)
        spent = sum(costs)
        assert spent > Decimal("0.4")
        with over_sockets(server, spend=caps, store=store) as second:
            (status,) = second.spend()
            assert (status.day, status.month) == (spent, spent)
            with pytest.raises(SpendLimitReached) as raised:
                second.chat("hi", model="gpt-4.1", max_tokens=100)
            assert raised.value.spent == spent
            assert sum(row.usd for row in second.costs()) == spent
            assert [(row.provider, row.usd) for row in second.costs(3600, ["provider"])] == [("sim", spent)]


PROGRAM = """
import sys
from failsafe import ProviderConfig, Router, RouterConfig, SpendConfig, SpendLimitReached

url, key, store = sys.argv[1:]
provider = ProviderConfig(name="sim", base_url=url, api_key=key, prices={"*": {"input": 0, "output": 1000}})
with Router(RouterConfig(providers=[provider], spend=SpendConfig(per_day=0.5), store=store)) as router:
    answered = 0
    while True:
        try:
            router.chat("hi", model="gpt-4.1", max_tokens=50)
        except SpendLimitReached:
            break
        answered += 1
    print(answered, router.spend()[0].day)
"""


def test_what_one_program_spends_is_gone_for_the_next(tmp_path: Path) -> None:
    path = str(tmp_path / "store.db")
    with FakeProvider("openai") as server:
        command = [sys.executable, "-c", PROGRAM, server.base_url, server.key, path]
        first, second = (
            subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
            for _ in range(2)
        )
        assert int(first[0]) >= 10
        assert second == ["0", first[1]]
        with over_sockets(server, spend=SpendConfig(per_day=0.5), store=StoreConfig(path=path)) as third:
            assert third.spend()[0].day == Decimal(first[1])


def test_another_server_of_the_same_name_is_another_account(tmp_path: Path) -> None:
    store = StoreConfig(path=str(tmp_path / "store.db"))
    with FakeProvider("openai") as server, FakeProvider("openai") as other:
        with over_sockets(server, spend=SpendConfig(per_day=0.5), store=store) as first:
            ask_from_threads(first, 2, 40)
        with over_sockets(other, spend=SpendConfig(per_day=0.5), store=store) as second:
            assert second.spend()[0].day == 0
            assert second.chat("hi", model="gpt-4.1", max_tokens=50).provider == "sim"


def test_two_routers_of_a_process_see_what_the_other_spends(tmp_path: Path) -> None:
    store, caps = StoreConfig(path=str(tmp_path / "store.db")), SpendConfig(per_day=0.5)
    settings: dict[str, Any] = {"spend": caps, "store": store}
    with (
        FakeProvider("openai") as server,
        over_sockets(server, **settings) as one,
        over_sockets(server, **settings) as two,
    ):
        costs, _ = ask_from_threads(one, 2, 40)
        assert two.spend()[0].day == 0
        two._spending._refresh()  # type: ignore[union-attr]
        assert two.spend()[0].day == sum(costs)
        with pytest.raises(SpendLimitReached):
            two.chat("hi", model="gpt-4.1", max_tokens=100)
