"""
The public surface as a user's type checker sees it.

mypy reads this file (``make check``); nothing runs it.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, assert_type

import failsafe
from failsafe import (
    AdaptiveConcurrency,
    AdaptiveConcurrencyConfig,
    Adjustment,
    Alert,
    AlertConfig,
    Alerts,
    AllProvidersFailed,
    Attempt,
    AttemptFinished,
    AttemptLimitConfig,
    AttemptTimeout,
    AuthenticationFailed,
    Bulkhead,
    BulkheadConfig,
    CallFailed,
    CallFinished,
    CallStarted,
    CancelToken,
    Chunk,
    CircuitBreaker,
    CircuitBreakerConfig,
    CircuitBreakerRegistry,
    CircuitOpenError,
    CircuitState,
    ConcurrencyStats,
    ContentFiltered,
    CostRow,
    Deadline,
    Fallback,
    Fault,
    Health,
    HealthMonitor,
    Hedge,
    HedgeConfig,
    HedgeStats,
    Ledger,
    ModelSubstituted,
    MonitorConfig,
    Partial,
    Permit,
    Policy,
    ProbeFinished,
    ProviderConfig,
    ProviderFault,
    ProviderStatus,
    PutOff,
    RateLimiter,
    RateLimiterConfig,
    RateLimiterStats,
    Reply,
    Retry,
    RetryBudget,
    RetryConfig,
    Router,
    RouterConfig,
    Seam,
    Secret,
    Skip,
    Slot,
    SpendConfig,
    SpendStatus,
    StateChanged,
    StoreReader,
    Stream,
    StreamConfig,
    StreamInterrupted,
    Timeout,
    ToolCall,
    ToolCallDelta,
    UnsupportedParameter,
    Usage,
    calculate_delay,
    current_deadline,
    retry,
    retry_call,
)
from failsafe.clock import new_random
from failsafe.integrations import opentelemetry, prometheus


def route(settings: RouterConfig) -> None:
    with Router(settings) as router:
        assert_type(router, Router)
        reply = router.chat("hi", model="gpt-4.1", timeout=10, temperature=0.2, cancel=CancelToken())
        read(reply)
        assert_type(router.chat_completion([{"role": "user", "content": "hi"}], model="m", max_tokens=5), Reply)
        assert_type(router.status(), dict[str, ProviderStatus])
        assert_type(router.close(timeout=1.0), bool)
    router.chat("hi", model="gpt-4.1", temprature=0.2)  # type: ignore[call-arg]
    router.chat("hi")  # type: ignore[call-arg]


def read_piece_by_piece(router: Router) -> None:
    with router.stream(
        "hi", model="gpt-4.1", timeout=10, on_interrupt="restart", temperature=0.2, only="openai"
    ) as stream:
        assert_type(stream, Stream)
        for chunk in stream:
            assert_type(chunk, Chunk)
            assert_type(chunk.text, str)
            assert_type(chunk.tool_calls, tuple[ToolCallDelta, ...])
            assert_type(chunk.finish_reason, Literal["stop", "length", "tool_calls", "content_filter"] | None)
            assert_type(chunk.usage, Usage | None)
            assert_type(chunk.event, Literal["delta", "restarted", "continued"])
    assert_type(stream.response, Reply)
    assert_type(stream.response.seams, tuple[Seam, ...])
    assert_type(stream.provider, str)
    assert_type(stream.request_id, str | None)
    assert_type(next(router.stream("hi", model="m")), Chunk)
    assert_type(router.chat("hi", model="m", progress=True), Reply)
    router.stream("hi", model="m", on_interrupt="resume")  # type: ignore[arg-type]
    router.stream("hi")  # type: ignore[call-arg]
    RouterConfig(
        providers=[ProviderConfig(name="openai", stream=StreamConfig(stall=5))],
        stream=StreamConfig(first_content=3),
        attempt_limit=AttemptLimitConfig(floor=0.5),
        progress=True,
    )


def limit_calls_under_way(fn: Callable[[int], str]) -> None:
    fixed = Bulkhead("billing", BulkheadConfig(max_concurrent=3))
    moving = AdaptiveConcurrency("billing", AdaptiveConcurrencyConfig(initial=5))
    assert_type(fixed.try_acquire(), Slot | None)
    assert_type(fixed.acquire(max_wait=1.0, deadline=Deadline.after(3), cancel=CancelToken()), Slot)
    assert_type(fixed.call(fn, 1), str)
    assert_type(moving(fn), Callable[[int], str])
    assert_type(moving.stats(), ConcurrencyStats)
    with moving as slot:
        assert_type(slot, Slot)
    slot.release(pushback=True)
    fixed.call(fn, "one")  # type: ignore[arg-type]


def make() -> None:
    provider = ProviderConfig(name="openai", api_key=["env:ONE", Secret("two")], max_retries=1)
    settings = RouterConfig(
        providers=[provider], retry=RetryConfig(max_retries=1), breaker=CircuitBreakerConfig(timeout=5)
    )
    assert_type(Router([provider]), Router)
    assert_type(Router(settings), Router)
    assert_type(Router.from_env(), Router)
    assert_type(Router.from_file("failsafe.toml"), Router)
    RetryConfig(3)  # type: ignore[call-arg]
    provider.name = "other"  # type: ignore[misc]


def read(reply: Reply) -> None:
    assert_type(reply.content, str)
    assert_type(reply.tool_calls, tuple[ToolCall, ...])
    assert_type(reply.usage, Usage)
    assert_type(reply.usage.total_tokens, int)
    assert_type(reply.attempts, tuple[Attempt, ...])
    assert_type(reply.skipped, tuple[Skip, ...])
    assert_type(reply.adjustments, tuple[Adjustment, ...])
    assert_type(reply.message, dict[str, Any])
    assert_type(reply.attempts[0].fault, Fault | None)


def catch(router: Router) -> None:
    try:
        router.chat("hi", model="m")
    except AuthenticationFailed as error:
        assert_type(error.diagnosis, str)
    except ContentFiltered as error:
        assert_type(error.partial, str)
    except UnsupportedParameter as error:
        assert_type(error.parameter, str | None)
    except ProviderFault as error:
        assert_type(error.provider, str | None)
        assert_type(error.status, int | None)
        assert_type(error.retry_after, float | None)
    except StreamInterrupted as error:
        assert_type(error.provider, str)
        partial: Partial = error.partial
        assert_type(partial.text, str)
    except AllProvidersFailed as error:
        assert_type(error, AllProvidersFailed)
    except CallFailed as error:
        assert_type(error.retry_after, float | None)


def wait() -> None:
    assert_type(Deadline.after(3.0), Deadline)
    assert_type(Deadline.after(3.0).left, float)
    assert_type(calculate_delay(0, RetryConfig(), new_random()), float)
    assert_type(RetryBudget(capacity=5).try_spend(), bool)


def export(router: Router) -> None:
    assert_type(prometheus.register(router, name="batch"), Callable[[], None])
    assert_type(prometheus.FailsafeCollector(router).add(router), Callable[[], None])
    assert_type(opentelemetry.instrument(router), Callable[[], None])


def listen(router: Router) -> Callable[[], None]:
    def tell(event: object) -> None:
        match event:
            case StateChanged():
                assert_type(event.new, CircuitState)
            case AttemptFinished():
                assert_type(event.attempt, Attempt)
            case CallFinished():
                assert_type(event.error, str | None)
            case CallStarted():
                assert_type(event.stream, bool)
            case PutOff():
                assert_type(event.fault, Fault)
            case ModelSubstituted():
                assert_type(event.model, str)

    return router.on_event(tell, sync=True, starts=True)


def double(number: int, *, times: int = 2) -> float:
    return float(number * times)


def guard() -> None:
    breaker = CircuitBreakerRegistry().get("billing")
    assert_type(breaker, CircuitBreaker)
    assert_type(breaker.call(double, 3, times=4), float)
    assert_type(breaker(double)(3, times=4), float)
    breaker(double)("three")  # type: ignore[arg-type]
    assert_type(breaker.try_acquire(), Permit | None)
    with breaker as permit:
        assert_type(permit, Permit)
    try:
        breaker.acquire().success()
    except CircuitOpenError as error:
        assert_type(error.retry_after, float | None)


def pace() -> None:
    limiter = RateLimiter("billing", RateLimiterConfig(requests_per_minute=60))
    assert_type(limiter.call(double, 3, times=4), float)
    assert_type(limiter(double)(3), float)
    assert_type(limiter(double, tokens=lambda number, *, times=2: number * times)(3), float)
    assert_type(limiter(tokens=5)(double)(3, times=4), float)
    limiter(double)("three")  # type: ignore[arg-type]
    assert_type(limiter.try_acquire(12.5), float)
    assert_type(limiter.stats(), RateLimiterStats)
    with limiter as entered:
        assert_type(entered, RateLimiter)


def again() -> None:
    assert_type(retry(double)(3, times=4), float)
    assert_type(retry(config=RetryConfig(max_retries=1), deadline=2.0)(double)(3), float)
    assert_type(retry_call(double, 3, config=RetryConfig()), float)
    retry(double)("three")  # type: ignore[arg-type]
    assert_type(Retry(RetryConfig(max_retries=1), budget=RetryBudget()).call(double, 3, times=4), float)
    assert_type(Retry()(double)(3), float)
    Retry()(double)("three")  # type: ignore[arg-type]


def compose() -> None:
    policy = Policy.compose(CircuitBreaker("billing"), Retry(), Timeout(3), AttemptTimeout(1.5), Fallback(0.0))
    assert_type(policy.call(double, 3, times=4), float)
    assert_type(policy(double)(3), float)
    policy.call(double, "three")  # type: ignore[arg-type]
    Policy.compose(3)  # type: ignore[arg-type]
    assert_type(Policy.in_order(policy, Deadline.after(3), RetryConfig()), Policy)
    assert_type(Timeout(3, abandon=False).call(double, 3), float)
    assert_type(AttemptTimeout(3)(double)(3, times=4), float)
    assert_type(Fallback(None).call(double, 3), float | None)
    assert_type(Fallback(repr)(double)(3), float | str)
    assert_type(current_deadline(), Deadline | None)


def hedge_it() -> None:
    with Hedge(HedgeConfig(delay=0.5), discard=print) as hedge:
        assert_type(hedge.call(double, 3, times=4), float)
        assert_type(hedge(double)(3), float)
        assert_type(hedge.race(lambda cancel: cancel.cancelled, lambda _cancel: True), bool)
        assert_type(hedge.stats(), HedgeStats)
        hedge.call(double, "three")  # type: ignore[arg-type]
        hedge.race(double)  # type: ignore[arg-type]
    assert_type(CancelToken().child().cancelled, bool)


def what_it_costs(router: Router) -> None:
    assert_type(router.ledger, Ledger)
    assert_type(router.ledger.rows(["day", "model"], first_day="2026-11-01"), list[CostRow])
    assert_type(router.ledger.total().usd, Decimal)
    assert_type(router.costs(86_400.0, by=["tag"]), list[CostRow])
    assert_type(router.spend(), tuple[SpendStatus, ...])
    assert_type(router.chat("hi", model="m", tag="team-a", max_cost_usd=0.5).cost_usd, Decimal | None)
    RouterConfig(
        providers=[ProviderConfig(name="openai", spend=SpendConfig(per_call=0.1))],
        spend=SpendConfig(per_day=5, per_month=100, warn_at=0.8, unknown_prices="allow"),
        price_lookup=True,
    )
    router.costs("day")  # type: ignore[arg-type]


def a_probe(router: Router) -> None:
    probed = router.probe("openai", "completion", 2.0, cancel=CancelToken())
    assert_type(probed, ProbeFinished)
    assert_type(probed.fault, Fault | None)
    router.probe()  # type: ignore[call-arg]


def a_monitor(router: Router) -> None:
    with HealthMonitor(router, MonitorConfig(interval=10.0)) as monitor:
        assert_type(monitor.check("openai"), ProbeFinished)
        assert_type(monitor.check_all(), dict[str, ProbeFinished])
        assert_type(monitor.status(), dict[str, ProviderStatus])
        assert_type(monitor.describe("openai"), Health)
        assert_type(monitor.describe("openai").reasons, tuple[str, ...])
        assert_type(monitor.get_uptime_percentage("openai", window=3600.0), float | None)
        monitor.history("openai")[0].state.upper()
        monitor.pause("openai", "on purpose")
        monitor.maintenance("openai", seconds=60.0)
        monitor.resume("openai")
        assert_type(monitor.on_status(lambda change: change.new.upper()), Callable[[], None])
        monitor.on_alert(lambda alert: alert.title.upper())
    monitor.check()  # type: ignore[call-arg]


def alerts_of_a_router(router: Router) -> None:
    with Alerts(AlertConfig(command=["page"])) as alerts:
        assert_type(alerts.watch(router), Callable[[], None])
        assert_type(alerts.on_alert(lambda alert: alert.title.upper()), Callable[[], None])
        alerts.mute("openai", 60.0)
        alerts.consider(Alert(at=0.0, rule="down", provider="", severity="info", title="", message=""))
        assert_type(alerts.close(1.0), bool)
    Alerts(AlertConfig(webhook=1))  # type: ignore[arg-type]


def reading(router: Router) -> None:
    with StoreReader.open("store.db") as reader:
        target = reader.target("openai")
        if target is not None:
            assert_type(reader.uptime(target.id, 0.0, 60.0).percentage, float | None)
            assert_type(reader.latency(target.id, 0.0, 60.0).p95, float | None)
            assert_type(reader.spans(target.id, 0.0, 60.0)[0].state.upper(), str)
        reader.overview(0.0, 60.0)[0].counts.answered.bit_length()
        rows, cursor = reader.news(reader.cursor())
        assert_type(rows[0].at, float)
        reader.news(cursor, limit=10)
        reader.events(after=rows[-1], kinds=["CallFinished"])
        assert_type(reader.costs("2026-11-01", "2026-11-30", by=("day", "tag")), list[CostRow])
        assert_type(reader.spent("2026-11-24", "2026-11"), tuple[int, int])
    StoreReader.open(1)  # type: ignore[arg-type]
    if router.store is not None:
        assert_type(router.store.reader(), StoreReader)


assert_type(failsafe.__version__, str)
failsafe.Ruoter  # type: ignore[attr-defined] # noqa: B018
