"""
Embeddings in Gemini's dialect: ``POST /models/{model}:batchEmbedContents``.

Sources: googleapis/python-genai ``google/genai/models.py``, ``types.py``; ai.google.dev "Embeddings"; for the
number of texts the API's own refusal, quoted in geldata/gel issue 9032. Every rule is stated in
``docs/embedding-dialects.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from failsafe.embeddings import Embeddings, EmbedRequest
from failsafe.encoding import as_json
from failsafe.models import Failure, Usage
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.providers.common import Changes, token_count
from failsafe.providers.gemini import path_of
from failsafe.providers.gemini_answer import error_of
from failsafe.providers.native import malformed
from failsafe.providers.vectors import entries_of, free_fields, length_to_ask_for, sound_embeddings

_MOST_TEXTS = 100
_LENGTH = "outputDimensionality"


def build(request: EmbedRequest, target: Target) -> BuiltRequest:
    """
    The request as ``POST /models/{model}:batchEmbedContents``; *request* is never changed.

    Raises:
        CannotExpress: There are too many texts, or the model has no vectors of the length asked for.
    """
    if len(request.texts) > _MOST_TEXTS:
        raise CannotExpress(f"Gemini embeds at most {_MOST_TEXTS} texts a request, and these are {len(request.texts)}")
    changes = Changes()
    if request.user is not None:
        changes.dropped("user", "Gemini has no equivalent")
    length = length_to_ask_for(request, target, _LENGTH)
    settings = {} if length is None else {_LENGTH: length}
    settings |= free_fields(request, target, "gemini", changes)
    model = f"models/{target.model.removeprefix('models/')}"
    requests = [{"model": model, "content": {"parts": [{"text": text}]}, **settings} for text in request.texts]
    return BuiltRequest(
        path=path_of(target.model, "batchEmbedContents"),
        body=as_json({"requests": requests}),
        adjustments=changes.listed(),
    )


def read(body: Any, target: Target) -> Embeddings | Failure:  # noqa: ARG001 -- all answer alike
    """The embeddings in a decoded 2xx body, or why it holds none. Never raises, whatever *body* is."""
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if not isinstance(body, Mapping):
        return malformed("the body is no JSON object, so no answer of batchEmbedContents")
    if body.get("error"):
        return error_of(body["error"])
    entries = entries_of(body, "embeddings")
    if entries is None:
        return malformed("the body has no embeddings, so it is no answer of batchEmbedContents")
    return sound_embeddings([each.get("values") for each in entries], usage=_usage(body.get("usageMetadata")))


def _usage(usage: Any) -> Usage:
    return Usage(prompt_tokens=token_count(usage.get("promptTokenCount"))) if isinstance(usage, Mapping) else Usage()
