"""
The Gemini dialect (generateContent).

Source: googleapis/python-genai (types and tests), and the vendor's reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from failsafe.faults import Fault
from failsafe.sim.behaviour import StreamShape
from failsafe.sim.dialect import Asked, Event, Route, last_user_text, names
from failsafe.sim.script import Call, Script
from failsafe.sim.vendors import Complaint
from failsafe.sim.wire import Head

_CHAT = re.compile(r"/v1beta/models/([^/:]+):(generateContent|streamGenerateContent)")
_EMBEDDINGS = re.compile(r"/v1beta/models/([^/:]+):batchEmbedContents")
_FIELDS = names("contents systemInstruction generationConfig tools toolConfig safetySettings cachedContent serviceTier")
_GENERATION_FIELDS = names(
    """
    candidateCount frequencyPenalty logprobs maxOutputTokens mediaResolution presencePenalty responseJsonSchema
    responseLogprobs responseMimeType responseModalities responseSchema seed stopSequences temperature
    thinkingConfig topK topP
    """
)
_MOST_STOPS = 5
_FINISH = {
    "stop": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
    "refusal": "PROHIBITED_CONTENT",
    "tool_calls": "STOP",
    "missing": None,
}


def route(head: Head) -> Route | None:
    """What the address is for, or None when there is nothing at it."""
    if head.path == "/v1beta/models":
        return Route("models")
    if (embeddings := _EMBEDDINGS.fullmatch(head.path)) is not None:
        return Route("embeddings", model=embeddings[1])
    if (chat := _CHAT.fullmatch(head.path)) is None:
        return None
    sse = parse_qs(head.query).get("alt") == ["sse"]
    return Route("chat", model=chat[1], stream=chat[2] == "streamGenerateContent", sse=sse)


def complaint_about(asked: Asked) -> Complaint | None:
    """What the vendor would find wrong with a chat request, or None."""
    body, headers = asked.body, asked.head.headers
    if "x-goog-api-key" in headers and "authorization" in headers:
        return _bad("authorization", "Multiple authentication credentials received. Please pass only one.")
    if not isinstance(body, dict):
        return _bad("body", "Invalid JSON payload received. Expected an object.")
    settings = body.get("generationConfig") or {}
    return (
        _unknown_field(body, _FIELDS)
        or _unknown_field(settings, _GENERATION_FIELDS)
        or _bad_contents(body.get("contents"))
        or _bad_settings(settings)
    )


def _bad(parameter: str, message: str) -> Complaint:
    return Complaint(fault=Fault.BAD_REQUEST, parameter=parameter, message=message)


def _unknown_field(body: Mapping[str, Any], known: frozenset[str]) -> Complaint | None:
    unknown = next((name for name in body if _camel(name) not in known), "")
    return Complaint(fault=Fault.UNSUPPORTED_PARAMETER, parameter=unknown) if unknown else None


def _camel(name: str) -> str:
    """The field's camelCase name; snake_case is taken too."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def _bad_contents(contents: Any) -> Complaint | None:
    if not isinstance(contents, list) or not contents:
        return _bad("contents", "* GenerateContentRequest.contents: contents is not specified")
    for index, content in enumerate(contents):
        if not isinstance(content, dict) or not content.get("parts"):
            return _bad("contents", f"* GenerateContentRequest.contents[{index}].parts: must not be empty")
        if content.get("role", "user") not in ("user", "model"):
            return _bad("contents", "Please use a valid role: user, model.")
    if contents[0].get("role", "user") != "user":
        return _bad("contents", "Please ensure that the first content comes from the user.")
    return None


def _bad_settings(settings: Mapping[str, Any]) -> Complaint | None:
    if len(settings.get("stopSequences") or ()) > _MOST_STOPS:
        return _bad("stopSequences", f"The number of stop sequences must be at most {_MOST_STOPS}.")
    temperature = settings.get("temperature")
    if temperature is not None and not (isinstance(temperature, int | float) and 0 <= temperature <= 2):
        return _bad("temperature", "* GenerateContentRequest.generation_config.temperature: must be in [0.0, 2.0]")
    return None


def call(asked: Asked) -> Call:
    """What a chat request without fault asks for."""
    route, body = asked.route, asked.body
    declared = [each for tool in body.get("tools") or () for each in tool.get("functionDeclarations") or ()]
    forced = (body.get("toolConfig") or {}).get("functionCallingConfig") or {}
    allowed = forced.get("allowedFunctionNames") or [""]
    return Call(
        model=route.model,
        prompt=last_user_text(body["contents"], "parts"),
        tools=tuple(each.get("name", "") for each in declared),
        forced_tools=1 if forced.get("mode") == "ANY" else 0,
        wanted_tool=allowed[0],
        stream=route.stream,
        usage_in_stream=True,
    )


def answer(script: Script) -> dict[str, Any]:
    """The body of a whole answer; a refusal is a blocked prompt without candidates."""
    if script.finish == "refusal":
        return _frame(script) | {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
    spoken = [] if script.finish == "content_filter" else _spoken(script, [script.text])
    parts = [*_thoughts([script.reasoning]), *spoken]
    return _frame(script) | {"candidates": [_candidate(parts, _FINISH[script.finish])]}


def _frame(script: Script, share: float = 1.0) -> dict[str, Any]:
    """What stands beside the candidates when *share* of the answer is out; counts are those so far."""
    answered = int((script.completion_tokens - script.reasoning_tokens) * share)
    usage = {
        "promptTokenCount": script.prompt_tokens,
        "candidatesTokenCount": answered,
        "totalTokenCount": script.prompt_tokens + answered + script.reasoning_tokens,
    }
    if script.cached_tokens:
        usage["cachedContentTokenCount"] = script.cached_tokens
    if script.reasoning_tokens:
        usage["thoughtsTokenCount"] = script.reasoning_tokens
    return {"usageMetadata": usage, "modelVersion": script.model, "responseId": script.identifier}


def _candidate(parts: Sequence[Any], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"index": 0}
    if parts:
        candidate["content"] = {"role": "model", "parts": list(parts)}
    if finish:
        candidate["finishReason"] = finish
    return candidate


def _thoughts(texts: Sequence[str]) -> list[dict[str, Any]]:
    return [{"text": text, "thought": True} for text in texts if text]


def _spoken(script: Script, texts: Sequence[str]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{"text": text} for text in texts if text]
    for index, each in enumerate(script.tool_calls):
        function = {"id": each.identifier, "name": each.name, "args": dict(each.arguments)}
        # of parallel calls, only the first carries the signature
        parts.append({"functionCall": function} | ({} if index else {"thoughtSignature": "c2lt"}))
    return parts


def without_choices(answer: dict[str, Any]) -> dict[str, Any]:
    """The same body with an empty list of candidates, and no reason why."""
    return answer | {"candidates": []}


def without_message(answer: dict[str, Any]) -> dict[str, Any]:
    """The same body with a candidate that says nothing and gives no reason."""
    return answer | {"candidates": [{"index": 0}]}


def events(script: Script, shape: StreamShape) -> Iterator[Event]:
    """The partial answers of a streamed answer; there is no end marker. What is filtered breaks off after its text."""
    for event in _partial_answers(script, shape):
        if shape.usage is False:
            del event["usageMetadata"]
        yield Event(event)


def _partial_answers(script: Script, shape: StreamShape) -> Iterator[dict[str, Any]]:
    if script.finish == "refusal":
        yield answer(script)
        return
    parts = [*_thoughts(script.reasoning_pieces()), *_spoken(script, script.pieces())]
    last = [] if script.finish == "content_filter" else parts[-1:]
    early = parts[: len(parts) - len(last)]
    for number, part in enumerate(early, start=1):
        yield {"candidates": [_candidate([part], None)]} | _frame(script, number / len(parts))
    yield {"candidates": [_candidate(last, _FINISH[script.finish] if shape.finish else None)]} | _frame(script)


def error_event(body: Any) -> Event:
    """The error *body* as an event of a stream."""
    return Event(body)


def models(known: Sequence[str]) -> Any:
    """The list of models."""
    return {
        "models": [
            {
                "name": f"models/{model}",
                "displayName": model,
                "inputTokenLimit": 1_048_576,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent", "countTokens"],
            }
            for model in known
        ]
    }
