"""What a caller is given: an answer with the receipt of how it came about."""

from __future__ import annotations

from typing import NamedTuple

from failsafe.embeddings import EmbedReply
from failsafe.models import Adjustment, Answer, Attempt, Reply, Skip

AnyReply = Reply | EmbedReply
"""What a call gives, by its manner of asking."""


class Receipt(NamedTuple):
    """
    What every kind of reply tells of its call; the attributes are those of :class:`failsafe.models.Reply`.

    Attributes:
        provider: Who answered.
        model: The model that says it answered.
        asked_model: The model id that was sent.
        request_id: The provider's id of the request.
        latency_ms: Milliseconds of the whole call.
        attempts: Every request that was sent.
        skipped: Providers that were left alone, and why.
        adjustments: What was changed about the request for this target.
    """

    provider: str
    model: str
    asked_model: str
    request_id: str | None
    latency_ms: float
    attempts: tuple[Attempt, ...]
    skipped: tuple[Skip, ...]
    adjustments: tuple[Adjustment, ...]


def chat_reply(answer: Answer, receipt: Receipt) -> Reply:
    """The reply to a chat request."""
    return Reply(
        content=answer.content,
        provider=receipt.provider,
        model=receipt.model,
        asked_model=receipt.asked_model,
        finish_reason=answer.finish_reason,
        tool_calls=answer.tool_calls,
        usage=answer.usage,
        id=answer.id,
        request_id=receipt.request_id,
        refusal=answer.refusal,
        reasoning=answer.reasoning,
        latency_ms=receipt.latency_ms,
        attempts=receipt.attempts,
        skipped=receipt.skipped,
        adjustments=receipt.adjustments,
        provider_data=answer.provider_data,
        raw=answer.raw,
    )
