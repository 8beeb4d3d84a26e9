"""Which HTTP status says what an error of failsafe says."""

from __future__ import annotations

import math

from failsafe.errors import (
    AllProvidersFailed,
    AuthenticationFailed,
    BulkheadFull,
    Cancelled,
    CircuitOpenError,
    ContentFiltered,
    DeadlineExceeded,
    FailsafeError,
    InvalidRequest,
    ModelNotFound,
    PermissionDenied,
    ProviderFault,
    QuotaExhausted,
    RateLimited,
    RateLimitReached,
    RouterClosed,
    SpendLimitReached,
    StreamInterrupted,
)
from failsafe.faults import Fault
from failsafe.models import SkipReason

_STATUSES: tuple[tuple[type[FailsafeError], int], ...] = (
    (StreamInterrupted, 502),
    (DeadlineExceeded, 504),
    (Cancelled, 503),
    (AllProvidersFailed, 503),
    (SpendLimitReached, 402),  # clients try again after a 429, which would help nobody
    (RouterClosed, 503),
    (CircuitOpenError, 503),
    (BulkheadFull, 503),
    (RateLimited, 429),
    (RateLimitReached, 429),
    (ModelNotFound, 404),
    (InvalidRequest, 400),
    (ContentFiltered, 400),
    # The keys are the server's own: whoever asks it has no part in them.
    (AuthenticationFailed, 503),
    (PermissionDenied, 503),
    (QuotaExhausted, 503),
    (ProviderFault, 502),
)


def status_of(error: BaseException) -> int:
    """
    The status for a client who asked for a chat: 4xx for its own mistake, 503 or 504 where trying later may help.

    429 where nothing but rate limits keeps every provider from answering: clients know to slow down by it. 500 for
    what is no error of a call (a wrong setting, a defect).
    """
    if isinstance(error, AllProvidersFailed) and _are_limits(error):
        return 429
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return 500


def _are_limits(error: AllProvidersFailed) -> bool:
    """Whether every provider that could serve the call is at a rate limit, its own or one of ours."""
    skipped = [skip for skip in error.skipped if skip.reason is not SkipReason.CANNOT_EXPRESS]
    faults = [attempt.fault for attempt in error.attempts]
    faults += [Fault.RATE_LIMIT if skip.reason is SkipReason.RATE_LIMIT else skip.fault for skip in skipped]
    return bool(faults) and all(fault is Fault.RATE_LIMIT for fault in faults)


def retry_after(error: BaseException) -> int | None:
    """Whole seconds for a ``Retry-After`` header, at least 1; None where the error knows none."""
    seconds = getattr(error, "retry_after", None)
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        return None
    return max(1, math.ceil(seconds))
