"""
Keeps programs that call LLM APIs running: failover inside the caller's deadline, retries, circuit breakers.

The public names are below; each is loaded when it is first used, so that ``import failsafe`` costs
next to nothing. Everything public is thread-safe unless it says otherwise.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = [
    "AdaptiveConcurrency",
    "AdaptiveConcurrencyConfig",
    "Adjustment",
    "Alert",
    "AlertConfig",
    "Alerts",
    "AllProvidersFailed",
    "Attempt",
    "AttemptFinished",
    "AttemptLimitConfig",
    "AttemptTimedOut",
    "AttemptTimeout",
    "AuthenticationFailed",
    "BreakerStats",
    "Bulkhead",
    "BulkheadConfig",
    "BulkheadFull",
    "CallFailed",
    "CallFinished",
    "CallStarted",
    "CancelToken",
    "Cancelled",
    "ChatParameters",
    "Chunk",
    "CircuitBreaker",
    "CircuitBreakerConfig",
    "CircuitBreakerRegistry",
    "CircuitOpenError",
    "CircuitState",
    "CommandCarriedOut",
    "ConcurrencyStats",
    "ConfigError",
    "ContentFiltered",
    "ContextWindowExceeded",
    "CostRow",
    "Deadline",
    "DeadlineExceeded",
    "EmbedReply",
    "Event",
    "FailsafeError",
    "Fallback",
    "Fault",
    "Health",
    "HealthMonitor",
    "Hedge",
    "HedgeConfig",
    "HedgeStats",
    "InvalidRequest",
    "Ledger",
    "Misconfigured",
    "ModelNotFound",
    "ModelSubstituted",
    "MonitorConfig",
    "NetworkChanged",
    "Partial",
    "PermissionDenied",
    "Permit",
    "Phase",
    "Policy",
    "ProbeConfig",
    "ProbeFinished",
    "ProviderConfig",
    "ProviderFault",
    "ProviderStatus",
    "PutOff",
    "Quirks",
    "QuotaExhausted",
    "RateLimitReached",
    "RateLimited",
    "RateLimiter",
    "RateLimiterConfig",
    "RateLimiterStats",
    "Reply",
    "Retry",
    "RetryBudget",
    "RetryBudgetConfig",
    "RetryConfig",
    "Router",
    "RouterClosed",
    "RouterConfig",
    "Seam",
    "Secret",
    "SelectionConfig",
    "Skip",
    "SkipReason",
    "Slot",
    "SpendConfig",
    "SpendLimitReached",
    "SpendStatus",
    "StateChanged",
    "StatusChanged",
    "StoreConfig",
    "StoreReader",
    "StoreUnavailable",
    "Stream",
    "StreamConfig",
    "StreamInterrupted",
    "Timeout",
    "TooManyAbandoned",
    "ToolCall",
    "ToolCallDelta",
    "Transient",
    "UnsupportedParameter",
    "Usage",
    "WatchChanged",
    "calculate_delay",
    "current_deadline",
    "retry",
    "retry_call",
]

_HOMES = {
    "adaptive": ("AdaptiveConcurrency",),
    "alerts": ("Alerts",),
    "backoff": ("calculate_delay",),
    "breaker": ("BreakerStats", "CircuitBreaker", "CircuitBreakerRegistry", "Permit"),
    "budget": ("RetryBudget",),
    "bulkhead": ("Bulkhead",),
    "catalog": ("Quirks",),
    "chunks": ("Chunk", "Partial", "ToolCallDelta"),
    "composition": ("Policy",),
    "config": ("ProviderConfig", "RouterConfig"),
    "deadline": ("CancelToken", "Deadline", "current_deadline"),
    "embeddings": ("EmbedReply",),
    "errors": (
        "AllProvidersFailed",
        "AttemptTimedOut",
        "AuthenticationFailed",
        "BulkheadFull",
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
        "RateLimitReached",
        "RateLimited",
        "RouterClosed",
        "SpendLimitReached",
        "StoreUnavailable",
        "StreamInterrupted",
        "TooManyAbandoned",
        "Transient",
        "UnsupportedParameter",
    ),
    "events": (
        "Alert",
        "AttemptFinished",
        "CallFinished",
        "CallStarted",
        "CircuitState",
        "CommandCarriedOut",
        "Event",
        "ModelSubstituted",
        "NetworkChanged",
        "ProbeFinished",
        "PutOff",
        "StateChanged",
        "StatusChanged",
        "WatchChanged",
    ),
    "fallback": ("Fallback",),
    "faults": ("Fault",),
    "health": ("Health", "ProviderStatus"),
    "hedging": ("Hedge", "HedgeStats"),
    "ledger": ("Ledger",),
    "limiter": ("RateLimiter", "RateLimiterStats"),
    "models": (
        "Adjustment",
        "Attempt",
        "ChatParameters",
        "Phase",
        "Reply",
        "Seam",
        "Skip",
        "SkipReason",
        "ToolCall",
        "Usage",
    ),
    "monitor": ("HealthMonitor",),
    "monitoring_config": ("AlertConfig", "MonitorConfig", "ProbeConfig", "SpendConfig", "StoreConfig"),
    "policy_config": (
        "AdaptiveConcurrencyConfig",
        "AttemptLimitConfig",
        "BulkheadConfig",
        "CircuitBreakerConfig",
        "HedgeConfig",
        "RateLimiterConfig",
        "RetryBudgetConfig",
        "RetryConfig",
        "SelectionConfig",
        "StreamConfig",
    ),
    "retrying": ("Retry", "retry", "retry_call"),
    "router": ("Router",),
    "secret": ("Secret",),
    "slots": ("ConcurrencyStats", "Slot"),
    "spending": ("SpendStatus",),
    "stream": ("Stream",),
    "telemetry.reader": ("StoreReader",),
    "telemetry.views": ("CostRow",),
    "timeouts": ("AttemptTimeout", "Timeout"),
}
"""The module each public name lives in."""

TYPE_CHECKING = False  # as typing's, whose import alone takes longer than the rest of this module
if TYPE_CHECKING:
    from failsafe.adaptive import AdaptiveConcurrency
    from failsafe.alerts import Alerts
    from failsafe.backoff import calculate_delay
    from failsafe.breaker import BreakerStats, CircuitBreaker, CircuitBreakerRegistry, Permit
    from failsafe.budget import RetryBudget
    from failsafe.bulkhead import Bulkhead
    from failsafe.catalog import Quirks
    from failsafe.chunks import Chunk, Partial, ToolCallDelta
    from failsafe.composition import Policy
    from failsafe.config import ProviderConfig, RouterConfig
    from failsafe.deadline import CancelToken, Deadline, current_deadline
    from failsafe.embeddings import EmbedReply
    from failsafe.errors import (
        AllProvidersFailed,
        AttemptTimedOut,
        AuthenticationFailed,
        BulkheadFull,
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
        RateLimitReached,
        RouterClosed,
        SpendLimitReached,
        StoreUnavailable,
        StreamInterrupted,
        TooManyAbandoned,
        Transient,
        UnsupportedParameter,
    )
    from failsafe.events import (
        Alert,
        AttemptFinished,
        CallFinished,
        CallStarted,
        CircuitState,
        CommandCarriedOut,
        Event,
        ModelSubstituted,
        NetworkChanged,
        ProbeFinished,
        PutOff,
        StateChanged,
        StatusChanged,
        WatchChanged,
    )
    from failsafe.fallback import Fallback
    from failsafe.faults import Fault
    from failsafe.health import Health, ProviderStatus
    from failsafe.hedging import Hedge, HedgeStats
    from failsafe.ledger import Ledger
    from failsafe.limiter import RateLimiter, RateLimiterStats
    from failsafe.models import (
        Adjustment,
        Attempt,
        ChatParameters,
        Phase,
        Reply,
        Seam,
        Skip,
        SkipReason,
        ToolCall,
        Usage,
    )
    from failsafe.monitor import HealthMonitor
    from failsafe.monitoring_config import AlertConfig, MonitorConfig, ProbeConfig, SpendConfig, StoreConfig
    from failsafe.policy_config import (
        AdaptiveConcurrencyConfig,
        AttemptLimitConfig,
        BulkheadConfig,
        CircuitBreakerConfig,
        HedgeConfig,
        RateLimiterConfig,
        RetryBudgetConfig,
        RetryConfig,
        SelectionConfig,
        StreamConfig,
    )
    from failsafe.retrying import Retry, retry, retry_call
    from failsafe.router import Router
    from failsafe.secret import Secret
    from failsafe.slots import ConcurrencyStats, Slot
    from failsafe.spending import SpendStatus
    from failsafe.stream import Stream
    from failsafe.telemetry.reader import StoreReader
    from failsafe.telemetry.views import CostRow
    from failsafe.timeouts import AttemptTimeout, Timeout
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
