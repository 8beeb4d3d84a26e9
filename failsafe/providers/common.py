"""What the dialects share: reading messages, tool calls and token counts, and noting what was changed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from failsafe.embeddings import EmbedRequest
from failsafe.encoding import encode_body
from failsafe.images import Image, read_image
from failsafe.models import Adjustment, ChatRequest, Message
from failsafe.providers.base import Target

__all__ = [
    "Changes",
    "Image",
    "arguments_text",
    "encode_body",
    "extra_of",
    "made_up_id",
    "nearest_word",
    "own_data",
    "plain_text",
    "read_image",
    "text_of",
    "token_count",
    "usd",
]

_DEAREST_ANSWER = 10_000
"""USD; what says that it costs more is a mistake of units, or no answer."""


class Changes:
    """
    What was changed about a request for one target, in order and each thing once.

    Lives for one ``build``; not thread-safe.
    """

    __slots__ = ("_noted",)

    def __init__(self) -> None:
        self._noted: dict[Adjustment, None] = {}

    def dropped(self, parameter: str, why: str) -> None:
        """*parameter* is left out."""
        self._noted[Adjustment(parameter=parameter, action="dropped", detail=why)] = None

    def clamped(self, parameter: str, detail: str) -> None:
        """*parameter* is cut to what the target takes."""
        self._noted[Adjustment(parameter=parameter, action="clamped", detail=detail)] = None

    def mapped(self, parameter: str, detail: str) -> None:
        """*parameter* is said in another name or word that means the same."""
        self._noted[Adjustment(parameter=parameter, action="mapped", detail=detail)] = None

    def rewritten(self, parameter: str, detail: str) -> None:
        """*parameter* (a part of the messages, mostly) has another form."""
        self._noted[Adjustment(parameter=parameter, action="rewritten", detail=detail)] = None

    def listed(self) -> tuple[Adjustment, ...]:
        """All that was noted."""
        return tuple(self._noted)


def extra_of(request: ChatRequest | EmbedRequest, dialect: str, changes: Changes) -> Mapping[str, Any]:
    """The call's free fields, if they are meant for *dialect*; none otherwise, which is noted."""
    if request.extra_for in ("", dialect):
        return request.extra
    for name in request.extra:
        changes.dropped(name, f"only {request.extra_for}'s own API has it")
    return {}


def own_data(message: Message, target: Target) -> Mapping[str, Any] | None:
    """
    The ``provider_data`` of a message of the history, if it came from *target*.

    Data of another provider or model (thinking blocks, signatures) means nothing to this one,
    or is refused by it. Data without a provider came from a client that speaks a vendor's own format, and is
    taken for that of whoever serves the model.
    """
    packed = message.get("provider_data")
    if not isinstance(packed, Mapping):
        return None
    if packed.get("provider", target.provider) != target.provider or packed.get("model") != target.model:
        return None
    data = packed.get("data")
    return data if isinstance(data, Mapping) else None


def arguments_text(value: Any) -> str:
    """
    The arguments of a tool call in an answer, as JSON text.

    Text stays as the model wrote it, maybe invalid; None becomes ``{}``, as does "" (the call of a
    tool without parameters); anything else is written as JSON.
    """
    if value is None or value == "":
        return "{}"
    if isinstance(value, str):
        return value
    return json.dumps(value)


def nearest_word(name: str, word: str, ladder: Sequence[str], refused: Container[str]) -> str:
    """
    *word*, or the one next to it that is not refused; *word* all the same when every one is.

    Args:
        name: The parameter, such as ``reasoning_effort``.
        word: What the caller asks for.
        ladder: The words there are, from least to most; higher ones come before lower ones.
        refused: What a target refuses; a word as ``"reasoning_effort=minimal"``.
    """
    start = ladder.index(word)
    tried = (*ladder[start:], *reversed(ladder[:start]))
    return next((other for other in tried if f"{name}={other}" not in refused), word)


def made_up_id(*parts: object) -> str:
    """A tool-call id for a call that came without one; the same for the same *parts*."""
    digest = hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()
    return f"call_{digest[:24]}"


def text_of(value: Any) -> str:
    """*value* if it is text, else ""."""
    return value if isinstance(value, str) else ""


def plain_text(content: Any) -> str:
    """
    The text of a message's content: a string, or its text parts joined without a separator.

    Parts that are no text (images, thinking) are left out.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, Iterable) or isinstance(content, Mapping | bytes):
        return ""
    return "".join(part if isinstance(part, str) else _part_text(part) for part in content)


def _part_text(part: Any) -> str:
    if isinstance(part, Mapping) and part.get("type") in ("text", "output_text", None):
        return text_of(part.get("text"))
    return ""


def token_count(value: Any) -> int:
    """*value* as a number of tokens; 0 for what is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    return int(value) if 0 <= value < 2**53 else 0


def usd(value: Any) -> Decimal | None:
    """
    *value* as USD, from 0 to 10,000; None for what is no such number.

    A float stands for the shortest decimal that is read as it: the very digits of the answer, as long as these are
    no more than seventeen.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _DEAREST_ANSWER:
        return None
    return Decimal(repr(value)) if math.isfinite(value) else None
