"""
Embeddings in OpenAI's dialect: ``POST /embeddings``.

Sources: openai/openai-openapi ``CreateEmbeddingRequest``, ``CreateEmbeddingResponse``; docs.mistral.ai "Embeddings".
Every rule is stated in ``docs/embedding-dialects.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from failsafe.embeddings import Embeddings, EmbedRequest
from failsafe.encoding import as_json
from failsafe.models import Failure, Usage
from failsafe.providers.base import BuiltRequest, Target
from failsafe.providers.common import Changes, text_of, token_count
from failsafe.providers.openai_answer import error_of_body, malformed, said_instead, stated_cost
from failsafe.providers.vectors import entries_of, free_fields, length_to_ask_for, refused_by, sound_embeddings

_PATH = "/embeddings"


def build(request: EmbedRequest, target: Target) -> BuiltRequest:
    """
    The request as ``POST /embeddings``; *request* is never changed.

    Raises:
        CannotExpress: The model has no vectors of the length asked for.
    """
    changes = Changes()
    field = target.quirks.dimensions_field
    body: dict[str, Any] = {"model": target.model, "input": request.texts}
    length = length_to_ask_for(request, target, field)
    if length is not None:
        body[field] = length
    if request.user is not None:
        if "user" in refused_by(target):
            changes.dropped("user", f"{target.model} refuses it")
        else:
            body["user"] = request.user
    body |= free_fields(request, target, "openai", changes)
    return BuiltRequest(path=_PATH, body=as_json(body), adjustments=changes.listed())


def read(body: Any, target: Target) -> Embeddings | Failure:
    """
    The embeddings in a decoded 2xx body, or why it holds none. Never raises, whatever *body* is.

    They are put into the order of their ``index``; a server that gives none is taken to keep the order of the texts.
    """
    if not isinstance(body, Mapping):
        return malformed(f"the answer is JSON, but no object ({type(body).__name__})")
    failure = error_of_body(body)
    if failure is not None:
        return failure
    entries = entries_of(body, "data")
    if entries is None:
        return malformed(f"the answer has no list of embeddings{said_instead(body)}")
    ordered = _in_order(entries)
    if ordered is None:
        return malformed("the embeddings in the answer are not numbered from 0 on")
    return sound_embeddings(
        [each.get("embedding") for each in ordered],
        model=text_of(body.get("model")),
        usage=_usage(body.get("usage"), target),
    )


def _in_order(entries: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]] | None:
    """*entries* by their ``index``; None where these are not the numbers from 0 on."""
    places = [each.get("index") for each in entries]
    if all(place is None for place in places):
        return entries
    by_place = {place: each for place, each in zip(places, entries, strict=True) if type(place) is int}
    ordered = [by_place[place] for place in range(len(entries)) if place in by_place]
    return ordered if len(ordered) == len(entries) else None


def _usage(usage: Any, target: Target) -> Usage:
    if not isinstance(usage, Mapping):
        return Usage()
    return Usage(prompt_tokens=token_count(usage.get("prompt_tokens")), cost_usd=stated_cost(usage, target))
