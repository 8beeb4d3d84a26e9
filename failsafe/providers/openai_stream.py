"""
Reading streamed chat completions: chunk by chunk, and at the end the body that they make up.

Source: openai/openai-openapi ``CreateChatCompletionStreamResponse``; what servers do differently is stated in
``docs/dialects.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.faults import Fault
from failsafe.models import Failure
from failsafe.providers.base import Target
from failsafe.providers.common import text_of
from failsafe.providers.openai_answer import error_of_body, error_of_choice, malformed, reported, said_instead
from failsafe.providers.openai_pieces import ContentPieces, ReasoningDetails, ToolCallPieces

_decode = msgspec.json.Decoder().decode
_CANNOT_DECODE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_DONE = b"[DONE]"
_LONGEST_ERROR = 2000

_PER_CHUNK = frozenset({"object", "choices", "usage", "obfuscation"})
"""Fields of a chunk that do not stand beside the choices of a whole answer, or that are read on their own."""
_CONSTANT = frozenset({"id", "created", "model", "system_fingerprint", "service_tier", "provider"})
"""Fields that are the same in each chunk, once they are given."""
_NOT_OF_FRAME = _PER_CHUNK | {"error"}
_OF_CHOICE = frozenset({"index", "delta", "finish_reason", "logprobs"})
_NOT_OF_CHOICE = _OF_CHOICE | {"message", "error"}
_OF_DELTA = frozenset(
    {"role", "content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call", "reasoning_details"}
)
_NOTHING: frozenset[str] = frozenset()
_REASONING = ("reasoning_content", "reasoning")


class _UsualDelta(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    content: str


class _UsualChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    delta: _UsualDelta
    index: Literal[0] = 0
    finish_reason: None = None
    logprobs: None = None


class _UsualChunk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """A chunk that brings one piece of text and nothing else; what stands around it was read before."""

    choices: tuple[_UsualChoice]
    id: str = ""
    object: str = ""
    created: int = 0
    model: str = ""
    system_fingerprint: str | None = None
    service_tier: str | None = None
    provider: str | None = None
    usage: None = None
    obfuscation: str | None = None


_decode_usual = msgspec.json.Decoder(_UsualChunk).decode
_FRAME_OF_USUAL = frozenset({"id", "model"})


class OpenAIStream:
    """
    The :class:`failsafe.providers.base.StreamReader` of the OpenAI dialect.

    Lives for one answer; not thread-safe. Never raises. Keeps what the answer says and nothing per chunk.

    Args:
        target: Whose answer it is.

    Attributes:
        finished: Whether a finish reason of the first choice was read.
        done: Whether ``[DONE]`` was read.
        text_length: Characters of text, reasoning, refusal and tool arguments so far.
        kept: Things beside text so far: tool calls, parts, log probabilities, further fields.
    """

    __slots__ = (
        "_calls", "_choice", "_content", "_details", "_frame", "_known", "_message", "_model", "_provider", "_reason",
        "_target", "_texts", "_usage", "_usual", "done", "finished", "kept", "text_length",
    )  # fmt: skip

    def __init__(self, target: Target) -> None:
        self.finished = False
        self.done = False
        self.text_length = 0
        self.kept = 0
        self._target = target
        self._provider = target.provider
        self._model = target.model
        self._frame: dict[str, Any] = {}
        self._known = set(_PER_CHUNK)
        self._choice: dict[str, Any] | None = None  # None until one came
        self._message: dict[str, Any] = {}
        self._content = ContentPieces()
        self._texts: dict[str, bytearray] = {}
        self._details = ReasoningDetails()
        self._calls = ToolCallPieces()
        self._reason: str | None = None
        self._usage: Any = None
        self._usual = False  # whether the chunk before was one, and its like may be expected

    def read(self, name: str, data: bytes) -> Chunk | Failure | None:
        """Take in one event; see :meth:`failsafe.providers.base.StreamReader.read`."""
        if self._usual and not name:
            try:
                text = _decode_usual(data).choices[0].delta.content
            except _CANNOT_DECODE:
                self._usual = False
            else:
                return self._show(text)
        try:
            chunk = _decode(data)
        except _CANNOT_DECODE:
            return self._read_text(name, data)
        if name == "error" or not isinstance(chunk, dict):
            return self._read_other(name, chunk)
        try:
            return self._read_chunk(chunk)
        except RecursionError:
            return malformed("an event that is nested too deeply")

    def body(self) -> dict[str, Any] | Failure:
        """The chat completion that the chunks make up; see :meth:`failsafe.providers.base.StreamReader.body`."""
        if not (self.finished or self.done):
            return Failure(
                fault=Fault.TRUNCATED,
                message="the stream ended before the answer did: no finish reason came",
                partial=self._content.text(),
                maybe_billed=True,
            )
        choices = [] if self._choice is None else [self._whole_choice(self._choice)]
        whole = {**self._frame, "object": "chat.completion", "choices": choices}
        usage = self._found_usage()
        return {**whole, "usage": usage} if usage else whole

    def _read_chunk(self, chunk: dict[str, Any]) -> Chunk | Failure | None:
        if not self._known.issuperset(chunk):
            failure = self._take_frame(chunk)
            if failure is not None:
                return failure
        if chunk.get("usage"):
            self._usage = chunk["usage"]
        choice = _first(chunk.get("choices"))
        return None if choice is None else self._read_choice(choice)

    def _read_choice(self, choice: dict[str, Any]) -> Chunk | Failure | None:
        if self._choice is None:
            self._choice = {}
        if not _OF_CHOICE.issuperset(choice):
            failure = error_of_choice(choice)
            if failure is not None:
                return self._failed(failure, {"error": choice.get("error")})
            self.kept += _note(self._choice, choice, _NOT_OF_CHOICE)
        if isinstance(choice.get("logprobs"), dict):
            self.kept += _gather(self._choice.setdefault("logprobs", {}), choice["logprobs"], _NOTHING)
        delta = choice.get("delta")
        if not isinstance(delta, dict):
            delta = self._whole_message(choice)
        shown = self._read_delta(delta) if delta else None
        return self._end(choice, shown) if choice.get("finish_reason") else shown

    def _whole_message(self, choice: dict[str, Any]) -> dict[str, Any]:
        """The message of a server that sends all of it at once, as an answer without streaming has it."""
        message = choice.get("message")
        return message if isinstance(message, dict) and not (self.text_length or self._calls) else {}

    def _read_delta(self, delta: dict[str, Any]) -> Chunk | None:
        text = delta.get("content")
        if len(delta) == 1 and isinstance(text, str):
            self._usual = self._known.issuperset(_FRAME_OF_USUAL)
            return self._show(text)
        return self._read_fields(delta)

    def _show(self, text: str) -> Chunk | None:
        """A piece of text and nothing else."""
        if not text:
            return None
        self._content.write(text)
        self.text_length += len(text)
        return Chunk(provider=self._provider, model=self._model, text=text)

    def _read_fields(self, delta: dict[str, Any]) -> Chunk | None:
        """A delta with anything but text."""
        kept = self._content.kept + self._calls.kept + self._details.kept
        text, thought = self._content.add(delta["content"]) if delta.get("content") else ("", "")
        pieces = [self._add_text(field, delta[field]) for field in _REASONING if delta.get(field)]
        reasoning = next(filter(None, pieces), thought)
        refusal = self._add_text("refusal", delta["refusal"]) if delta.get("refusal") else ""
        calls = self._read_calls(delta)
        if delta.get("reasoning_details"):
            self._details.add(delta["reasoning_details"])
        if not _OF_DELTA.issuperset(delta):
            self.kept += _gather(self._message, delta, _OF_DELTA)
        self.kept += self._content.kept + self._calls.kept + self._details.kept - kept
        if not (text or reasoning or refusal or calls):
            return None
        self.text_length += len(text) + len(reasoning) + len(refusal) + sum(len(call.arguments) for call in calls)
        return Chunk(
            provider=self._provider,
            model=self._model,
            text=text,
            reasoning=reasoning,
            refusal=refusal,
            tool_calls=calls,
        )

    def _add_text(self, field: str, piece: Any) -> str:
        if not isinstance(piece, str):
            return ""
        kept = self._texts.get(field)
        if kept is None:
            kept = self._texts[field] = bytearray()
        kept += piece.encode()
        return piece

    def _read_calls(self, delta: Mapping[str, Any]) -> tuple[ToolCallDelta, ...]:
        """The pieces of tool calls; ``function_call`` is the older form, for one call."""
        pieces, old = delta.get("tool_calls"), delta.get("function_call")
        if not pieces and isinstance(old, dict):
            pieces = [{"function": old}]
        if not isinstance(pieces, list):
            return ()
        answer = (self._frame.get("id"), self._frame.get("created"))
        shown = (self._calls.add(piece, answer) for piece in pieces)
        return tuple(call for call in shown if call is not None)

    def _end(self, choice: Mapping[str, Any], shown: Chunk | None) -> Chunk | Failure | None:
        """A finish reason; those that tell of a failure are one."""
        failure = error_of_choice(choice)
        if failure is not None:
            return self._failed(failure, None)
        reason = text_of(choice["finish_reason"])
        if not reason:
            return shown
        self._reason = reason
        self.finished = True
        return self._complete_calls(shown)

    def _complete_calls(self, shown: Chunk | None) -> Chunk | None:
        """What is *shown* last, with ``{}`` for each tool call that had no arguments."""
        rest = self._calls.without_arguments()
        if not rest:
            return shown
        shown = shown or Chunk(provider=self._provider, model=self._model)
        self.text_length += 2 * len(rest)
        return msgspec.structs.replace(shown, tool_calls=(*shown.tool_calls, *rest))

    def _take_frame(self, chunk: dict[str, Any]) -> Failure | None:
        """What stands around the choices; an error there ends the answer."""
        failure = error_of_body(chunk)
        if failure is not None:
            return self._failed(failure, chunk)
        groq = chunk.get("x_groq")
        if isinstance(groq, dict) and groq.get("error"):
            return self._failed(reported(groq["error"]), {"error": groq["error"]})
        if "choices" not in chunk:
            said = said_instead(chunk)
            if said:
                return malformed(f"an event without choices{said}")
        self._known |= {key for key in _CONSTANT.intersection(chunk) if chunk[key]}
        self.kept += _note(self._frame, chunk, _NOT_OF_FRAME)
        return None

    def _read_text(self, name: str, data: bytes) -> Chunk | Failure | None:
        """An event that is no JSON: the end marker, nothing, or what does not belong here."""
        said = data.strip()
        if not said:
            return None
        if said == _DONE:
            return self._take_end_marker()
        if name == "error":
            text = said[:_LONGEST_ERROR].decode("utf-8", "replace")
            return self._failed(reported(text), {"error": text})
        return malformed(f"an event of {len(data)} bytes that are not JSON")

    def _take_end_marker(self) -> Chunk | None:
        self.done = True
        return self._complete_calls(None)

    def _read_other(self, name: str, event: Any) -> Chunk | Failure | None:
        """An error that is named so, or JSON that is no chunk."""
        if isinstance(event, list) and event and isinstance(event[0], dict) and event[0].get("error"):
            event = event[0]  # Gemini's compatible endpoint wraps its errors
        if isinstance(event, dict) and event.get("error"):
            return self._failed(reported(event["error"], event.get("code")), event)
        if name == "error":
            return self._failed(reported(event), {"error": event})
        if event == _DONE.decode():
            return self._take_end_marker()
        return malformed(f"an event that is JSON, but no object ({type(event).__name__})")

    def _failed(self, failure: Failure, said: Any) -> Failure:
        """*failure* as the words of the provider in *said* tell it apart."""
        from failsafe.providers.classify import classify_error_in_success  # a stream without errors never needs it

        if failure.fault is Fault.SERVER:
            target = self._target
            failure = classify_error_in_success(
                said, failure, vendor=target.vendor, dialect="openai", model=target.model
            )
        partial = self._content.text() if failure.fault is Fault.CONTENT_FILTER else ""
        billed = failure.maybe_billed or self.text_length > 0
        return msgspec.structs.replace(failure, partial=partial, maybe_billed=billed)

    def _whole_choice(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        choice = {"index": 0, **kept, "message": self._message_so_far(), "finish_reason": self._reason}
        if self._reason is None and (self.text_length or self._calls):
            # Some small servers never send a reason; their end marker has to do.
            choice |= {"finish_reason": "stop", "finish_reason_missing": True}
        return choice

    def _message_so_far(self) -> dict[str, Any]:
        message = {"role": "assistant", "content": self._content.whole(), **self._message}
        message |= {field: text.decode() for field, text in self._texts.items()}
        details, calls = self._details.whole(), self._calls.whole()
        if details:
            message["reasoning_details"] = details
        if calls:
            message["tool_calls"] = calls
        return message

    def _found_usage(self) -> Any:
        """The usage, wherever the server put it: beside the choices, in one (Moonshot), or in Groq's own object."""
        groq = self._frame.get("x_groq")
        within = groq.get("usage") if isinstance(groq, dict) else None
        return self._usage or (self._choice or {}).get("usage") or within


def _first(choices: Any) -> dict[str, Any] | None:
    """The first choice of an answer, which may be missing in a chunk; others are not read."""
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict) and not choice.get("index"):
                return choice
    return None


def _note(kept: dict[str, Any], given: Mapping[str, Any], apart: frozenset[str]) -> bool:
    """
    Keep the fields of *given*, but those *apart*: what is said last stays, and objects take in what is new.

    Returns:
        Whether there are more fields now.
    """
    grew = False
    for key, value in given.items():
        if key in apart or value is None or value == "":
            continue
        old = kept.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            size = len(old)
            old.update(value)
            grew = grew or len(old) > size
        else:
            grew = grew or key not in kept
            kept[key] = value
    return grew


def _gather(kept: dict[str, Any], given: Mapping[str, Any], apart: frozenset[str]) -> bool:
    """The same for what comes in pieces: lists grow."""
    grown = [key for key in given.keys() - apart if isinstance(given[key], list) and isinstance(kept.get(key), list)]
    for key in grown:
        kept[key] += given[key]
    return _note(kept, given, apart.union(grown)) or any(given[key] for key in grown)
