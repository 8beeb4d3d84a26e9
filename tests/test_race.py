"""Hedged calls: a second provider is asked while the first is slow, and the first answer wins."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from failsafe.clock import SYSTEM_CLOCK, Clock, SystemClock
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken
from failsafe.errors import AllProvidersFailed, Cancelled, DeadlineExceeded, InvalidRequest
from failsafe.events import CircuitState
from failsafe.failover import Failover
from failsafe.faults import Fault
from failsafe.models import Failure, Phase, Reply, SkipReason
from failsafe.policy_config import BulkheadConfig, HedgeConfig, RetryBudgetConfig, RetryConfig
from failsafe.router import Router
from failsafe.testing import Outcome, ScriptedTransport, SentRequest, answer, refusal

LONGEST = 10.0  # seconds after which a test that waits for another thread has failed
AT_ONCE = HedgeConfig(delay=0.0)
NO_ROUNDS = RetryConfig(max_retries=0)

Script = Outcome | Callable[[SentRequest], Outcome]


class Slow:
    """A provider that answers only when it is told to, or is given up; ``asked`` is set while it holds a request."""

    def __init__(self, outcome: Outcome | None = None) -> None:
        self.asked = threading.Event()
        self.given_up = threading.Event()
        self.go_on = threading.Event()
        self.outcome = outcome or answer("slow")

    def __call__(self, request: SentRequest) -> Outcome:
        cancel = request.limits.cancel
        assert cancel is not None
        forget = cancel.on_cancel(self.go_on.set)
        self.asked.set()
        assert self.go_on.wait(LONGEST)
        forget()
        if cancel.cancelled:
            self.given_up.set()
            return Failure(fault=Fault.CANCELLED, message="cancelled", phase=Phase.WAIT, maybe_billed=True)
        return self.outcome


def after(event: threading.Event, outcome: Outcome) -> Callable[[SentRequest], Outcome]:
    """A provider that answers once *event* is set."""

    def play(request: SentRequest) -> Outcome:
        assert event.wait(LONGEST)
        return outcome

    return play


@contextmanager
def hedging(
    *scripts: Script,
    hedge: HedgeConfig = AT_ONCE,
    each: Mapping[str, Mapping[str, Any]] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    **settings: Any,
) -> Iterator[Router]:
    """A router that hedges, over scripted providers named a, b, c."""
    names = "abcd"[: len(scripts)]
    transports = {name: ScriptedTransport(script) for name, script in zip(names, scripts, strict=True)}
    providers = [
        ProviderConfig(name=name, base_url=f"https://{name}.example/v1", **(each or {}).get(name, {})) for name in names
    ]
    config = RouterConfig(providers=providers, hedge=hedge, **{"retry": NO_ROUNDS, **settings})
    with Router(config, clock=clock, transport=lambda provider: transports[provider.name]) as router:
        yield router


def ask(router: Router, **arguments: Any) -> Reply:
    return router.chat("hi", model="gpt-4.1", **{"timeout": LONGEST, **arguments})


def probes(router: Router, name: str) -> int:
    return router.breakers.get(name).stats().probes_in_flight


def test_a_second_provider_is_asked_while_the_first_is_slow_and_its_answer_wins() -> None:
    slow = Slow()
    with hedging(slow, answer("from b")) as router:
        reply = ask(router)
        assert (reply.provider, reply.content) == ("b", "from b")
        lost, won = sorted(reply.attempts, key=lambda line: line.provider)
        assert (lost.provider, lost.fault, lost.hedge) == ("a", Fault.CANCELLED, False)
        assert lost.message == "given up: another attempt was faster"
        assert lost.maybe_billed
        assert (won.provider, won.fault, won.hedge) == ("b", None, True)
        assert slow.given_up.is_set()
        assert router.stats()["a"]["in_flight"] == 0
        assert router.stats()["a"]["breaker"].failures == 0
        assert router.stats()["a"]["last_fault"] is None


def test_the_first_provider_wins_when_it_answers_while_the_hedge_is_under_way() -> None:
    hedge = Slow()
    with hedging(after(hedge.asked, answer("from a")), hedge) as router:
        reply = ask(router)
        assert reply.provider == "a"
        assert {(line.provider, line.fault, line.hedge) for line in reply.attempts} == {
            ("a", None, False),
            ("b", Fault.CANCELLED, True),
        }
        assert hedge.given_up.is_set()
        assert router.stats()["b"]["breaker"].failures == 0


def test_an_answer_that_comes_after_the_first_changes_nothing() -> None:
    asked = threading.Event()

    def answers_when_called_off(request: SentRequest) -> Outcome:
        asked.set()
        assert request.limits.cancel is not None
        assert request.limits.cancel.event.wait(LONGEST)
        return answer("too late")

    with hedging(after(asked, answer("from a")), answers_when_called_off) as router:
        for _ in range(5):
            asked.clear()
            assert ask(router).content == "from a"


def test_no_hedge_begins_before_the_delay_is_over() -> None:
    with hedging(answer("a"), answer("b"), hedge=HedgeConfig(delay=3600.0)) as router:
        assert [line.provider for line in ask(router).attempts] == ["a"]
        assert router.stats()["b"]["requests"] == 0


def test_no_hedge_begins_before_enough_calls_are_known() -> None:
    with hedging(answer("a"), answer("b"), hedge=HedgeConfig()) as router:
        replies = [ask(router) for _ in range(19)]
        assert {len(reply.attempts) for reply in replies} == {1}
        endpoint = router._endpoints[0]
        assert endpoint.hedge is not None
        assert endpoint.hedge.seconds is None
        ask(router)
        assert endpoint.hedge.seconds is not None


@pytest.mark.usefixtures("expect_logs")
def test_a_failure_of_the_first_waits_for_the_hedge_that_is_under_way() -> None:
    hedge = Slow(answer("from b"))

    def fails_while_the_hedge_is_under_way(request: SentRequest) -> Outcome:
        assert hedge.asked.wait(LONGEST)
        threading.Timer(0.0, hedge.go_on.set).start()
        return refusal(500, "broke")

    with hedging(fails_while_the_hedge_is_under_way, hedge, answer("from c")) as router:
        reply = ask(router)
        assert reply.provider == "b"
        assert router.stats()["c"]["requests"] == 0


@pytest.mark.usefixtures("expect_logs")
def test_a_hedge_that_begins_after_another_has_ended_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first hedge fails while nobody else may be asked; a later one is under way when the first attempt fails."""
    third = Slow(answer("from c"))
    choose, asked = Failover._choose_hedge, itertools.count()

    def nobody_the_second_time(call: Failover, *arguments: Any) -> Any:
        return None if next(asked) == 1 else choose(call, *arguments)

    class Watching(SystemClock):
        @staticmethod
        def wait(event: threading.Event, timeout: float) -> bool:
            if not event.is_set():  # the hedge is waited for indeed
                third.go_on.set()
            return SYSTEM_CLOCK.wait(event, timeout)

    monkeypatch.setattr(Failover, "_choose_hedge", nobody_the_second_time)
    hedge = HedgeConfig(delay=0.05, max_hedges=2)
    with hedging(after(third.asked, refusal(500)), refusal(500), third, hedge=hedge, clock=Watching()) as router:
        assert ask(router).content == "from c"


def test_what_was_called_off_at_the_deadline_does_not_look_like_the_callers_cancellation() -> None:
    hangs = Slow()
    with hedging(after(hangs.asked, refusal(500)), hangs) as router, pytest.raises(DeadlineExceeded):
        ask(router, timeout=0.2)
    assert hangs.given_up.is_set()


def test_grpc_7222_when_all_have_failed_and_no_hedge_may_begin_the_call_ends_now() -> None:
    with hedging(refusal(500, "a broke"), hedge=HedgeConfig(delay=3600.0)) as router:
        with pytest.raises(AllProvidersFailed) as raised:
            ask(router)
        assert [line.provider for line in raised.value.attempts] == ["a"]


@pytest.mark.usefixtures("expect_logs")
def test_grpc_10145_a_hedge_that_fails_is_followed_by_the_next_at_once() -> None:
    slow = Slow()
    with hedging(slow, refusal(500, "b broke"), answer("from c"), hedge=HedgeConfig(delay=0.0, max_hedges=2)) as router:
        reply = ask(router)
        assert reply.provider == "c"
        assert {(line.provider, line.fault) for line in reply.attempts} == {
            ("a", Fault.CANCELLED),
            ("b", Fault.SERVER),
            ("c", None),
        }


@pytest.mark.usefixtures("expect_logs")
def test_no_more_hedges_than_allowed_run_beside_one_attempt() -> None:
    hedge = Slow(refusal(500, "b broke"))

    def fails_after_the_hedge(request: SentRequest) -> Outcome:
        assert hedge.asked.wait(LONGEST)
        hedge.go_on.set()
        return refusal(500, "a broke")

    with hedging(fails_after_the_hedge, hedge, answer("from c")) as router:
        reply = ask(router)
        # c is asked by the ordinary failover, not as a hedge.
        assert [(line.provider, line.hedge) for line in reply.attempts][-1] == ("c", False)
        assert len(reply.attempts) == 3


def test_an_open_breaker_is_not_hedged_to() -> None:
    slow = Slow()
    with hedging(slow, answer("from b"), answer("from c")) as router:
        router.breakers.get("b").force_open()
        assert ask(router).provider == "c"
        assert router.stats()["b"]["requests"] == 0


def test_a_full_bulkhead_is_not_hedged_to() -> None:
    slow, busy = Slow(), Slow()
    with hedging(slow, busy, answer("from c"), each={"b": {"bulkhead": BulkheadConfig(max_concurrent=1)}}) as router:
        limit = router._endpoints[1].admission.limit
        assert limit is not None
        with limit.acquire():
            assert ask(router).provider == "c"
        assert router.stats()["b"]["requests"] == 0


@pytest.mark.usefixtures("expect_logs")
def test_a_hedge_lost_gives_back_the_probe_of_a_half_open_breaker() -> None:
    hedge = Slow()
    with hedging(after(hedge.asked, answer("from a")), hedge) as router:
        breaker = router.breakers.get("b")
        breaker.trip()
        breaker._circuit.phase.until = 0.0  # type: ignore[attr-defined]
        assert ask(router).provider == "a"
        assert breaker.state is CircuitState.HALF_OPEN
        assert probes(router, "b") == 0


def test_the_budget_stops_new_hedges_and_the_calls_go_on() -> None:
    turns = [Slow() for _ in range(7)]
    waiting = iter(turns)
    with hedging(
        lambda request: next(waiting)(request), answer("from b"), hedge=HedgeConfig(delay=0, budget=0.0)
    ) as router:
        threading.Timer(0.0, turns[0].go_on.set).start()
        reply = ask(router)
        assert [line.provider for line in reply.attempts] == ["a"]


def test_hedges_take_tokens_of_the_first_providers_retry_budget_too() -> None:
    slow = Slow()
    with hedging(slow, answer("from b")) as router:
        ask(router)
        assert router.stats()["a"]["retry_budget"] == pytest.approx(9)
        assert router.stats()["b"]["retry_budget"] == pytest.approx(10)


def test_a_provider_that_only_stands_in_is_hedged_to_for_ever() -> None:
    def slow(request: SentRequest) -> Outcome:
        assert request.limits.cancel is not None
        request.limits.cancel.event.wait(LONGEST)
        return Failure(fault=Fault.CANCELLED, message="cancelled", phase=Phase.WAIT)

    generous = RetryBudgetConfig(capacity=1000)
    with hedging(
        slow, answer("from b"), hedge=HedgeConfig(delay=0, budget=1.0), each={"a": {"retry_budget": generous}}
    ) as router:
        assert {ask(router).provider for _ in range(40)} == {"b"}


def test_an_empty_retry_budget_of_the_first_provider_means_no_hedge() -> None:
    slow = Slow()
    with hedging(slow, answer("from b"), each={"a": {"retry_budget": RetryBudgetConfig(capacity=0)}}) as router:
        threading.Timer(0.0, slow.go_on.set).start()
        assert [line.provider for line in ask(router).attempts] == ["a"]


def test_cancelling_the_call_ends_the_first_attempt_and_its_hedge() -> None:
    first, hedge, token = Slow(), Slow(), CancelToken()

    def cancel() -> None:
        assert first.asked.wait(LONGEST)
        assert hedge.asked.wait(LONGEST)
        token.cancel()

    canceller = threading.Thread(target=cancel)
    with hedging(first, hedge) as router:
        canceller.start()
        with pytest.raises(Cancelled) as raised:
            ask(router, cancel=token)
        canceller.join(LONGEST)
        assert {line.provider for line in raised.value.attempts} == {"a", "b"}
        assert first.given_up.is_set()
        assert hedge.given_up.is_set()
    assert token._callbacks == {}


def test_an_interrupt_in_the_callers_thread_calls_the_hedge_off() -> None:
    hedge = Slow()

    def interrupted(request: SentRequest) -> Outcome:
        assert hedge.asked.wait(LONGEST)
        raise KeyboardInterrupt

    with hedging(interrupted, hedge) as router:
        with pytest.raises(KeyboardInterrupt):
            ask(router)
        assert hedge.given_up.wait(LONGEST)
        assert router._gate.inside == 0
    assert router._endpoints[1].in_flight == 0


def test_an_interrupt_in_a_worker_leaves_the_caller_with_its_own_attempt(expect_logs: pytest.LogCaptureFixture) -> None:
    reached = threading.Event()

    def interrupted(request: SentRequest) -> Outcome:
        reached.set()
        raise SystemExit

    with hedging(after(reached, answer("from a")), interrupted) as router:
        assert ask(router).provider == "a"
        assert router.stats()["b"]["in_flight"] == 0


@pytest.mark.usefixtures("expect_logs")
def test_the_callers_mistake_found_by_a_hedge_is_raised() -> None:
    hedge = Slow(refusal(400, "messages: too many of them"))

    def fails_after_the_hedge(request: SentRequest) -> Outcome:
        assert hedge.asked.wait(LONGEST)
        hedge.go_on.set()
        return refusal(500, "a broke")

    with hedging(fails_after_the_hedge, hedge) as router, pytest.raises(InvalidRequest, match=r"b: .*too many"):
        ask(router)


def test_a_hedged_call_keeps_its_deadline() -> None:
    with hedging(Slow(), Slow()) as router:

        def end(request: SentRequest) -> Outcome:
            left = request.limits.deadline.left
            assert request.limits.cancel is not None
            request.limits.cancel.event.wait(left)
            return Failure(fault=Fault.TIMEOUT, message="no answer", phase=Phase.WAIT, maybe_billed=True)

        for endpoint in router._endpoints:
            endpoint.transport = ScriptedTransport(end)
        with pytest.raises((DeadlineExceeded, AllProvidersFailed)) as raised:
            ask(router, timeout=0.2)
        assert {line.provider for line in raised.value.attempts} == {"a", "b"}


def test_another_failure_domain_is_hedged_to_first() -> None:
    slow = Slow()
    domains = {"a": {"failure_domains": ["us"]}, "b": {"failure_domains": ["us"]}, "c": {"failure_domains": ["eu"]}}
    with hedging(slow, answer("from b"), answer("from c"), each=domains) as router:
        assert ask(router).provider == "c"


def test_nobody_is_hedged_to_when_there_is_nobody_else() -> None:
    slow = Slow()
    with hedging(slow) as router:
        threading.Timer(0.0, slow.go_on.set).start()
        assert [line.provider for line in ask(router).attempts] == ["a"]


def test_closing_ends_the_workers() -> None:
    with hedging(Slow(), answer("from b")) as router:
        ask(router)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("failsafe-hedge")]


def test_the_skips_of_hedges_show_in_the_receipt_only_for_who_was_never_asked() -> None:
    slow = Slow()
    with hedging(slow, answer("from b"), answer("from c")) as router:
        router.breakers.get("b").force_open("maintenance")
        reply = ask(router)
        assert [(skip.provider, skip.reason) for skip in reply.skipped] in ([], [("b", SkipReason.BREAKER_OPEN)])


def test_many_hedged_calls_at_once_end_alike_and_leave_nothing_behind() -> None:
    def first(request: SentRequest) -> Outcome:
        cancel = request.limits.cancel
        assert cancel is not None
        cancel.event.wait(0.001)
        if cancel.cancelled:
            return Failure(fault=Fault.CANCELLED, message="cancelled", phase=Phase.WAIT)
        return answer("from a")

    with hedging(first, answer("from b"), hedge=HedgeConfig(delay=0.0005, budget=1.0)) as router:
        providers: list[str] = []

        def work() -> None:
            providers.extend(ask(router).provider for _ in range(50))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(providers) == 400
        assert set(providers) <= {"a", "b"}
        stats = router.stats()
        assert stats["a"]["in_flight"] == stats["b"]["in_flight"] == 0
        assert stats["a"]["breaker"].failures == stats["b"]["breaker"].failures == 0
