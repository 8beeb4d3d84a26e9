"""
Reading the partial answers that Gemini streams.

Every event is a ``GenerateContentResponse`` with what follows of the parts; there is no end marker. Source:
googleapis/python-genai ``google/genai/types.py``, ``_api_client.py``; ai.google.dev "Generating content",
"Thought signatures". Every rule is stated in ``docs/dialects-native.md``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from failsafe.chunks import Chunk, ToolCallDelta
from failsafe.faults import Fault
from failsafe.models import Failure
from failsafe.providers.base import Target
from failsafe.providers.common import arguments_text, made_up_id, text_of
from failsafe.providers.gemini_answer import Part, block_reason, joined_text, read_answer
from failsafe.providers.native import malformed

_NOT_ENDED = "FINISH_REASON_UNSPECIFIED"
_TEXT_KEYS = frozenset({"text", "thought"})
_NOTHING: tuple[None, str] = (None, "")

_decode = msgspec.json.Decoder().decode


class GeminiStream:
    """
    The :class:`failsafe.providers.base.StreamReader` of ``streamGenerateContent``. Not thread-safe.

    Texts of one kind that follow each other become one part, as without streaming; a part with a
    ``thoughtSignature``, or with anything else beside its text, is kept as it came.

    Args:
        target: Who was asked.

    Attributes:
        finished: Whether a finish reason was seen, or that the prompt is blocked.
        done: Always False: the answer ends with its body.
        text_length: Characters of text, reasoning and tool arguments collected so far.
        kept: Parts so far, log probabilities and further fields.
    """

    __slots__ = (
        "_calls",
        "_candidate",
        "_frame",
        "_parts",
        "_run",
        "_run_is_thought",
        "_target",
        "done",
        "finished",
        "kept",
        "text_length",
    )

    def __init__(self, target: Target) -> None:
        self.finished = False
        self.done = False
        self.text_length = 0
        self.kept = 0
        self._target = target
        self._frame: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[Part] = []
        self._run = (
            bytearray()
        )  # the text part that may still grow; io.StringIO keeps its pieces, of some 60 bytes each
        self._run_is_thought = False
        self._calls = 0

    def read(self, name: str, data: bytes) -> Chunk | Failure | None:  # noqa: ARG002 -- Gemini names no event
        """Take in one event. See :meth:`failsafe.providers.base.StreamReader.read`."""
        try:
            event = _decode(data)
            if type(event) is list and len(event) == 1:
                event = event[0]
            if type(event) is dict:
                return self._failure(event) if event.get("error") else self._take(event)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # Gateways that speak OpenAI elsewhere add its end marker.
            return None if data.strip() == b"[DONE]" else malformed("an event of the stream is not JSON")
        return malformed("an event of the stream is no JSON object, so no part of an answer of generateContent")

    def body(self) -> Any | Failure:
        """The body that ``generateContent`` would have answered with. See :class:`failsafe.providers.base`."""
        self._end_run()
        if not self.finished:
            return Failure(
                fault=Fault.TRUNCATED,
                message="the stream ended before the answer did: no finishReason came",
                partial=joined_text(self._parts, thought=False),
                maybe_billed=True,
            )
        candidate = dict(self._candidate)
        if self._parts:
            candidate["content"] = {"role": "model", "parts": list(self._parts)}
        return {"candidates": [candidate | {"index": 0}], **self._frame} if candidate else dict(self._frame)

    def _failure(self, event: dict[str, Any]) -> Failure:
        from failsafe.providers.classify import classify_error_in_success  # a stream that goes well never needs it

        read = read_answer(event)
        seen = read if isinstance(read, Failure) else malformed("an error that could not be read")
        target = self._target
        failure = classify_error_in_success(event, seen, vendor=target.vendor, dialect="gemini", model=target.model)
        return msgspec.structs.replace(failure, maybe_billed=failure.maybe_billed or self.text_length > 0)

    def _take(self, event: dict[str, Any]) -> Chunk | None:
        self._keep_frame(event)
        candidate = _first_candidate(event.get("candidates"))
        if candidate is None:
            return None
        self._keep_candidate(candidate)
        text = reasoning = ""
        calls: list[ToolCallDelta] = []
        for part in _parts_of(candidate):
            said = text_of(part.get("text"))
            if part.get("thought"):
                reasoning += said
            else:
                text += said
            if type(part.get("functionCall")) is dict:
                self._add_call(part, calls)
            else:
                self._add(part, said)
        if not (text or reasoning or calls):
            return None
        self.text_length += len(text) + len(reasoning)
        return Chunk(
            provider=self._target.provider,
            model=self._target.model,
            text=text,
            reasoning=reasoning,
            tool_calls=tuple(calls),
        )

    def _keep_frame(self, event: dict[str, Any]) -> None:
        """What stands beside the candidates: the last of each, as counts grow; but the first id, which calls share."""
        frame = self._frame
        for name, value in event.items():
            if not value or name == "candidates":
                continue
            self.kept += name not in frame
            if name == "responseId":
                frame.setdefault(name, value)
            else:
                frame[name] = value
        if "promptFeedback" in event and block_reason(event):
            self.finished = True

    def _keep_candidate(self, candidate: dict[str, Any]) -> None:
        """What stands beside the content: the last of each; log probabilities come in pieces, as the text does."""
        kept = self._candidate
        for name, value in candidate.items():
            if not value or name in ("content", "index"):
                continue
            if name == "finishReason":
                if value == _NOT_ENDED:
                    continue
                self.finished = True
            self.kept += name == "logprobsResult" or name not in kept
            kept[name] = _grown(kept.get(name), value) if name == "logprobsResult" else value

    def _add(self, part: Part, said: str) -> None:
        if not (part.keys() <= _TEXT_KEYS or _says_only_text(part)):
            self._keep(part)
        elif said:
            thought = bool(part.get("thought"))
            if thought is not self._run_is_thought:
                self._end_run()
                self._run_is_thought = thought
            self._run += said.encode()

    def _add_call(self, part: Part, calls: list[ToolCallDelta]) -> None:
        """Keep a function call; one without an id in an answer without one is given an id that stays with it."""
        function = part["functionCall"]
        arguments = arguments_text(function.get("args"))
        identity, answer = text_of(function.get("id")), text_of(self._frame.get("responseId"))
        if not identity and answer:
            identity = made_up_id(answer, self._calls)  # as whole answers are read
        elif not identity:
            identity = made_up_id(arguments, self.text_length, self._calls)
            part = {**part, "functionCall": {**function, "id": identity}}
        self._keep(part)
        name = text_of(function.get("name"))
        if name:
            calls.append(ToolCallDelta(index=self._calls, id=identity, name=name, arguments=arguments))
            self.text_length += len(arguments)
        self._calls += 1

    def _keep(self, part: Part) -> None:
        """A part that does not grow."""
        self._end_run()
        self._parts.append(part)
        self.kept += 1

    def _end_run(self) -> None:
        if self._run:
            self.kept += 1
            text = self._run.decode()
            self._parts.append({"text": text, "thought": True} if self._run_is_thought else {"text": text})
            self._run.clear()


def _first_candidate(candidates: Any) -> dict[str, Any] | None:
    """The candidate that whole answers are read from; an index of 0 is left out at times."""
    for candidate in candidates if type(candidates) is list else ():
        if type(candidate) is dict and not candidate.get("index"):
            return candidate
    return None


def _parts_of(candidate: dict[str, Any]) -> list[dict[str, Any]]:
    """The parts of a candidate's content that are objects."""
    content = candidate.get("content")
    parts = content.get("parts") if type(content) is dict else None
    return [part for part in parts if type(part) is dict] if type(parts) is list else []


def _says_only_text(part: Part) -> bool:
    """Whether there is nothing in *part* beside a text, only names without a value."""
    return "text" in part and all(part[name] in _NOTHING for name in part.keys() - _TEXT_KEYS)


def _grown(kept: Any, value: Any) -> Any:
    """*kept*, its lists longer by those of *value*; the first time *value* itself."""
    if type(kept) is not dict or type(value) is not dict:
        return value
    for name, each in value.items():
        if type(each) is list and type(kept.get(name)) is list:
            kept[name] += each
        else:
            kept[name] = each
    return kept
