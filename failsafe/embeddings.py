"""
Embeddings: what is asked, checked before anything is sent, and what is answered.

All values are frozen, keyword-only and safe to share between threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from failsafe.encoding import check_fits, refuse
from failsafe.models import Adjustment, Attempt, Skip, Usage
from failsafe.parameters import CHECKS, check_extra

Vector = Sequence[float]
"""The numbers of one text; all of one answer have the same length."""

MOST_TEXTS = 2048
"""OpenAI's limit, the highest there is; a provider with a lower one is left out of a call with more."""

_MOST_DIMENSIONS = 2**16
_NOT_EXTRA = {
    "input": "give the texts to the call",
    "requests": "give the texts to the call",
    "content": "give the texts to the call",
    "dimensions": "use the parameter dimensions= instead",
    "output_dimension": "use the parameter dimensions= instead",
    "outputDimensionality": "use the parameter dimensions= instead",
    "encoding_format": "failsafe decides how an answer travels",
}


class EmbedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """
    One validated request for embeddings, before any provider was chosen.

    Attributes:
        model: The embedding model asked for.
        texts: What is to be embedded, at least one text and none of them empty.
        dimensions: How many numbers each vector is to have, or None for as many as the model gives.
        user: Your own id of the end user, for the provider's abuse detection.
        extra: Fields that are passed to every target as they are.
        extra_for: The dialect that alone is sent ``extra``, or "" for every one.
    """

    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    user: str | None = None
    extra: Mapping[str, Any] = {}
    extra_for: str = ""

    def problem_of(self, vectors: Sequence[Vector]) -> str | None:
        """Why *vectors*, all of one length, are not what this asks for, in words; None if they are."""
        if len(vectors) != len(self.texts):
            return f"{len(vectors)} vectors for {len(self.texts)} texts"
        length = len(vectors[0])
        if self.dimensions not in (None, length):
            return f"vectors of {length} numbers, and {self.dimensions} were asked for"
        return None


class Embeddings(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is read out of one answer.

    Attributes:
        vectors: One for each text, in the order of the texts; of finite numbers and one length.
        model: The model that says it answered, or "" when the provider does not tell.
        usage: Tokens, all of them of the prompt; zero where the provider does not say.
    """

    vectors: tuple[Vector, ...]
    model: str = ""
    usage: Usage = Usage()


class EmbedReply(msgspec.Struct, frozen=True, kw_only=True):
    """
    The vectors, and the receipt of how they came about.

    Attributes:
        vectors: One for each text, in the order of the texts; of finite numbers and one length.
        provider: The configured name of the provider that answered.
        model: The model that says it answered.
        asked_model: The model id that was sent.
        usage: Tokens; zero where the provider does not say.
        request_id: The provider's id of the request.
        latency_ms: Milliseconds of the whole call, failed attempts and waits included.
        attempts: Every request that was sent, in order; the last one is the answer.
        skipped: Providers that were left alone, and why.
        adjustments: What was changed about the request for this target.
    """

    vectors: tuple[Vector, ...]
    provider: str
    model: str
    asked_model: str
    usage: Usage
    request_id: str | None
    latency_ms: float
    attempts: tuple[Attempt, ...]
    skipped: tuple[Skip, ...]
    adjustments: tuple[Adjustment, ...]


def build_embed_request(
    texts: str | Sequence[str],
    model: str,
    dimensions: int | None = None,
    user: str | None = None,
    extra: Mapping[str, Any] | None = None,
    *,
    extra_for: str = "",
    place: str = "texts",
) -> EmbedRequest:
    """
    Return the checked request. Thread-safe; changes none of its arguments.

    Args:
        texts: What is to be embedded: a list of 1 to 2048 texts, or one text.
        model: An embedding model, or a name that the settings give to some.
        dimensions: How many numbers each vector is to have (1 to 65,536).
        user: Your own id of the end user.
        extra: Fields that targets get as they are.
        extra_for: The dialect whose targets alone get them, or "" for every one.
        place: What the texts are called where they were given, for the refusal.

    Raises:
        InvalidRequest: Something in it no provider would take; the message names the place, the
            value and what is allowed.
    """
    if not isinstance(model, str) or not model or not model.isprintable():
        refuse("model", model, "the name of an embedding model is needed")
    if dimensions is not None:
        _check_dimensions(dimensions)
    if user is not None:
        CHECKS["user"]("user", user)
    if extra:
        _check_extra(extra)
    return EmbedRequest(
        model=model,
        texts=_checked_texts(texts, place),
        dimensions=dimensions,
        user=user,
        extra=dict(extra or {}),
        extra_for=extra_for,
    )


def _check_dimensions(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST_DIMENSIONS:
        refuse("dimensions", value, f"a whole number from 1 to {_MOST_DIMENSIONS} is needed")


def _check_extra(extra: Mapping[str, Any]) -> None:
    check_extra(extra)
    for name, why in _NOT_EXTRA.items():
        if name in extra:
            refuse(f"extra[{name!r}]", extra[name], f"this field is not free: {why}")


def _checked_texts(texts: object, place: str) -> tuple[str, ...]:
    if isinstance(texts, str):
        texts = (texts,)
    if not isinstance(texts, Sequence) or isinstance(texts, bytes | bytearray):
        refuse(place, texts, "a text, or a list of texts, is needed")
    if not 1 <= len(texts) <= MOST_TEXTS:
        refuse(place, texts, f"1 to {MOST_TEXTS} texts are needed; split a longer list into several calls")
    for index, text in enumerate(texts):
        if not isinstance(text, str) or not text:
            refuse(f"{place}[{index}]", text, "a text that is not empty is needed")
        check_fits(text, f"{place}[{index}]")
    return tuple(texts)
