"""Prompts and answers, where the user has asked for them to be kept (``StoreConfig.texts``)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from failsafe.events import Event
from failsafe.masking import mask
from failsafe.models import Message

LONGEST = 1024 * 1024
"""Characters that are kept of a prompt, and of an answer."""


class CallTexts(Event, frozen=True, kw_only=True):
    """
    What was asked and answered, for the store alone: no listener and no log is told.

    Attributes:
        call_id: The call.
        prompt: The messages as JSON, cut to :data:`LONGEST` characters; what looks like a key is masked.
        answer: The text, likewise; None without an answer.
    """

    call_id: str
    prompt: str
    answer: str | None


def call_texts(at: float, call_id: str, messages: Sequence[Message], answer: str | None) -> CallTexts:
    """
    What is kept of a call.

    Args:
        at: When it ended, seconds since 1970-01-01 UTC.
        call_id: The call.
        messages: What was asked, as the caller gave it.
        answer: The text that came back, or None.
    """
    try:
        prompt = msgspec.json.encode(messages, enc_hook=repr).decode()
    except (ValueError, RecursionError):
        prompt = "?"
    kept = None if answer is None else mask(answer[:LONGEST])
    return CallTexts(at=at, call_id=call_id, prompt=mask(prompt[:LONGEST]), answer=kept)
