"""
Keeps programs that call LLM APIs running: failover inside the caller's deadline, retries, circuit breakers.

The public names are below; each is loaded when it is first used, so that ``import failsafe`` costs
next to nothing. Everything public is thread-safe unless it says otherwise.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = [
    "Adjustment",
    "AllProvidersFailed",
    "Attempt",
    "AttemptFinished",
    "AuthenticationFailed",
    "CallFailed",
    "CallFinished",
    "CancelToken",
    "Cancelled",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerRegistry",
    "CircuitOpenError",
    "CircuitState",
    "ConfigError",
    "ContentFiltered",
    "ContextWindowExceeded",
    "Deadline",
    "DeadlineExceeded",
    "FailsafeError",
    "Fault",
    "InvalidRequest",
    "Misconfigured",
    "ModelNotFound",
    "ModelSubstituted",
    "PermissionDenied",
    "Permit",
    "ProviderConfig",
    "ProviderFault",
    "ProviderStatus",
    "PutOff",
    "QuotaExhausted",
    "RateLimited",
    "Reply",
    "RetryBudget",
    "RetryConfig",
    "Router",
    "RouterClosed",
    "RouterConfig",
    "Secret",
    "Skip",
    "StateChanged",
    "ToolCall",
    "Transient",
    "UnsupportedParameter",
    "Usage",
    "calculate_delay",
    "retry",
    "retry_call",
]

_HOMES = {
    "backoff": ("calculate_delay",),
    "breaker": ("CircuitBreaker", "CircuitBreakerRegistry", "Permit"),
    "budget": ("RetryBudget",),
    "config": ("CircuitBreakerConfig", "ProviderConfig", "RetryConfig", "RouterConfig"),
    "deadline": ("CancelToken", "Deadline"),
    "errors": (
        "AllProvidersFailed",
        "AuthenticationFailed",
        "CallFailed",
        "Cancelled",
        "CircuitOpenError",
        "ConfigError",
        "ContentFiltered",
        "ContextWindowExceeded",
        "DeadlineExceeded",
        "FailsafeError",
        "InvalidRequest",
        "Misconfigured",
        "ModelNotFound",
        "PermissionDenied",
        "ProviderFault",
        "QuotaExhausted",
        "RateLimited",
        "RouterClosed",
        "Transient",
        "UnsupportedParameter",
    ),
    "events": ("AttemptFinished", "CallFinished", "CircuitState", "ModelSubstituted", "PutOff", "StateChanged"),
    "faults": ("Fault",),
    "health": ("ProviderStatus",),
    "models": ("Adjustment", "Attempt", "Reply", "Skip", "ToolCall", "Usage"),
    "retrying": ("retry", "retry_call"),
    "router": ("Router",),
    "secret": ("Secret",),
}
"""The module each public name lives in."""

TYPE_CHECKING = False  # as typing's, whose import alone takes longer than the rest of this module
if TYPE_CHECKING:
    from failsafe.backoff import calculate_delay
    from failsafe.breaker import CircuitBreaker, CircuitBreakerRegistry, Permit
    from failsafe.budget import RetryBudget
    from failsafe.config import CircuitBreakerConfig, ProviderConfig, RetryConfig, RouterConfig
    from failsafe.deadline import CancelToken, Deadline
    from failsafe.errors import (
        AllProvidersFailed,
        AuthenticationFailed,
        CallFailed,
        Cancelled,
        CircuitOpenError,
        ConfigError,
        ContentFiltered,
        ContextWindowExceeded,
        DeadlineExceeded,
        FailsafeError,
        InvalidRequest,
        Misconfigured,
        ModelNotFound,
        PermissionDenied,
        ProviderFault,
        QuotaExhausted,
        RateLimited,
        RouterClosed,
        Transient,
        UnsupportedParameter,
    )
    from failsafe.events import (
        AttemptFinished,
        CallFinished,
        CircuitState,
        ModelSubstituted,
        PutOff,
        StateChanged,
    )
    from failsafe.faults import Fault
    from failsafe.health import ProviderStatus
    from failsafe.models import Adjustment, Attempt, Reply, Skip, ToolCall, Usage
    from failsafe.retrying import retry, retry_call
    from failsafe.router import Router
    from failsafe.secret import Secret
else:

    def __getattr__(name: str) -> object:
        """Load the public name *name* (PEP 562) and keep it, so that this runs once a name."""
        home = next((module for module, names in _HOMES.items() if name in names), None)
        if home is None:
            raise AttributeError(f"module 'failsafe' has no attribute {name!r}")
        from importlib import import_module

        value = globals()[name] = getattr(import_module(f"failsafe.{home}"), name)
        return value

    def __dir__() -> list[str]:
        """Every public name, loaded or not."""
        return sorted({*globals(), *__all__})
