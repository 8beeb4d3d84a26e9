"""
Reading Gemini's answers.

Source: googleapis/python-genai ``google/genai/types.py`` (``GenerateContentResponse``,
``FinishReason``, ``BlockedReason``); ai.google.dev "Safety settings", "Thought signatures".
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from failsafe.models import Answer, Failure, FinishReason, ToolCall, Usage
from failsafe.providers.common import arguments_text, made_up_id, text_of, token_count
from failsafe.providers.native import broken, filtered, malformed

_FINISHED: dict[str, FinishReason] = {"STOP": "stop", "MAX_TOKENS": "length"}
_BLOCKED = frozenset({
    "SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "RECITATION", "MODEL_ARMOR", "JAILBREAK",
})  # fmt: skip
_SPOILED = frozenset({
    "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE", "TOO_MANY_TOOL_CALLS",
})  # fmt: skip
_NO_REASON = "BLOCK_REASON_UNSPECIFIED"

Part = Mapping[str, Any]


def read_answer(body: Any) -> Answer | Failure:
    """
    The answer in the decoded *body* of a 2xx, or why it is none. Never raises.

    Args:
        body: Any JSON value. Of several candidates the first one is read.
    """
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if not isinstance(body, Mapping):
        return malformed("the body is no JSON object, so no answer of generateContent")
    if body.get("error"):
        return error_of(body["error"])
    try:
        return _read_body(body)
    except RecursionError:
        return malformed("the body nests too deep to be read")


def error_of(error: Any) -> Failure:
    """The failure that an *error* under a success status is."""
    if isinstance(error, Mapping):
        return broken(error.get("status"), error.get("message"), "UNAVAILABLE")
    return broken(None, error, "UNAVAILABLE")


def _read_body(body: Mapping[str, Any]) -> Answer | Failure:
    candidates = body.get("candidates")
    candidate = candidates[0] if isinstance(candidates, list) and candidates else None
    if not isinstance(candidate, Mapping):
        return _blocked_prompt(body, "") or malformed(
            "the body has no candidates, so it is no answer of generateContent"
        )
    parts = _parts(candidate)
    if not parts or not candidate.get("finishReason"):
        blocked = _blocked_prompt(body, joined_text(parts, thought=False))
        if blocked:
            return blocked
    return _read_candidate(body, candidate, parts)


def block_reason(body: Mapping[str, Any]) -> str:
    """Why the prompt was blocked, or ""."""
    feedback = body.get("promptFeedback")
    reason = text_of(feedback.get("blockReason")) if isinstance(feedback, Mapping) else ""
    return "" if reason == _NO_REASON else reason


def _blocked_prompt(body: Mapping[str, Any], text: str) -> Failure | None:
    reason = block_reason(body)
    return filtered(reason, body["promptFeedback"].get("blockReasonMessage"), text) if reason else None


def _parts(candidate: Mapping[str, Any]) -> list[Part]:
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, Mapping) else None
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def _read_candidate(body: Mapping[str, Any], candidate: Mapping[str, Any], parts: Sequence[Part]) -> Answer | Failure:
    reason = text_of(candidate.get("finishReason"))
    text = joined_text(parts, thought=False)
    if reason in _BLOCKED or reason.startswith("IMAGE_"):
        return filtered(reason, candidate.get("finishMessage"), text)
    calls = _calls(body, parts)
    problem = _problem(reason, candidate, text, calls)
    if problem:
        return malformed(problem, reason or None)
    return Answer(
        content=text,
        finish_reason=_finish(reason, calls),
        tool_calls=tuple(call for call in calls if call is not None),
        usage=_usage(body.get("usageMetadata")),
        model=text_of(body.get("modelVersion")).removeprefix("models/"),
        id=text_of(body.get("responseId")),
        reasoning=joined_text(parts, thought=True) or None,
        provider_data=_to_keep(parts),
        raw=body,
    )


def _problem(reason: str, candidate: Mapping[str, Any], text: str, calls: Sequence[ToolCall | None]) -> str:
    """Why this is no answer, or ""."""
    if reason in _SPOILED:
        return f"the model's answer was unusable ({reason}) {text_of(candidate.get('finishMessage'))}".rstrip()
    if None in calls:
        return "a function call without a name"
    if reason not in _FINISHED and not text and not calls:
        return f"no content, and the finish reason is {reason or 'missing'}"
    return ""


def _finish(reason: str, calls: Sequence[ToolCall | None]) -> FinishReason:
    finish = _FINISHED.get(reason, "stop")
    return "tool_calls" if calls and finish == "stop" else finish


def joined_text(parts: Sequence[Part], *, thought: bool) -> str:
    """The text of *parts*: of the thoughts, or of all others."""
    return "".join(text_of(part.get("text")) for part in parts if bool(part.get("thought")) is thought)


def _calls(body: Mapping[str, Any], parts: Sequence[Part]) -> list[ToolCall | None]:
    """The function calls, None for one that cannot be called."""
    functions = [part["functionCall"] for part in parts if isinstance(part.get("functionCall"), Mapping)]
    return [_call(body, function, index) for index, function in enumerate(functions)]


def _call(body: Mapping[str, Any], function: Mapping[str, Any], index: int) -> ToolCall | None:
    name = text_of(function.get("name"))
    if not name:
        return None
    identity = text_of(function.get("id")) or made_up_id(_fingerprint(body), index)
    return ToolCall(id=identity, name=name, arguments=arguments_text(function.get("args")))


def _fingerprint(body: Mapping[str, Any]) -> str:
    """What tells this answer from others: its id, or all of it."""
    return text_of(body.get("responseId")) or json.dumps(body, sort_keys=True)


def _to_keep(parts: Sequence[Part]) -> dict[str, Any] | None:
    """All parts in order, if one is signed: the same model wants its signatures back with the next turn."""
    return {"parts": list(parts)} if any(part.get("thoughtSignature") for part in parts) else None


def _usage(usage: Any) -> Usage:
    """Gemini counts cached tokens inside the prompt, and thoughts beside the candidates."""
    if not isinstance(usage, Mapping):
        return Usage()
    thoughts = token_count(usage.get("thoughtsTokenCount"))
    return Usage(
        prompt_tokens=token_count(usage.get("promptTokenCount")) + token_count(usage.get("toolUsePromptTokenCount")),
        completion_tokens=token_count(usage.get("candidatesTokenCount")) + thoughts,
        cached_tokens=token_count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
