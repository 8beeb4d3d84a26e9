"""
Google's Gemini API: ``POST /models/{model}:generateContent`` or ``:streamGenerateContent`` below ``.../v1beta``.

Sources: googleapis/python-genai ``google/genai/types.py``, ``models.py``; ai.google.dev "Text
generation", "Function calling", "Structured output", "Thinking". Every mapping is stated in
``docs/dialects-native.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from failsafe.models import Answer, ChatRequest, Failure
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.providers.common import Changes, encode_body, extra_of
from failsafe.providers.gemini_answer import read_answer
from failsafe.providers.gemini_history import History
from failsafe.providers.gemini_stream import GeminiStream
from failsafe.providers.json_schema import takes_nothing
from failsafe.providers.native import Asked, chosen_tool, with_extra

_NAMES = {
    "topP": "top_p",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "responseMimeType": "response_format",
    "responseJsonSchema": "response_format",
    "thinkingConfig": "reasoning_effort",
    "thinkingBudget": "reasoning_effort",
    "thinkingLevel": "reasoning_effort",
    "parametersJsonSchema": "tools",
    "toolConfig": "tool_choice",
}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
_MOST_STOPS = 5
_MOST_SEED = 2**31 - 1
_LEVELS = ("minimal", "low", "medium", "high")
_OTHER_LEVELS = {"none": "minimal", "xhigh": "high", "max": "high"}
# ai.google.dev "OpenAI compatibility", the table of efforts.
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}


class GeminiDialect:
    """The :class:`failsafe.providers.base.Dialect` of ``generateContent``. Stateless and thread-safe."""

    name = "gemini"

    def build(self, request: ChatRequest, target: Target) -> BuiltRequest:
        """
        The request as ``POST /models/{model}:generateContent``, or as one for a stream; *request* is never changed.

        Args:
            request: A request that ``failsafe.request`` checked.
            target: Whom it goes to; a ``models/`` before the model's id is left off.

        Raises:
            CannotExpress: Gemini, or this model, cannot be asked this without changing its meaning.
            InvalidRequest: No target could take it.
        """
        changes = Changes()
        asked = Asked(request, target, changes, _NAMES)
        history = History(request.messages, target, changes)
        body: dict[str, Any] = {"contents": history.contents}
        if history.system:
            body["systemInstruction"] = {"parts": history.system}
        body |= _tools(asked, target, changes)
        settings = _sampling(asked, target, changes) | _thinking(asked, target, changes)
        settings |= _format(asked, target, changes, has_tools="tools" in body)
        if settings:
            body["generationConfig"] = settings
        asked.drop_rest("Gemini has no equivalent")
        body = with_extra(
            body, extra_of(request, self.name, changes), target, asked, changes, settings="generationConfig"
        )
        action = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
        return BuiltRequest(
            path=path_of(target.model, action), body=encode_body(body, request), adjustments=changes.listed()
        )

    def read(self, body: Any, target: Target) -> Answer | Failure:  # noqa: ARG002 -- every model answers alike
        """The answer in a decoded 2xx body, or why it is none. Never raises, whatever *body* is."""
        return read_answer(body)

    def stream(self, target: Target) -> GeminiStream:
        """A reader for one streamed answer of *target*."""
        return GeminiStream(target)


def path_of(model: str, action: str) -> str:
    """The path of an *action* of *model*, quoted so that no model's name leads to another path or query."""
    return f"/models/{quote(model.removeprefix('models/'), safe='', errors='replace')}:{action}"


def _tools(asked: Asked, target: Target, changes: Changes) -> dict[str, Any]:
    """``tools`` and ``toolConfig``."""
    tools = asked.take("tools")
    if not tools:
        return {}
    if target.info.tools is False or not target.quirks.tools:
        raise CannotExpress(f"{target.model} does not call tools")
    declared = [_declaration(tool, f"tools[{index}]", changes) for index, tool in enumerate(tools)]
    fields: dict[str, Any] = {"tools": [{"functionDeclarations": declared}]}
    choice = asked.take("tool_choice")
    if choice is not None:
        fields["toolConfig"] = {"functionCallingConfig": _calling(choice)}
    return fields


def _declaration(tool: Mapping[str, Any], place: str, changes: Changes) -> dict[str, Any]:
    function = tool["function"]
    sent: dict[str, Any] = {"name": function["name"]}
    if function.get("description"):
        sent["description"] = function["description"]
    if not takes_nothing(function.get("parameters")):
        sent["parametersJsonSchema"] = function["parameters"]
    if function.get("strict"):
        changes.dropped(f"{place}.function.strict", "Gemini has no strict tools")
    if tool.get("cache_control"):
        changes.dropped(f"{place}.cache_control", "Gemini caches by itself")
    return sent


def _calling(choice: Any) -> dict[str, Any]:
    named = chosen_tool(choice)
    if named is None:
        return {"mode": _MODES[choice]}
    return {"mode": "ANY", "allowedFunctionNames": [named]}


def _sampling(asked: Asked, target: Target, changes: Changes) -> dict[str, Any]:
    """The part of ``generationConfig`` that says how to write the answer."""
    settings = {
        "temperature": asked.number("temperature", target.quirks.temperature_max),
        "topP": asked.take("top_p"),
        "maxOutputTokens": _max_tokens(asked.take("max_tokens"), target, changes),
        "stopSequences": _stops(asked.take("stop"), changes),
        "seed": _seed(asked.take("seed"), changes),
        "presencePenalty": asked.take("presence_penalty"),
        "frequencyPenalty": asked.take("frequency_penalty"),
        "responseLogprobs": asked.take("logprobs"),
        "logprobs": asked.take("top_logprobs"),
    }
    if settings["responseLogprobs"] is None and settings["logprobs"] is not None:
        changes.dropped("top_logprobs", "it means nothing without logprobs")
        settings["logprobs"] = None
    return {name: value for name, value in settings.items() if value is not None}


def _max_tokens(given: int | None, target: Target, changes: Changes) -> int | None:
    longest = target.info.max_output_tokens
    if given is None or longest is None or given <= longest:
        return given
    changes.clamped("max_tokens", f"{given} to {longest}, the longest answer of {target.model}")
    return longest


def _stops(stop: Any, changes: Changes) -> list[str] | None:
    if stop is None:
        return None
    given = [stop] if isinstance(stop, str) else list(stop)
    if len(given) > _MOST_STOPS:
        changes.dropped("stop", f"all but the first {_MOST_STOPS}, which is all that Gemini takes")
    return given[:_MOST_STOPS]


def _seed(seed: int | None, changes: Changes) -> int | None:
    """The seed as one of 31 bits (Gemini's is an int32), the same for the same seed."""
    if seed is None or 0 <= seed <= _MOST_SEED:
        return seed
    changes.mapped("seed", f"{seed} to {seed & _MOST_SEED}, as Gemini's has 32 bits")
    return seed & _MOST_SEED


def _format(asked: Asked, target: Target, changes: Changes, *, has_tools: bool) -> dict[str, Any]:
    """The part of ``generationConfig`` that asks for JSON."""
    form = asked.take("response_format")
    if form is None or form["type"] == "text":
        return {}
    if has_tools and asked.refuses("tools+response_format"):
        raise CannotExpress(f"{target.model} does not take tools and a JSON response_format together")
    settings: dict[str, Any] = {"responseMimeType": "application/json"}
    if form["type"] == "json_schema":
        if target.info.json_schema is False or not target.quirks.json_schema:
            raise CannotExpress(f"{target.model} does not hold its answers to a JSON schema")
        settings["responseJsonSchema"] = form["json_schema"]["schema"]
        if form["json_schema"].get("description"):
            changes.dropped("response_format.json_schema.description", "Gemini's format has none")
    elif not target.quirks.json_object:
        raise CannotExpress(f"{target.model} has no JSON mode")
    return settings


def _thinking(asked: Asked, target: Target, changes: Changes) -> dict[str, Any]:
    """``thinkingConfig``: a level for Gemini 3 and later, a budget of tokens before."""
    effort = asked.take("reasoning_effort")
    if effort is None:
        return {}
    kind = target.info.thinking
    if kind not in ("level", "budget"):
        changes.dropped("reasoning_effort", f"it is not known how {target.model} is asked to think")
        return {}
    if kind == "budget":
        budget = _BUDGETS[asked.nearest("reasoning_effort", effort, tuple(_BUDGETS))]
        changes.mapped("reasoning_effort", f"{effort!r} to a thinking budget of {budget} tokens")
        return {"thinkingConfig": {"thinkingBudget": budget}}
    level = asked.nearest("reasoning_effort", _OTHER_LEVELS.get(effort, effort), _LEVELS)
    if level != effort:
        changes.mapped("reasoning_effort", f"{effort!r} to thinking level {level!r}")
    return {"thinkingConfig": {"thinkingLevel": level}}
