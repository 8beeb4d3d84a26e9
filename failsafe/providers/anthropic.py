"""
Anthropic's Messages API: ``POST /v1/messages``.

Sources: anthropics/anthropic-sdk-python ``types/message_create_params.py``; platform.claude.com
"Messages", "Structured outputs", "Extended thinking". Every mapping is stated in
``docs/dialects-native.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from failsafe.models import Answer, ChatRequest, Failure
from failsafe.providers.anthropic_answer import read_answer
from failsafe.providers.anthropic_history import History
from failsafe.providers.anthropic_stream import AnthropicStream
from failsafe.providers.anthropic_thinking import length_and_thinking
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.providers.common import Changes, encode_body, extra_of
from failsafe.providers.json_schema import closed, keyword_outside
from failsafe.providers.native import Asked, chosen_tool, with_extra

_PATH = "/v1/messages"
_NAMES = {
    "stop_sequences": "stop",
    "thinking": "reasoning_effort",
    "budget_tokens": "reasoning_effort",
    "effort": "reasoning_effort",
    "format": "response_format",
    "user_id": "user",
}
_CHOICES = {"auto": "auto", "none": "none", "required": "any"}
# platform.claude.com "Structured outputs", JSON Schema limitations: answered with 400.
_REFUSED_KEYWORDS = frozenset({
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
    "minLength", "maxLength", "maxItems", "uniqueItems",
})  # fmt: skip
_LEAST_TOP_P_WITH_THINKING = 0.95


class AnthropicDialect:
    """The :class:`failsafe.providers.base.Dialect` of Anthropic's Messages API. Stateless and thread-safe."""

    name = "anthropic"

    def build(self, request: ChatRequest, target: Target) -> BuiltRequest:
        """
        The request as ``POST /v1/messages``; *request* is never changed.

        Args:
            request: A request that ``failsafe.request`` checked.
            target: Whom it goes to.

        Raises:
            CannotExpress: Anthropic, or this model, cannot be asked this without changing its meaning.
            InvalidRequest: No target could take it.
        """
        changes = Changes()
        asked = Asked(request, target, changes, _NAMES)
        history = History(request.messages, target, changes)
        body: dict[str, Any] = {"model": target.model, "messages": history.turns}
        if request.stream:
            body["stream"] = True
        if history.system:
            body["system"] = history.system
        body |= _tools(asked, history, target, changes)
        body |= _thinking(asked, history, body, target, changes)
        _add_format(body, asked, target, changes)
        body |= _sampling(asked, target, changes, thinks="thinking" in body and body["thinking"]["type"] != "disabled")
        _check_prefill(asked, history, body, target)
        _add_rest(body, asked, changes)
        asked.drop_rest("Anthropic has no equivalent")
        body = with_extra(body, extra_of(request, self.name, changes), target, asked, changes, settings="output_config")
        return BuiltRequest(path=_PATH, body=encode_body(body, request), adjustments=changes.listed())

    def read(self, body: Any, target: Target) -> Answer | Failure:  # noqa: ARG002 -- every model answers alike
        """The answer in a decoded 2xx body, or why it is none. Never raises, whatever *body* is."""
        return read_answer(body)

    def stream(self, target: Target) -> AnthropicStream:
        """A reader for one streamed answer of *target*."""
        return AnthropicStream(target)


def _thinking(
    asked: Asked, history: History, body: Mapping[str, Any], target: Target, changes: Changes
) -> dict[str, Any]:
    """``max_tokens``, ``thinking`` and the effort."""
    forced = body.get("tool_choice", {}).get("type") in ("any", "tool")
    effort, length = asked.take("reasoning_effort"), asked.needed("max_tokens")
    return length_and_thinking(effort, length, history, asked, target, changes, forced=forced)


def _tools(asked: Asked, history: History, target: Target, changes: Changes) -> dict[str, Any]:
    """``tools`` and ``tool_choice``."""
    tools = asked.take("tools")
    if not tools:
        if history.calls_tools:
            raise CannotExpress("the history calls tools, and Anthropic needs their definitions; give tools= again")
        return {}
    if target.info.tools is False or not target.quirks.tools:
        raise CannotExpress(f"{target.model} does not call tools")
    fields: dict[str, Any] = {"tools": [_tool(tool, f"tools[{index}]", changes) for index, tool in enumerate(tools)]}
    choice = _tool_choice(asked.take("tool_choice"), asked.take("parallel_tool_calls"))
    return fields | ({"tool_choice": choice} if choice else {})


def _tool(tool: Mapping[str, Any], place: str, changes: Changes) -> dict[str, Any]:
    function = tool["function"]
    schema = _object_schema(function.get("parameters"), place, changes)
    sent: dict[str, Any] = {"name": function["name"], "input_schema": schema}
    if function.get("description"):
        sent["description"] = function["description"]
    if function.get("strict"):
        sent |= _strict(schema, place, changes)
    if tool.get("cache_control"):
        sent["cache_control"] = tool["cache_control"]
    return sent


def _object_schema(schema: Mapping[str, Any] | None, place: str, changes: Changes) -> Mapping[str, Any]:
    """The schema of a tool's input, which Anthropic wants to be called an object."""
    if not schema:
        return {"type": "object", "properties": {}}
    if "type" in schema:
        return schema
    changes.rewritten(f"{place}.function.parameters", "type: object added")
    return {"type": "object", **schema}


def _strict(schema: Mapping[str, Any], place: str, changes: Changes) -> dict[str, Any]:
    """What a strict tool needs: every object closed; a schema Anthropic cannot hold a model to is not strict."""
    shut = _closed(schema, f"{place}.function.parameters", changes)
    outside = keyword_outside(shut, _REFUSED_KEYWORDS)
    if outside is None:
        return {"input_schema": shut, "strict": True}
    changes.dropped(f"{place}.function.strict", f"Anthropic's strict tools do not take {outside}")
    return {}


def _closed(schema: Mapping[str, Any], place: str, changes: Changes) -> dict[str, Any]:
    shut, places = closed(schema)
    if places:
        changes.rewritten(place, f"additionalProperties: false added at {', '.join(places)}"[:300])
    return shut


def _tool_choice(choice: Any, parallel: bool | None) -> dict[str, Any] | None:
    named = chosen_tool(choice)
    if named is not None:
        sent: dict[str, Any] = {"type": "tool", "name": named}
    elif choice is not None:
        sent = {"type": _CHOICES[choice]}
    elif parallel is False:
        sent = {"type": "auto"}
    else:
        return None
    if parallel is False and sent["type"] != "none":
        sent["disable_parallel_tool_use"] = True
    return sent


def _add_format(body: dict[str, Any], asked: Asked, target: Target, changes: Changes) -> None:
    """Add ``output_config.format``."""
    form = asked.take("response_format")
    if form is None or form["type"] == "text":
        return
    if form["type"] == "json_object":
        raise CannotExpress("Anthropic has no JSON mode without a schema; give response_format a json_schema")
    if target.info.json_schema is False or not target.quirks.json_schema:
        raise CannotExpress(f"{target.model} does not hold its answers to a JSON schema")
    wanted = form["json_schema"]
    if wanted.get("description"):
        changes.dropped("response_format.json_schema.description", "Anthropic's format has none")
    place = "response_format.json_schema.schema"
    outside = keyword_outside(closed(wanted["schema"])[0], _REFUSED_KEYWORDS)
    if outside is not None:
        raise CannotExpress(f"{place}: Anthropic does not hold answers to {outside}")
    schema = _closed(wanted["schema"], place, changes)
    body["output_config"] = {**body.get("output_config", {}), "format": {"type": "json_schema", "schema": schema}}


def _sampling(asked: Asked, target: Target, changes: Changes, *, thinks: bool) -> dict[str, Any]:
    """``temperature`` and ``top_p``, as far as this model takes them, and takes them together."""
    temperature = asked.number("temperature", min(1.0, target.quirks.temperature_max))
    top_p = asked.take("top_p")
    if thinks and temperature not in (None, 1):
        changes.dropped("temperature", "it does not go with thinking")
        temperature = None
    if thinks and top_p is not None and top_p < _LEAST_TOP_P_WITH_THINKING:
        changes.dropped("top_p", f"below {_LEAST_TOP_P_WITH_THINKING} it does not go with thinking")
        top_p = None
    if temperature is not None and top_p is not None and asked.refuses("temperature+top_p"):
        changes.dropped("top_p", f"{target.model} does not take it together with temperature")
        top_p = None
    fields = {"temperature": temperature, "top_p": top_p}
    return {name: value for name, value in fields.items() if value is not None}


def _check_prefill(asked: Asked, history: History, body: Mapping[str, Any], target: Target) -> None:
    """Refuse, or tidy, a conversation whose last turn is the assistant's."""
    if not history.ends_with_assistant:
        return
    if asked.refuses("prefill"):
        raise CannotExpress(f"{target.model} does not go on with an answer begun for it: the last message is one")
    if "format" in body.get("output_config", {}):
        raise CannotExpress("Anthropic does not hold an answer begun for the model to a JSON schema")
    history.trim_end()


def _add_rest(body: dict[str, Any], asked: Asked, changes: Changes) -> None:
    stops = _stops(asked.take("stop"), changes)
    if stops:
        body["stop_sequences"] = stops
    user = asked.take("user")
    if user:
        body["metadata"] = {"user_id": user}


def _stops(stop: str | Sequence[str] | None, changes: Changes) -> list[str]:
    given = [stop] if isinstance(stop, str) else list(stop or ())
    kept = [text for text in given if text.strip()]
    if len(kept) != len(given):
        changes.dropped("stop", "texts of white space only, which Anthropic refuses")
    return kept
