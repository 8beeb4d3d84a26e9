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
    StreamInterrupted,
)

_STATUSES: tuple[tuple[type[FailsafeError], int], ...] = (
    (StreamInterrupted, 502),
    (DeadlineExceeded, 504),
    (Cancelled, 503),
    (AllProvidersFailed, 503),
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

    500 for what is no error of a call (a wrong setting, a defect).
    """
    for kind, status in _STATUSES:
        if isinstance(error, kind):
            return status
    return 500


def retry_after(error: BaseException) -> int | None:
    """Whole seconds for a ``Retry-After`` header, at least 1; None where the error knows none."""
    seconds = getattr(error, "retry_after", None)
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        return None
    return max(1, math.ceil(seconds))
