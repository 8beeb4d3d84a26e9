"""
OpenAI's embeddings from the side that answers.

Sources: openai/openai-openapi (``CreateEmbeddingRequest``, ``CreateEmbeddingResponse``); openai/openai-python
``resources/embeddings.py``, which asks for base64 unless it is told otherwise, and unpacks it. Every rule is stated in
``docs/inbound.md``.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from failsafe.embeddings import EmbedReply, Vector, build_embed_request
from failsafe.encoding import refuse
from failsafe.inbound.base import EmbedQuestion
from failsafe.models import Usage

_FORMATS = {"float": False, "base64": True}


class OpenAIEmbeddings:
    """The :class:`failsafe.inbound.base.EmbedFormat` of ``POST /embeddings``. Stateless and thread-safe."""

    path = "/embeddings"

    def read(self, body: Any) -> EmbedQuestion:
        """
        The request in a decoded *body*. Fields that are null count as not given; those that OpenAI's dialect alone
        has reach providers of that dialect.

        Raises:
            InvalidRequest: It is no such request, or has tokens in place of texts.
        """
        if not isinstance(body, dict):
            refuse("the body", body, "a JSON object is needed")
        given = {name: value for name, value in body.items() if value is not None}
        packed = _is_packed(given.pop("encoding_format", "float"))
        request = build_embed_request(
            _texts(given.pop("input", None)),
            given.pop("model", ""),
            given.pop("dimensions", None),
            given.pop("user", None) or None,
            given,
            extra_for="openai",
            place="input",
        )
        return EmbedQuestion(request=request, packed=packed)

    def write(self, reply: EmbedReply, question: EmbedQuestion) -> dict[str, Any]:
        """The list of embeddings, in the order of the texts."""
        write = _packed if question.packed else list[float]
        return {
            "object": "list",
            "data": [
                {"object": "embedding", "index": index, "embedding": write(vector)}
                for index, vector in enumerate(reply.vectors)
            ],
            "model": reply.model or reply.asked_model,
            "usage": _usage(reply.usage),
        }


def _is_packed(form: Any) -> bool:
    if not isinstance(form, str) or form not in _FORMATS:
        refuse("encoding_format", form, "float or base64 is needed")
    return _FORMATS[form]


def _texts(given: Any) -> Any:
    """*given*, unless it is tokens: one text as a list of them, or a list of such lists."""
    if given is None:  # said before anything that stands in its place
        refuse("input", given, "a text, or a list of texts, is needed")
    first = given[0] if isinstance(given, list) and given else None
    if isinstance(first, int | list) and not isinstance(first, bool):
        refuse("input", given, "tokens mean something to one vendor's models only; send the texts themselves")
    return given


def _packed(vector: Sequence[float]) -> str | Vector:
    """
    *vector* as base64 of little-endian float32, as OpenAI packs it.

    One with a number too large for that stays a list of numbers, which OpenAI's SDKs read as well.
    """
    try:
        return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        return list(vector)


def _usage(usage: Usage) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens}
