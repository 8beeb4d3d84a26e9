"""The router's own last answer, for when nobody else has one."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from failsafe.errors import CallFailed, ConfigError
from failsafe.models import ChatRequest, Reply, Usage

LastAnswer = str | Callable[[ChatRequest, CallFailed], str | Reply]
"""A text, or what computes one (or a whole reply, such as a cached one) from the request and the error."""


def fallback_reply(last: LastAnswer, request: ChatRequest, error: CallFailed, latency_ms: float) -> Reply:
    """
    The reply that *last* makes of a call that ended with *error*; its receipt is the call's.

    Args:
        last: ``RouterConfig.fallback``. A function runs in the thread of the call; its time is the
            caller's own, and what it raises reaches the caller.
        request: What was asked.
        error: How the call ended.
        latency_ms: Milliseconds that it took.

    Raises:
        ConfigError: The function returned neither a text nor a reply.
    """
    made = last if isinstance(last, str) else last(request, error)
    if isinstance(made, Reply):
        return msgspec.structs.replace(
            made, fallback=True, latency_ms=latency_ms, attempts=error.attempts, skipped=error.skipped
        )
    if not isinstance(made, str):
        raise ConfigError(f"fallback: the function returned a {type(made).__name__}; a text or a Reply is needed")
    return Reply(
        content=made,
        provider="fallback",
        model="",
        asked_model=request.model,
        finish_reason="stop",
        tool_calls=(),
        usage=Usage(),
        id="",
        request_id=None,
        refusal=None,
        reasoning=None,
        latency_ms=latency_ms,
        attempts=error.attempts,
        skipped=error.skipped,
        adjustments=(),
        provider_data=None,
        raw=None,
        fallback=True,
    )
