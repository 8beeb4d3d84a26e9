"""
Answers clients that speak Gemini's ``generateContent``.

Source of the form: googleapis/python-genai ``google/genai/types.py`` (``GenerateContentResponse``), ``errors.py``;
ai.google.dev "Generating content", "Troubleshooting". Every rule is stated in ``docs/inbound.md``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from failsafe.chunks import Chunk
from failsafe.inbound.base import Question
from failsafe.inbound.fields import arguments_object, joined, made_up
from failsafe.inbound.gemini_question import read_question
from failsafe.inbound.wire import event
from failsafe.models import Reply, Usage

_FINISH_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_ERRORS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

Part = dict[str, Any]


class GeminiFormat:
    """The :class:`failsafe.inbound.base.Format` of ``generateContent``. Stateless and thread-safe."""

    name = "gemini"
    request_id_header = "x-request-id"
    embeddings = None

    def read(self, body: Any, path: str) -> Question:
        """
        The request in a decoded *body* sent to *path* (``/v1beta/models/MODEL:generateContent``, its query included).

        Raises:
            InvalidRequest: It is no such request, or asks for what only Gemini has (its own tools, files, cached
                contents) or for a stream without ``alt=sse``.
        """
        return read_question(body, path)

    def write(self, reply: Reply, question: Question) -> dict[str, Any]:
        """The ``GenerateContentResponse`` that says what *reply* does; thoughts only if *question* asks for some."""
        parts: list[Part] = []
        if reply.reasoning and _wants_thoughts(question):
            parts.append({"text": reply.reasoning, "thought": True})
        text = reply.content + (reply.refusal or "")
        if text:
            parts.append({"text": text})
        parts += _last_parts(reply)
        return _last_response(parts, reply, reply.id or made_up(""))

    def writer(self, question: Question) -> GeminiWriter:
        """What writes the answer to *question* as a stream."""
        return GeminiWriter(thoughts=_wants_thoughts(question))

    def error(self, status: int, error: Exception) -> dict[str, Any]:
        """The body of an error answer."""
        return {"error": {"code": status, "message": str(error), "status": _ERRORS.get(status, "INTERNAL")}}


class GeminiWriter:
    """
    The :class:`failsafe.inbound.base.StreamWriter` of ``streamGenerateContent``. Not thread-safe.

    Args:
        thoughts: Whether the client is shown the reasoning.
    """

    __slots__ = ("_id", "_thoughts")

    def __init__(self, *, thoughts: bool) -> None:
        self._thoughts = thoughts
        self._id = made_up("")

    def chunk(self, chunk: Chunk) -> bytes:
        """The events for one piece; function calls come whole in this format, and so with the end."""
        return joined(event(_response([part], chunk.model, self._id)) for part in self._parts(chunk))

    def end(self, reply: Reply) -> bytes:
        """The event that ends the answer, with the function calls."""
        return event(_last_response(_last_parts(reply), reply, self._id))

    def error(self, status: int, error: Exception) -> bytes:
        """An event with the error, as Google's clients look for one in a stream."""
        return event(GeminiFormat().error(status, error))

    def _parts(self, chunk: Chunk) -> Iterator[Part]:
        if chunk.reasoning and self._thoughts:
            yield {"text": chunk.reasoning, "thought": True}
        text = chunk.text + chunk.refusal
        if text:
            yield {"text": text}


def _wants_thoughts(question: Question) -> bool:
    """Whether the client asked for thoughts; who did not takes every part for the answer."""
    settings = question.extra.get("generationConfig") or {}
    return bool((settings.get("thinkingConfig") or {}).get("includeThoughts"))


def _response(parts: Sequence[Part], model: str, identity: str) -> dict[str, Any]:
    # Many a client looks into the first part without asking whether there is one.
    content = {"role": "model", "parts": parts or [{"text": ""}]}
    return {"candidates": [{"content": content, "index": 0}], "modelVersion": model, "responseId": identity}


def _last_response(parts: Sequence[Part], reply: Reply, identity: str) -> dict[str, Any]:
    response = _response(parts, reply.model or reply.asked_model, identity)
    reason = "SAFETY" if reply.refusal else _FINISH_REASONS[reply.finish_reason]
    response["candidates"][0]["finishReason"] = reason
    return {**response, "usageMetadata": _usage(reply.usage)}


def _last_parts(reply: Reply) -> list[Part]:
    """The function calls of *reply*, and the signatures that a Gemini model wants back with what it said."""
    own = _own_parts(reply)
    signed = [part for part in own if "functionCall" in part]
    parts: list[Part] = []
    for index, call in enumerate(reply.tool_calls):
        part: Part = {"functionCall": {"id": call.id, "name": call.name, "args": arguments_object(call.arguments)}}
        signature = signed[index].get("thoughtSignature") if len(signed) == len(reply.tool_calls) else None
        parts.append({**part, "thoughtSignature": signature} if signature else part)
    parts += [
        {"text": "", "thoughtSignature": part["thoughtSignature"]}
        for part in own
        if part.get("thoughtSignature") and "functionCall" not in part
    ]
    return parts


def _own_parts(reply: Reply) -> list[Mapping[str, Any]]:
    parts = (reply.provider_data or {}).get("parts")
    return [part for part in (parts if isinstance(parts, list) else ()) if isinstance(part, Mapping)]


def _usage(usage: Usage) -> dict[str, Any]:
    """Gemini counts thoughts beside the candidates."""
    return {
        "promptTokenCount": usage.prompt_tokens,
        "cachedContentTokenCount": usage.cached_tokens,
        "candidatesTokenCount": max(0, usage.completion_tokens - usage.reasoning_tokens),
        "thoughtsTokenCount": usage.reasoning_tokens,
        "totalTokenCount": usage.total_tokens,
    }
