"""
Settings: frozen, keyword-only, validated where they are made, and never showing a key.

Every rule that is broken raises :class:`failsafe.ConfigError` with the key, the value and what is
allowed. Times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from failsafe import checks


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryConfig:
    """
    How often and how fast to try again.

    For the router these are rounds over all providers; for :func:`failsafe.retry` tries of one function.

    Attributes:
        max_retries: Extra tries after the first (0 to 100).
        base_delay: The ceiling of the first wait, seconds.
        max_delay: The ceiling of any wait, seconds.
        exponential_base: What the ceiling grows by each time.
        jitter: Wait U(0, ceiling) ("full jitter", https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
            instead of the ceiling itself.
        retry_after_cap: The longest ``retry_after`` that is waited for, seconds; a longer one ends the tries.
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
        checks.number("base_delay", self.base_delay, least=0)
        checks.number("max_delay", self.max_delay, least=0)
        checks.number("exponential_base", self.exponential_base, least=1)
        checks.flag("jitter", self.jitter)
        checks.number("retry_after_cap", self.retry_after_cap, least=0)
        if self.max_delay < self.base_delay:
            checks.refuse("max_delay", self.max_delay, f"at least base_delay ({self.base_delay:g}) is needed")


@dataclass(frozen=True, kw_only=True, slots=True)
class CircuitBreakerConfig:
    """
    When a breaker opens, how long it stays open, and what closes it.

    Attributes:
        failure_threshold: Consecutive failures that open it (at least 1).
        success_threshold: Successful probes that close it (at least 1).
        timeout: The open time, seconds (above 0).
        half_open_max_calls: Most probes in flight at once (at least 1).
        half_open_max_wait: Seconds after which an unanswered probe loses its place; looked at only
            when every place is taken. None: the larger of ``timeout`` and 60.
        timeout_jitter: Lengthens each open time by U(0, this) of itself (0 to 1), never shortens it.
        timeout_multiplier: Lengthens the open time by this factor with each failed half-open in a row (at least 1).
        max_timeout: The longest open time, growth, jitter and a provider's ``Retry-After`` included, seconds.
            None: the larger of ``timeout`` and 300.
    """

    failure_threshold: int = 5
    success_threshold: int = 3
    timeout: float = 60.0
    half_open_max_calls: int = 3
    half_open_max_wait: float | None = None
    timeout_jitter: float = 0.0
    timeout_multiplier: float = 1.0
    max_timeout: float | None = None

    def __post_init__(self) -> None:
        checks.whole("failure_threshold", self.failure_threshold, least=1)
        checks.whole("success_threshold", self.success_threshold, least=1)
        checks.number("timeout", self.timeout, above=0)
        checks.whole("half_open_max_calls", self.half_open_max_calls, least=1)
        if self.half_open_max_wait is not None:
            checks.number("half_open_max_wait", self.half_open_max_wait, above=0)
        checks.number("timeout_jitter", self.timeout_jitter, least=0, most=1)
        checks.number("timeout_multiplier", self.timeout_multiplier, least=1)
        if self.max_timeout is not None:
            checks.number("max_timeout", self.max_timeout, least=self.timeout)
