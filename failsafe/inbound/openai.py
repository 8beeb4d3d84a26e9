"""
OpenAI's chat completions from the side that answers.

Sources: openai/openai-openapi (``CreateChatCompletionRequest``, ``CreateChatCompletionResponse``,
``CreateChatCompletionStreamResponse``); openai/openai-python ``lib/streaming`` for what its SDK makes of the pieces.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.encoding import refuse
from failsafe.errors import (
    AllProvidersFailed,
    Cancelled,
    ContentFiltered,
    ContextWindowExceeded,
    DeadlineExceeded,
    FailsafeError,
    ModelNotFound,
    RateLimited,
    RateLimitReached,
    SpendLimitReached,
    StreamInterrupted,
    UnsupportedParameter,
)
from failsafe.inbound.base import Question
from failsafe.inbound.openai_embeddings import OpenAIEmbeddings
from failsafe.inbound.wire import event
from failsafe.models import Message, Reply, ToolCall, Usage
from failsafe.parameters import CHECKS

_DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "metadata": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "presence_penalty": (0,),
    "response_format": ({"type": "text"},),
    "service_tier": ("auto",),
    "stop": ([], ""),
    "store": (False,),
    "tools": ([],),
    "top_logprobs": (0,),
    "user": ("",),
    "verbosity": ("medium",),
}
"""Values that ask for nothing: whether a target knows the field must not matter then."""

_NEEDS_TOOLS: Mapping[str, tuple[Any, ...]] = {"tool_choice": ("auto", "none"), "parallel_tool_calls": (True, False)}
"""Values that mean nothing where no tools are given."""

_SAID_IN_PIECES = frozenset({
    "role", "content", "refusal", "tool_calls", "function_call", "reasoning", "reasoning_content", "reasoning_details",
})  # fmt: skip
"""Of a message: what a stream has said when it ends. Details of reasoning are in ``provider_data``."""
_SAID_AROUND = frozenset({"id", "object", "created", "model", "choices", "usage"})

_ONLY_OPENAI = ("web_search_options", "moderation")
"""What OpenAI does beside asking a model."""
_OLD_NAMES = {"functions": "tools", "function_call": "tool_choice"}
_LENGTHS = ("max_completion_tokens", "max_tokens")


class OpenAIFormat:
    """
    ``POST /chat/completions``. Stateless and thread-safe.

    Args:
        clock: Says when an answer was created, where its provider does not.
    """

    name = "openai"
    request_id_header = "x-request-id"
    embeddings = OpenAIEmbeddings()

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock

    def read(self, body: Any, path: str) -> Question:  # noqa: ARG002 -- the body says it all
        """
        The question in a decoded *body*; see :meth:`failsafe.inbound.base.Format.read`.

        Fields that are null, or that ask for what happens anyway, count as not given. Fields without a place in
        :class:`failsafe.models.ChatParameters` become ``extra``.
        """
        if not isinstance(body, dict):
            refuse("the body", body, "a JSON object is needed")
        given = {name: value for name, value in body.items() if value is not None and not _is(name, value, _DEFAULTS)}
        model, messages = _model(given.pop("model", None)), _messages(given.pop("messages", None))
        stream, usage = _streaming(given)
        _check_answerable(given)
        if "tools" not in given:
            given = {name: value for name, value in given.items() if not _is(name, value, _NEEDS_TOOLS)}
        length = _length(given)
        parameters = {name: value for name, value in given.items() if name in CHECKS} | length
        extra = {name: value for name, value in given.items() if name not in CHECKS}
        return Question(
            model=model, messages=messages, parameters=parameters, extra=extra, stream=stream, stream_usage=usage
        )

    def write(self, reply: Reply, question: Question) -> dict[str, Any]:  # noqa: ARG002 -- it asks for one form only
        """
        The chat completion that says *reply*; see :meth:`failsafe.inbound.base.Format.write`.

        A provider's own chat completion stays as it is, but for what other servers than OpenAI's put differently
        (content in parts, finish reasons of their own, tool calls without ids), which a client cannot be expected to
        read.
        """
        own = _own_body(reply)
        return {
            **own,
            "id": own.get("id") or reply.id or _made_up("chatcmpl-"),
            "object": "chat.completion",
            "created": own.get("created") or self._now(),
            "model": own.get("model") or reply.model or reply.asked_model,
            "choices": [_choice(reply, own)],
            "usage": _usage(reply.usage, own.get("usage")),
        }

    def writer(self, question: Question) -> OpenAIWriter:
        """What writes the answer to *question* as ``chat.completion.chunk`` events."""
        return OpenAIWriter(self._now(), usage=question.stream_usage)

    def error(self, status: int, error: Exception) -> dict[str, Any]:
        """The error in OpenAI's form; ``code`` is OpenAI's own where it has one, else the name of failsafe's error."""
        return _error(status, error)

    def _now(self) -> int:
        return int(self._clock.time())


class OpenAIWriter:
    """
    The :class:`failsafe.inbound.base.StreamWriter` of :class:`OpenAIFormat`.

    Args:
        created: Seconds since 1970-01-01 UTC, in every chunk.
        usage: Whether a last chunk says the usage.
    """

    __slots__ = ("_begun", "_calls", "_frame", "_said_text", "_usage")

    def __init__(self, created: int, *, usage: bool) -> None:
        self._frame = {
            "id": _made_up("chatcmpl-"), "object": "chat.completion.chunk", "created": created, "model": "",
        }  # fmt: skip
        self._usage = usage
        self._begun = False
        self._said_text = False
        self._calls: dict[int, bool] = {}  # whether each tool call that has begun was named

    def chunk(self, chunk: Chunk) -> bytes:
        """The events for *chunk*; none for one that shows nothing, such as the last."""
        delta: dict[str, Any] = {}
        if chunk.reasoning:
            delta["reasoning_content"] = chunk.reasoning
        if chunk.text:
            delta["content"] = chunk.text
        if chunk.refusal:
            delta["refusal"] = chunk.refusal
        if chunk.tool_calls:
            delta["tool_calls"] = [self._call(piece) for piece in chunk.tool_calls]
        if not delta:
            return b""
        begin = b"" if self._begun else self._begin(chunk.model, "" if chunk.text else None)
        self._said_text = self._said_text or bool(chunk.text)
        return begin + self._event(delta)

    def end(self, reply: Reply) -> bytes:
        """The finish reason with all that no piece had room for, the usage if it was asked for, and the end marker."""
        own = _own_body(reply)
        choice = _first(own.get("choices"))
        speechless = not (self._said_text or reply.tool_calls or reply.refusal)
        begin = b"" if self._begun else self._begin(reply.asked_model, "" if speechless else None)
        delta: dict[str, Any] = {"content": ""} if speechless and not begin else {}
        delta |= _unsaid(choice.get("message"), _SAID_IN_PIECES)
        if reply.provider_data:
            delta["provider_data"] = reply.message["provider_data"]
        self._frame |= _unsaid(own, _SAID_AROUND)
        last = self._event(delta, reply.finish_reason, choice.get("logprobs"))
        usage = b""
        if self._usage:
            usage = event({**self._frame, "choices": [], "usage": _usage(reply.usage, own.get("usage"))})
        return begin + last + usage + b"data: [DONE]\n\n"

    def error(self, status: int, error: Exception) -> bytes:
        """The event that OpenAI ends a stream with that broke off; no end marker follows it."""
        return event(_error(status, error))

    def _begin(self, model: str, content: str | None) -> bytes:
        """The first chunk, which says who speaks."""
        self._begun = True
        self._frame["model"] = model
        return self._event({"role": "assistant", "content": content, "refusal": None})

    def _event(self, delta: Mapping[str, Any], finish_reason: str | None = None, logprobs: Any = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = {**self._frame, "choices": [choice]}
        if self._usage:
            chunk["usage"] = None
        return event(chunk)

    def _call(self, piece: ToolCallDelta) -> dict[str, Any]:
        """A piece of a tool call; id, type and name may stand in one only, as clients append what they are sent."""
        if piece.index not in self._calls:
            self._calls[piece.index] = bool(piece.name)
            function = {"name": piece.name, "arguments": piece.arguments}
            return {"index": piece.index, "id": piece.id or _made_up("call_"), "type": "function", "function": function}
        function = {"arguments": piece.arguments}
        if piece.name and not self._calls[piece.index]:
            self._calls[piece.index] = True
            function["name"] = piece.name
        return {"index": piece.index, "function": function}


# Reading a request.


def _is(name: str, value: Any, table: Mapping[str, tuple[Any, ...]]) -> bool:
    """Whether *table* lists *value* for *name*; 0 and false are two values."""
    return any(value == each and isinstance(value, bool) is isinstance(each, bool) for each in table.get(name, ()))


def _model(value: Any) -> str:
    if not isinstance(value, str):
        refuse("model", value, "the name of a model or alias is needed")
    return value


def _messages(value: Any) -> Sequence[Message]:
    if not isinstance(value, list):
        refuse("messages", value, "a list of at least one message is needed")
    return value


def _streaming(given: dict[str, Any]) -> tuple[bool, bool]:
    """Whether a stream is wanted, and the usage in it; both fields are taken out of *given*."""
    stream, options = given.pop("stream", False), given.pop("stream_options", {})
    if not isinstance(stream, bool):
        refuse("stream", stream, "true or false is needed")
    if not isinstance(options, dict):
        refuse("stream_options", options, 'an object such as {"include_usage": true} is needed')
    usage = options.get("include_usage") or False
    if not isinstance(usage, bool):
        refuse("stream_options.include_usage", usage, "true or false is needed")
    return stream, usage


def _check_answerable(given: Mapping[str, Any]) -> None:
    if "n" in given:
        refuse("n", given["n"], "only 1 is answered; send the request again for another answer")
    if "modalities" in given:
        refuse("modalities", given["modalities"], "only text is answered; leave it out")
    for name in _ONLY_OPENAI:
        if name in given:
            why = "only OpenAI runs this, and whoever answers in its place would answer without it; leave it out"
            refuse(name, given[name], why)
    for old, new in _OLD_NAMES.items():
        if old in given:
            refuse(old, given[old], f"this old form is not answered; send {new} instead")


def _length(given: dict[str, Any]) -> dict[str, Any]:
    """The limit on the answer, by whichever of its two names it goes; both are taken out of *given*."""
    named = {name: given.pop(name) for name in _LENGTHS if name in given}
    for name, value in named.items():
        CHECKS["max_tokens"](name, value)
    if len(set(named.values())) > 1:
        refuse("max_tokens", named["max_tokens"], "max_completion_tokens says otherwise; send one of them")
    return {"max_tokens": next(iter(named.values()))} if named else {}


# Writing an answer.


def _own_body(reply: Reply) -> Mapping[str, Any]:
    """The provider's own body, if it is a chat completion; else an empty one."""
    raw = reply.raw
    return raw if isinstance(raw, Mapping) and _first(raw.get("choices")) else {}


def _unsaid(fields: Any, said: Collection[str]) -> dict[str, Any]:
    """Those of a provider's own *fields* that say something and were not *said* in a stream."""
    given = fields.items() if isinstance(fields, Mapping) else ()
    return {name: value for name, value in given if name not in said and value not in (None, "", [], {})}


def _first(choices: Any) -> Mapping[str, Any]:
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, Mapping) else {}


def _choice(reply: Reply, own: Mapping[str, Any]) -> dict[str, Any]:
    choice = _first(own.get("choices"))
    message = choice.get("message")
    return {
        "logprobs": None,
        **choice,
        "index": 0,
        "message": _message(reply, message if isinstance(message, Mapping) else {}),
        "finish_reason": reply.finish_reason,
    }


def _message(reply: Reply, own: Mapping[str, Any]) -> dict[str, Any]:
    message = {key: value for key, value in own.items() if key != "function_call"}
    message["role"] = "assistant"
    if "content" not in own or not isinstance(own["content"], str | None):
        message["content"] = None if not reply.content and (reply.tool_calls or reply.refusal) else reply.content
    message.setdefault("refusal", reply.refusal)
    if reply.reasoning and not message.get("reasoning_content"):
        message["reasoning_content"] = reply.reasoning
    if reply.tool_calls and not _says(message.get("tool_calls"), reply.tool_calls):
        message["tool_calls"] = reply.message["tool_calls"]
    if reply.provider_data:
        message["provider_data"] = reply.message["provider_data"]
    return message


def _says(own: Any, calls: Sequence[ToolCall]) -> bool:
    """Whether *own* are *calls* in OpenAI's form."""
    if not isinstance(own, list) or len(own) != len(calls):
        return False
    return all(
        isinstance(entry, Mapping)
        and entry.get("id") == call.id
        and entry.get("type") == "function"
        and isinstance(entry.get("function"), Mapping)
        and isinstance(entry["function"].get("arguments"), str)
        for entry, call in zip(own, calls, strict=True)
    )


def _usage(usage: Usage, own: Any) -> dict[str, Any]:
    """The counts in OpenAI's names, over whatever else the provider counts."""
    own = own if isinstance(own, Mapping) else {}
    return {
        **own,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {
            **_details(own, "prompt_tokens_details"),
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "completion_tokens_details": {
            **_details(own, "completion_tokens_details"),
            "reasoning_tokens": usage.reasoning_tokens,
        },
    }


def _details(usage: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, Mapping) else {}


def _made_up(prefix: str) -> str:
    return f"{prefix}{uuid.uuid4().hex}"


# Saying an error.

_TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
    503: "service_unavailable_error",
}
_CODES: tuple[tuple[type[FailsafeError], str], ...] = (
    (ContextWindowExceeded, "context_length_exceeded"),
    (UnsupportedParameter, "unsupported_parameter"),
    (ModelNotFound, "model_not_found"),
    (ContentFiltered, "content_filter"),
    (RateLimited, "rate_limit_exceeded"),
    (RateLimitReached, "rate_limit_exceeded"),
    (DeadlineExceeded, "deadline_exceeded"),
    (AllProvidersFailed, "all_providers_failed"),
    (SpendLimitReached, "insufficient_quota"),
    (StreamInterrupted, "stream_interrupted"),
    (Cancelled, "cancelled"),
)


def _error(status: int, error: Exception) -> dict[str, Any]:
    kind = _TYPES.get(status) or ("server_error" if status >= 500 else "invalid_request_error")
    code = next((code for known, code in _CODES if isinstance(error, known)), None)
    parameter = error.parameter if isinstance(error, UnsupportedParameter) else None
    return {"error": {"message": str(error), "type": kind, "param": parameter, "code": code}}
