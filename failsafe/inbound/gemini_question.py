"""
Reading requests to Gemini's ``generateContent`` and ``streamGenerateContent``.

Source of the form: googleapis/python-genai ``google/genai/types.py``, ``models.py``; ai.google.dev "Generating
content". Every rule is stated in ``docs/inbound.md``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from failsafe.encoding import refuse
from failsafe.errors import InvalidRequest
from failsafe.inbound.base import Question
from failsafe.inbound.fields import (
    MOST_STOPS,
    content_of,
    function_tool,
    json_text,
    list_of,
    number,
    object_of,
    own_fields,
    schema_format,
    text_in,
    texts,
    tool_name,
    whole,
)
from failsafe.inbound.gemini_fields import camel, json_schema
from failsafe.providers.common import made_up_id

_PATH = re.compile(r"/(?:models|tunedModels)/(?P<model>.+):(?P<method>generateContent|streamGenerateContent)")
_READ = frozenset({"model", "contents", "systemInstruction", "generationConfig", "tools", "toolConfig"})
_ONLY_GEMINI = "only Gemini has this, and whoever answers in its place would answer without it; leave it out"
_SETTINGS = frozenset({
    "temperature", "topP", "maxOutputTokens", "stopSequences", "seed", "presencePenalty", "frequencyPenalty",
    "responseLogprobs", "logprobs", "candidateCount", "responseMimeType", "responseSchema", "responseJsonSchema",
    "responseModalities", "thinkingConfig",
})  # fmt: skip
_NUMBERS = {"temperature": "temperature", "topP": "top_p"}
_AS_THEY_ARE = {
    "seed": "seed", "presencePenalty": "presence_penalty", "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs", "logprobs": "top_logprobs",
}  # fmt: skip
_MODES = {"AUTO": "auto", "VALIDATED": "auto", "ANY": "required", "NONE": "none", "MODE_UNSPECIFIED": "auto"}
_BUDGETS = ((0, "none"), (1024, "low"), (8192, "medium"))
_LEVELS = ("minimal", "low", "medium", "high")
_JSON = "application/json"

Fields = Mapping[str, Any]


def read_question(body: Any, path: str) -> Question:
    """
    The request in a decoded *body* sent to *path*, which may have a query.

    Raises:
        InvalidRequest: It is no such request, or asks for what only Gemini has.
    """
    model, stream = _read_path(path)
    if not isinstance(body, Mapping):
        refuse("body", body, "a JSON object is needed")
    fields = camel(body)
    if fields.get("cachedContent"):
        refuse("cachedContent", fields["cachedContent"], _ONLY_GEMINI)
    settings = camel(object_of(fields.get("generationConfig"), "generationConfig"))
    return Question(
        model=model,
        messages=_Conversation(model).read(fields),
        parameters=_parameters(settings) | _tools(fields),
        extra=_extra(fields, settings),
        stream=stream,
        stream_usage=True,
    )


def _read_path(path: str) -> tuple[str, bool]:
    """The model that is asked, and whether for a stream."""
    parts = urlsplit(path)
    found = _PATH.search(parts.path)
    if found is None or found.end() != len(parts.path):
        refuse("path", parts.path, "/v1beta/models/MODEL:generateContent or :streamGenerateContent is needed")
    stream = found["method"] == "streamGenerateContent"
    if stream and parse_qs(parts.query).get("alt") != ["sse"]:
        raise InvalidRequest(
            "streamGenerateContent without alt=sse asks for one JSON array, which failsafe does not write; "
            "add ?alt=sse to the address, or ask generateContent; nothing was sent"
        )
    return unquote(found["model"]), stream


def _extra(fields: Fields, settings: Fields) -> dict[str, Any]:
    extra = own_fields(fields, _READ, "generateContent")
    kept = {name: value for name, value in settings.items() if name not in _SETTINGS and value is not None}
    stops = settings.get("stopSequences")
    if stops and len(stops) > MOST_STOPS:
        kept["stopSequences"] = stops  # Gemini itself takes one more than is passed on to all
    if _thinking(settings).get("includeThoughts"):
        kept["thinkingConfig"] = {"includeThoughts": True}
    if kept:
        extra["generationConfig"] = kept
    config = camel(object_of(fields.get("toolConfig"), "toolConfig"))
    config.pop("functionCallingConfig", None)
    return {**extra, "toolConfig": config} if config else extra


def _thinking(settings: Fields) -> dict[str, Any]:
    return camel(object_of(settings.get("thinkingConfig"), "generationConfig.thinkingConfig"))


def _parameters(settings: Fields) -> dict[str, Any]:
    place = "generationConfig"
    given = {name: value for name, value in settings.items() if value is not None}
    if given.get("candidateCount", 1) != 1:
        refuse(f"{place}.candidateCount", given["candidateCount"], "failsafe returns one answer a call; call again")
    if given.get("responseModalities") not in (None, [], ["TEXT"], ["text"]):
        refuse(f"{place}.responseModalities", given["responseModalities"], 'only ["TEXT"] can be answered by everyone')
    if given.get("responseFormat"):
        refuse(f"{place}.responseFormat", given["responseFormat"], "use responseMimeType and responseJsonSchema")
    parameters: dict[str, Any] = {
        name: number(given[own], f"{place}.{own}", 2 if name == "temperature" else 1)
        for own, name in _NUMBERS.items()
        if own in given
    }
    parameters |= {name: given[own] for own, name in _AS_THEY_ARE.items() if own in given}
    if "maxOutputTokens" in given:
        parameters["max_tokens"] = whole(given["maxOutputTokens"], f"{place}.maxOutputTokens", 1)
    stops = texts(given.get("stopSequences"), f"{place}.stopSequences")
    if stops:
        parameters["stop"] = stops[:MOST_STOPS]
    return parameters | _format(given, place) | _effort(settings, f"{place}.thinkingConfig")


def _format(given: Fields, place: str) -> dict[str, Any]:
    kind = given.get("responseMimeType")
    if kind not in (None, "text/plain", _JSON):
        refuse(f"{place}.responseMimeType", kind, f"text/plain or {_JSON} is needed")
    schema = given.get("responseJsonSchema")
    if schema is None and given.get("responseSchema") is not None:
        schema = json_schema(object_of(given["responseSchema"], f"{place}.responseSchema"))
    if schema is not None:
        return {"response_format": schema_format(object_of(schema, f"{place}.responseJsonSchema"))}
    return {"response_format": {"type": "json_object"}} if kind == _JSON else {}


def _effort(settings: Fields, place: str) -> dict[str, Any]:
    """
    How hard to think: the level; else the least effort that the budget of tokens is enough for.

    The budgets are those that failsafe's own dialect asks for. -1 leaves it to the model, as saying nothing does.
    """
    config = _thinking(settings)
    level = str(config.get("thinkingLevel") or "").lower()
    if level in _LEVELS:
        return {"reasoning_effort": level}
    if level and level != "thinking_level_unspecified":
        refuse(f"{place}.thinkingLevel", config["thinkingLevel"], f"one of {', '.join(_LEVELS)} is needed")
    budget = config.get("thinkingBudget")
    if budget is None or budget == -1:
        return {}
    tokens = whole(budget, f"{place}.thinkingBudget", 0)
    return {"reasoning_effort": next((word for most, word in _BUDGETS if tokens <= most), "high")}


def _tools(fields: Fields) -> dict[str, Any]:
    """``tools`` and ``tool_choice``."""
    tools: dict[str, Any] = {}
    for index, tool in enumerate(_listed(fields.get("tools"), "tools")):
        _add_tools(camel(object_of(tool, f"tools[{index}]")), f"tools[{index}]", tools)
    config = camel(object_of(fields.get("toolConfig"), "toolConfig"))
    place = "toolConfig.functionCallingConfig"
    calling = camel(object_of(config.get("functionCallingConfig"), place))
    if not tools or not calling.get("mode"):
        return {"tools": list(tools.values())} if tools else {}
    mode = str(calling["mode"]).upper()
    if mode not in _MODES:
        refuse(f"{place}.mode", calling["mode"], "AUTO, ANY, NONE or VALIDATED is needed")
    allowed = texts(calling.get("allowedFunctionNames"), f"{place}.allowedFunctionNames")
    unknown = next((name for name in allowed if name not in tools), None)
    if unknown is not None:
        refuse(f"{place}.allowedFunctionNames", unknown, "the names of declared functions are needed")
    if allowed:  # no other provider has such a list: the others are not even offered
        tools = {name: tool for name, tool in tools.items() if name in allowed}
    choice: Any = _MODES[mode]
    if choice == "required" and len(tools) == 1:
        choice = {"type": "function", "function": {"name": next(iter(tools))}}
    return {"tools": list(tools.values()), "tool_choice": choice}


def _add_tools(tool: Fields, place: str, tools: dict[str, Any]) -> None:
    other = next((name for name, value in tool.items() if name != "functionDeclarations" and value is not None), None)
    if other is not None:
        refuse(f"{place}.{other}", tool[other], _ONLY_GEMINI)
    where = f"{place}.functionDeclarations"
    for index, given in enumerate(_listed(tool.get("functionDeclarations"), where)):
        here = f"{where}[{index}]"
        declared = camel(object_of(given, here))
        name = tool_name(declared, here, tools)
        schema = declared.get("parametersJsonSchema")
        if schema is None and declared.get("parameters") is not None:
            schema = json_schema(object_of(declared["parameters"], f"{here}.parameters"))
        tools[name] = function_tool(name, declared, object_of(schema, f"{here}.parametersJsonSchema"), here)


class _Conversation:
    """
    The contents of one request in OpenAI's chat form. Lives for one request.

    Args:
        model: What is asked for; signatures in the history are taken for its own, as they are where there is no router.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._messages: list[dict[str, Any]] = []
        self._calls: dict[str, str] = {}  # the name of each function call
        self._unanswered: list[str] = []

    def read(self, fields: Fields) -> list[dict[str, Any]]:
        """The messages of the request's *fields*, with its ``systemInstruction`` in front."""
        system = fields.get("systemInstruction")
        if system:
            parts = _parts(object_of(system, "systemInstruction"), "systemInstruction")
            said = [_text_part(part, f"systemInstruction.parts[{index}]") for index, part in enumerate(parts)]
            self._messages.append({"role": "system", "content": content_of(said)})
        contents = _listed(fields.get("contents"), "contents")
        if not contents:
            refuse("contents", fields.get("contents"), "a list of at least one content is needed")
        for index, content in enumerate(contents):
            place = f"contents[{index}]"
            self._add(object_of(content, place), place)
        return self._messages

    def _add(self, content: Fields, place: str) -> None:
        role = content.get("role") or "user"
        parts = _parts(content, place)
        if role == "model":
            self._add_model(parts, f"{place}.parts")
        elif role in ("user", "function"):
            self._add_user(parts, f"{place}.parts")
        else:
            refuse(f"{place}.role", role, "user or model is needed")

    def _add_user(self, parts: Sequence[Fields], place: str) -> None:
        """Results of functions stand before the rest of the turn, and their images begin that rest."""
        images: list[dict[str, Any]] = []
        rest: list[dict[str, Any]] = []
        for index, part in enumerate(parts):
            where = f"{place}[{index}]"
            if part.get("functionResponse") is not None:
                images += self._add_result(camel(object_of(part["functionResponse"], where)), where)
            else:
                rest.append(_part(part, where))
        if images or rest:
            self._messages.append({"role": "user", "content": content_of(images + rest)})

    def _add_result(self, result: Fields, place: str) -> list[dict[str, Any]]:
        """Add the message of one *result*; return the images in it, which no such message may hold."""
        where = f"{place}.functionResponse"
        name, identity = text_in(result, "name", where), result.get("id")
        if not isinstance(identity, str) or identity not in self._calls:
            identity = next((each for each in self._unanswered if self._calls[each] == name), None)
        if identity is None:
            refuse(f"{where}.name", name, "no functionCall before it that is not answered yet has this name")
        if identity in self._unanswered:
            self._unanswered.remove(identity)
        content = _result_text(object_of(result.get("response"), f"{where}.response"))
        self._messages.append({"role": "tool", "tool_call_id": identity, "content": content})
        return [
            _part(camel(object_of(part, f"{where}.parts[{index}]")), f"{where}.parts[{index}]")
            for index, part in enumerate(_listed(result.get("parts"), f"{where}.parts"))
        ]

    def _add_model(self, parts: Sequence[Fields], place: str) -> None:
        said = [
            {"type": "text", "text": part["text"]}
            for part in parts
            if isinstance(part.get("text"), str) and part["text"] and not part.get("thought")
        ]
        calls = [
            self._call(camel(object_of(part["functionCall"], f"{place}[{index}].functionCall")), f"{place}[{index}]")
            for index, part in enumerate(parts)
            if part.get("functionCall") is not None
        ]
        message: dict[str, Any] = {"role": "assistant", "content": content_of(said)}
        if calls:
            message |= {"content": message["content"] or None, "tool_calls": calls}
        if any(part.get("thoughtSignature") for part in parts):
            message["provider_data"] = {"model": self._model, "data": {"parts": list(parts)}}
        self._messages.append(message)

    def _call(self, function: Fields, place: str) -> dict[str, Any]:
        where = f"{place}.functionCall"
        name = text_in(function, "name", where)
        identity = function.get("id")
        if not isinstance(identity, str) or not identity or identity in self._calls:
            identity = made_up_id(name, len(self._calls))
        self._calls[identity] = name
        self._unanswered.append(identity)
        arguments = json_text(object_of(function.get("args"), f"{where}.args"))
        return {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}


def _listed(value: Any, place: str) -> Sequence[Any]:
    """*value* as a list; Google's servers take one object for a list of it, as their guides have long written it."""
    return [value] if isinstance(value, Mapping) else list_of(value, place)


def _parts(content: Fields, place: str) -> list[dict[str, Any]]:
    where = f"{place}.parts"
    parts = [
        camel(object_of(part, f"{where}[{index}]")) for index, part in enumerate(_listed(content.get("parts"), where))
    ]
    if not parts:
        refuse(where, content.get("parts"), "a list of at least one part is needed")
    return parts


def _part(part: Fields, place: str) -> dict[str, Any]:
    """A part of the user's, or of a function's result."""
    if part.get("inlineData") is not None:
        blob = camel(object_of(part["inlineData"], f"{place}.inlineData"))
        kind = _image_type(blob, f"{place}.inlineData")
        return _image(f"data:{kind};base64,{text_in(blob, 'data', f'{place}.inlineData')}")
    if part.get("fileData") is not None:
        file = camel(object_of(part["fileData"], f"{place}.fileData"))
        _image_type(file, f"{place}.fileData")
        address = text_in(file, "fileUri", f"{place}.fileData")
        if not address.startswith(("https://", "http://")) or "generativelanguage.googleapis.com" in address:
            refuse(f"{place}.fileData.fileUri", address, "an address on the web is needed: only Gemini can read this")
        return _image(address)
    return _text_part(part, place)


def _image_type(holder: Fields, place: str) -> str:
    kind = text_in(holder, "mimeType", place)
    if not kind.startswith("image/"):
        refuse(f"{place}.mimeType", kind, "an image is needed: not every provider reads anything else")
    return kind


def _image(address: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": address}}


def _text_part(part: Fields, place: str) -> dict[str, Any]:
    if not isinstance(part.get("text"), str):
        refuse(place, part, "a text, inlineData, fileData or functionResponse is needed")
    return {"type": "text", "text": part["text"]}


def _result_text(response: Fields) -> str:
    """A function's result as text; ``{"result": text}`` is how failsafe's own dialect says a text."""
    if response.keys() == {"result"} and isinstance(response["result"], str):
        text: str = response["result"]
        if not text.lstrip().startswith("{"):
            return text
    return json_text(response)
