"""
Settings of the policies: frozen, keyword-only, validated where they are made.

Every rule that is broken raises :class:`failsafe.ConfigError` with the key, the value and what is
allowed. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from failsafe import checks

_DAY = 86_400.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryConfig:
    """
    How often and how fast to try again.

    For the router these are rounds over all providers; for :func:`failsafe.retry` tries of one function.

    Attributes:
        max_retries: Extra tries after the first (0 to 100).
        base_delay: The ceiling of the first wait, seconds (0 to a day).
        max_delay: The ceiling of any wait, seconds (``base_delay`` to a day).
        exponential_base: What the ceiling grows by each time (1 to 1000).
        jitter: Wait U(0, ceiling) ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
            instead of the ceiling itself.
        retry_after_cap: The longest ``retry_after`` that is waited for, seconds (0 to a day); a longer
            one ends the tries.
        retry_on: Which exceptions :func:`failsafe.retry` tries again; the router decides by the fault table instead.
    """

    max_retries: int = 2
    base_delay: float = 0.5
    max_delay: float = 8.0
    exponential_base: float = 2.0
    jitter: bool = True
    retry_after_cap: float = 60.0
    retry_on: tuple[type[Exception], ...] = (Exception,)

    def __post_init__(self) -> None:
        checks.whole("max_retries", self.max_retries, most=100)
        checks.number("base_delay", self.base_delay, least=0, most=_DAY)
        checks.number("max_delay", self.max_delay, least=0, most=_DAY)
        checks.number("exponential_base", self.exponential_base, least=1, most=1000)
        checks.flag("jitter", self.jitter)
        checks.number("retry_after_cap", self.retry_after_cap, least=0, most=_DAY)
        kinds = self.retry_on if isinstance(self.retry_on, tuple) else (None,)
        if not all(isinstance(each, type) and issubclass(each, Exception) for each in kinds):
            checks.refuse("retry_on", self.retry_on, "a tuple of exception classes is needed")
        if self.max_delay < self.base_delay:
            checks.refuse("max_delay", self.max_delay, f"at least base_delay ({self.base_delay:g}) is needed")


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitBreakerConfig:
    """
    When a breaker opens, how long it stays open, and what closes it.

    The consecutive rule is always there unless it is turned off; the rate rules are added by their
    thresholds, and whichever is broken first opens the breaker.

    Attributes:
        failure_threshold: Consecutive failures that open it (at least 1). None turns this rule off,
            which needs a rate rule in its place.
        success_threshold: Successful probes that close it (at least 1).
        timeout: The open time, seconds (above 0, at most a day).
        half_open_max_calls: Most probes in flight at once (at least 1).
        half_open_max_wait: Seconds after which an unanswered probe loses its place; looked at only
            when every place is taken. None: the larger of ``timeout`` and 60.
        timeout_jitter: Lengthens each open time by U(0, this) of itself (0 to 1), never shortens it.
        timeout_multiplier: Lengthens the open time by this factor with each failed half-open in a row (1 to 1000).
        max_timeout: The longest open time, growth, jitter and a provider's ``Retry-After`` included, seconds.
            None: the larger of ``timeout`` and 300.
        failure_rate_threshold: The share of failures in the window that opens it (above 0, at most 1);
            soft failures (rate limits) count. None: no such rule.
        slow_call_duration: Seconds; a call that takes longer is a slow one, whatever its outcome
            (above 0, at most a day). None: no call is slow.
        slow_call_rate_threshold: The share of slow calls in the window that opens it (above 0, at most 1).
        window_size: The window is this many of the latest calls (1 to 1,000,000).
        window_seconds: The window is this long, in ten equal steps (a millisecond to a day).
            Neither: 60 seconds, where a rate rule is used. Not both.
        minimum_calls: Calls that must be in the window before a rate is judged (at least 1); a smaller
            ``window_size`` takes its place.
    """

    failure_threshold: int | None = 5
    success_threshold: int = 3
    timeout: float = 60.0
    half_open_max_calls: int = 3
    half_open_max_wait: float | None = None
    timeout_jitter: float = 0.0
    timeout_multiplier: float = 1.0
    max_timeout: float | None = None
    failure_rate_threshold: float | None = None
    slow_call_duration: float | None = None
    slow_call_rate_threshold: float = 1.0
    window_size: int | None = None
    window_seconds: float | None = None
    minimum_calls: int = 20

    def __post_init__(self) -> None:
        if self.failure_threshold is not None:
            checks.whole("failure_threshold", self.failure_threshold, least=1)
        elif not self.judges_rates:
            checks.refuse("failure_threshold", None, "a rate rule is needed in its place: set failure_rate_threshold")
        checks.whole("success_threshold", self.success_threshold, least=1)
        checks.number("timeout", self.timeout, above=0, most=_DAY)
        checks.whole("half_open_max_calls", self.half_open_max_calls, least=1)
        if self.half_open_max_wait is not None:
            checks.number("half_open_max_wait", self.half_open_max_wait, above=0, most=_DAY)
        checks.number("timeout_jitter", self.timeout_jitter, least=0, most=1)
        checks.number("timeout_multiplier", self.timeout_multiplier, least=1, most=1000)
        if self.max_timeout is not None:
            checks.number("max_timeout", self.max_timeout, least=self.timeout, most=_DAY)
        self._check_window()

    @property
    def judges_rates(self) -> bool:
        """Whether any rule needs the window."""
        return self.failure_rate_threshold is not None or self.slow_call_duration is not None

    def _check_window(self) -> None:
        if self.failure_rate_threshold is not None:
            checks.number("failure_rate_threshold", self.failure_rate_threshold, above=0, most=1)
        if self.slow_call_duration is not None:
            checks.number("slow_call_duration", self.slow_call_duration, above=0, most=_DAY)
        checks.number("slow_call_rate_threshold", self.slow_call_rate_threshold, above=0, most=1)
        if self.window_size is not None:
            checks.whole("window_size", self.window_size, least=1, most=1_000_000)
        if self.window_seconds is not None:
            checks.number("window_seconds", self.window_seconds, least=0.001, most=_DAY)
            if self.window_size is not None:
                checks.refuse(
                    "window_seconds", self.window_seconds, "only one of window_size and window_seconds is needed"
                )
        checks.whole("minimum_calls", self.minimum_calls, least=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class HedgeConfig:
    """
    When a second provider is asked although the first has not failed yet.

    Attributes:
        delay: Seconds after which the first attempt counts as slow (0 to a day). None: by ``delay_quantile``.
        delay_quantile: The attempt counts as slow once it takes longer than this share of the recent
            ones (above 0, below 1). None: 0.95, where no ``delay`` is given. Not both.
        max_hedges: Most further attempts for one attempt (1 to 10).
        budget: Most hedges as a share of the calls that are answered (0 to 1, 0 being none), beside a
            few at the start.
        minimum_calls: Recent calls needed before their quantile is used (at least 1); until then nothing is hedged.
        window_size: How many recent calls of a provider the quantile is taken over (``minimum_calls`` to 100,000).
    """

    delay: float | None = None
    delay_quantile: float | None = None
    max_hedges: int = 1
    budget: float = 0.05
    minimum_calls: int = 20
    window_size: int = 1000

    def __post_init__(self) -> None:
        if self.delay is not None:
            checks.number("delay", self.delay, least=0, most=_DAY)
        if self.delay_quantile is not None:
            checks.number("delay_quantile", self.delay_quantile, above=0, most=1)
            if self.delay_quantile == 1:
                checks.refuse("delay_quantile", self.delay_quantile, "a number above 0 and below 1 is needed")
            if self.delay is not None:
                checks.refuse("delay_quantile", self.delay_quantile, "a delay or a delay_quantile is needed, not both")
        checks.whole("max_hedges", self.max_hedges, least=1, most=10)
        checks.number("budget", self.budget, least=0, most=1)
        checks.whole("minimum_calls", self.minimum_calls, least=1)
        checks.whole("window_size", self.window_size, least=self.minimum_calls, most=100_000)

    @property
    def quantile(self) -> float | None:
        """The quantile in force; None where a fixed ``delay`` is."""
        return self.delay_quantile or (0.95 if self.delay is None else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryBudgetConfig:
    """
    How many extra tries a provider may be put to, retries and hedges together.

    Attributes:
        capacity: Tokens held at most and at the start (0 to 1,000,000); an extra try costs one.
        per_success: Tokens that each success earns (0 to 1).
    """

    capacity: float = 10.0
    per_success: float = 0.1

    def __post_init__(self) -> None:
        checks.number("capacity", self.capacity, least=0, most=1_000_000)
        checks.number("per_success", self.per_success, least=0, most=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkheadConfig:
    """
    How many calls may be under way at once.

    Attributes:
        max_concurrent: Calls under way (1 to 1,000,000).
        max_wait: Seconds a further call waits for one of them to end (0 to a day; 0: it is refused at once).
    """

    max_concurrent: int
    max_wait: float = 0.0

    def __post_init__(self) -> None:
        checks.whole("max_concurrent", self.max_concurrent, least=1, most=1_000_000)
        checks.number("max_wait", self.max_wait, least=0, most=_DAY)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateLimiterConfig:
    """
    How many requests and tokens may be sent in a minute.

    Attributes:
        requests_per_minute: Requests (above 0, at most a billion). None: no limit.
        tokens_per_minute: Tokens (above 0, at most a billion). None: no limit.
        burst: Seconds of allowance that may be spent at once after a pause (above 0, at most 3600).
        max_wait: Seconds a call waits for its turn (0 to a day; 0: it is refused at once).
        learn: In a router, also hold to the limits that the provider's answers state in their headers.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    burst: float = 10.0
    max_wait: float = 0.0
    learn: bool = True

    def __post_init__(self) -> None:
        if self.requests_per_minute is not None:
            checks.number("requests_per_minute", self.requests_per_minute, above=0, most=1e9)
        if self.tokens_per_minute is not None:
            checks.number("tokens_per_minute", self.tokens_per_minute, above=0, most=1e9)
        checks.number("burst", self.burst, above=0, most=3600)
        checks.number("max_wait", self.max_wait, least=0, most=_DAY)
        checks.flag("learn", self.learn)


@dataclass(frozen=True, kw_only=True, slots=True)
class AdaptiveConcurrencyConfig:
    """
    A limit on calls under way that finds its own height: up by one a round trip, down by a factor.

    Attributes:
        initial: The limit at the start (``minimum`` to ``maximum``).
        minimum: It never falls below this (1 to 1,000,000).
        maximum: It never rises above this (``minimum`` to 1,000,000).
        backoff: The factor by which it falls when the service pushes back (above 0, below 1).
        latency_multiple: Answers that in general (by their median) take more than so many times the usual
            count as pushing back too (above 1, at most 1000). None: only refusals and timeouts do.
        max_wait: Seconds a call waits for its turn (0 to a day; 0: it is refused at once).
    """

    initial: int = 20
    minimum: int = 1
    maximum: int = 1000
    backoff: float = 0.7
    latency_multiple: float | None = 3.0
    max_wait: float = 0.0

    def __post_init__(self) -> None:
        checks.whole("minimum", self.minimum, least=1, most=1_000_000)
        checks.whole("maximum", self.maximum, least=self.minimum, most=1_000_000)
        checks.whole("initial", self.initial, least=self.minimum, most=self.maximum)
        checks.number("backoff", self.backoff, above=0, most=1)
        if self.backoff == 1:
            checks.refuse("backoff", self.backoff, "a number above 0 and below 1 is needed")
        if self.latency_multiple is not None:
            checks.number("latency_multiple", self.latency_multiple, above=1, most=1000)
        checks.number("max_wait", self.max_wait, least=0, most=_DAY)


STRATEGIES = ("priority", "weighted", "round_robin", "least_in_flight", "lowest_latency", "cheapest")
"""The names of the shipped selection strategies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SelectionConfig:
    """
    In which order the providers that may answer are asked.

    Attributes:
        strategy: ``priority``, ``weighted``, ``round_robin``, ``least_in_flight``, ``lowest_latency`` or
            ``cheapest``; in code also a function like those in :mod:`failsafe.strategies`.
        max_latency_ms: Milliseconds; providers that usually take longer come after all others (above 0,
            at most a day). None: no such limit.
        slow_start: Seconds over which a provider that has just recovered, or is back from draining, is
            given its full share again (0 to a day; 0: at once).
    """

    strategy: str | Callable[..., Any] = "priority"
    max_latency_ms: float | None = None
    slow_start: float = 10.0

    def __post_init__(self) -> None:
        if not callable(self.strategy):
            checks.one_of("strategy", self.strategy, STRATEGIES)
        if self.max_latency_ms is not None:
            checks.number("max_latency_ms", self.max_latency_ms, above=0, most=_DAY * 1000)
        checks.number("slow_start", self.slow_start, least=0, most=_DAY)


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamConfig:
    """
    How long a streamed answer may show nothing. Comments, pings and empty pieces are nothing.

    Attributes:
        first_content: Seconds until its first content (above 0, at most a day). None: the provider's ``timeout``,
            which does not bound a streamed answer otherwise.
        stall: Seconds between two pieces of content (above 0, at most a day).
    """

    first_content: float | None = None
    stall: float = 20.0

    def __post_init__(self) -> None:
        if self.first_content is not None:
            checks.number("first_content", self.first_content, above=0, most=_DAY)
        checks.number("stall", self.stall, above=0, most=_DAY)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptLimitConfig:
    """
    When an attempt that has shown no content is given up, by what is usual for its provider.

    Holds for streams and for calls with ``progress``; a provider that answers in one piece cannot be told from one
    that hangs.

    Attributes:
        multiple: An attempt is given up after this many times the slowest of the last 64 (1 to 1000).
        floor: But never before so many seconds (0 to a day).
        minimum_calls: Answers needed before that is judged (1 to 64).
        enabled: Whether it is judged at all.
    """

    multiple: float = 4.0
    floor: float = 1.0
    minimum_calls: int = 20
    enabled: bool = True

    def __post_init__(self) -> None:
        checks.number("multiple", self.multiple, least=1, most=1000)
        checks.number("floor", self.floor, least=0, most=_DAY)
        checks.whole("minimum_calls", self.minimum_calls, least=1, most=64)
        checks.flag("enabled", self.enabled)
