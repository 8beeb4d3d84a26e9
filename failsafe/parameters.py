"""
The known parameters of a chat call: type and range of each, checked before anything is sent.

Ranges are those of OpenAI's reference (openai/openai-openapi, ``CreateChatCompletionRequest``);
a target with a narrower one gets the value clamped by its dialect.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from failsafe.checks import close_names
from failsafe.encoding import check_fits, refuse, shown
from failsafe.errors import InvalidRequest

REASONING_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""The words of ``reasoning_effort``, from least to most."""

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NAME_RULE = "1 to 64 of A-Z a-z 0-9 _ - are needed"

Check = Callable[[str, Any], None]


def _number(least: float, most: float) -> Check:
    def check(name: str, value: Any) -> None:
        # The comparison is written so that NaN fails it.
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            refuse(name, value, f"a number from {least:g} to {most:g} is needed")

    return check


def _whole(least: int, most: int) -> Check:
    def check(name: str, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            refuse(name, value, f"a whole number from {least} to {most} is needed")

    return check


def _flag(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        refuse(name, value, "True or False is needed")


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        refuse(name, value, "a text that is not empty is needed")
    check_fits(value, name)  # here, since a dialect that drops it never encodes it


def _reasoning_effort(name: str, value: Any) -> None:
    if not isinstance(value, str) or value not in REASONING_EFFORTS:
        refuse(name, value, f"one of {', '.join(REASONING_EFFORTS)} is needed")


def _stop(name: str, value: Any) -> None:
    if isinstance(value, str):
        _text(name, value)
        return
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= 4:
        refuse(name, value, "a text, or a list of 1 to 4 texts, is needed")
    for index, item in enumerate(value):
        _text(f"{name}[{index}]", item)


def _metadata(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        refuse(name, value, "a mapping of texts to texts is needed")
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            refuse(f"{name}[{shown(key)}]", item, "texts to texts are needed")
    check_fits(value, name)


def _logit_bias(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        refuse(name, value, "a mapping of token ids to numbers is needed")
    in_range = _number(-100, 100)
    for key, bias in value.items():
        in_range(f"{name}[{shown(key)}]", bias)
    check_fits(value, name)


def _tools(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not value:
        refuse(name, value, "a list of at least one tool is needed; leave tools out if there is none")
    seen: dict[str, int] = {}
    for index, tool in enumerate(value):
        tool_name = _tool(f"{name}[{index}]", tool)
        if tool_name in seen:
            refuse(f"{name}[{index}].function.name", tool_name, f"tools[{seen[tool_name]}] has this name already")
        seen[tool_name] = index
    check_fits(value, name)


def _tool(place: str, tool: Any) -> str:
    """Check one tool and return its name."""
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        refuse(place, tool, '{"type": "function", "function": {...}} is needed')
    function = tool.get("function")
    if not isinstance(function, Mapping):
        refuse(f"{place}.function", function, '{"name": ..., "description": ..., "parameters": ...} is needed')
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        refuse(f"{place}.function.name", name, _NAME_RULE)
    for key, kind, what in (("description", str, "a text"), ("parameters", Mapping, "a JSON schema as a mapping")):
        if function.get(key) is not None and not isinstance(function[key], kind):
            refuse(f"{place}.function.{key}", function[key], f"{what} is needed")
    return name


def _tool_choice(name: str, value: Any) -> None:
    if isinstance(value, str):
        if value not in {"auto", "none", "required"}:
            refuse(name, value, "auto, none, required, or an object that names a tool, is needed")
        return
    function = value.get("function") if isinstance(value, Mapping) and value.get("type") == "function" else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        refuse(name, value, 'auto, none, required or {"type": "function", "function": {"name": ...}} is needed')
    check_fits(value, name)


def _response_format(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        refuse(name, value, 'a mapping such as {"type": "json_object"} is needed')
    kind = value.get("type")
    if kind not in ("text", "json_object", "json_schema"):
        refuse(f"{name}.type", kind, "text, json_object or json_schema is needed")
    if kind == "json_schema":
        _json_schema(f"{name}.json_schema", value.get("json_schema"))
    check_fits(value, name)


def _json_schema(place: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        refuse(place, value, '{"name": ..., "schema": {...}} is needed')
    name = value.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        refuse(f"{place}.name", name, _NAME_RULE)
    if not isinstance(value.get("schema"), Mapping):
        refuse(f"{place}.schema", value.get("schema"), "a JSON schema as a mapping is needed")


CHECKS: Mapping[str, Check] = {
    "temperature": _number(0, 2),
    "max_tokens": _whole(1, 2**31 - 1),
    "top_p": _number(0, 1),
    "stop": _stop,
    "seed": _whole(-(2**63), 2**63 - 1),
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
    "tools": _tools,
    "tool_choice": _tool_choice,
    "parallel_tool_calls": _flag,
    "response_format": _response_format,
    "reasoning_effort": _reasoning_effort,
    "logit_bias": _logit_bias,
    "logprobs": _flag,
    "top_logprobs": _whole(0, 20),
    "user": _text,
    "metadata": _metadata,
}
"""Every known parameter and its check, which raises :class:`failsafe.InvalidRequest`."""

_OTHER_NAMES = {
    "max_completion_tokens": "max_tokens",
    "max_output_tokens": "max_tokens",
    "maxOutputTokens": "max_tokens",
    "stop_sequences": "stop",
    "random_seed": "seed",
    "functions": "tools",
    "function_call": "tool_choice",
}
_NOT_EXTRA = {
    "model": "give model= to the call",
    "messages": "give the messages to the call",
    "stream": "failsafe decides how an answer travels",
    "stream_options": "failsafe decides how an answer travels",
    "n": "failsafe returns one answer a call; call again for another",
}


def check_parameters(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Return *parameters* without those that are None, each checked.

    Raises:
        InvalidRequest: A parameter is unknown, of a wrong type or out of its range, or makes no
            sense without another one.
    """
    for name, value in parameters.items():
        check = CHECKS.get(name)
        if check is None:
            _unknown(name)
        if value is not None:
            check(name, value)
    if None in parameters.values():
        parameters = {name: value for name, value in parameters.items() if value is not None}
    if not _DEPENDENT.isdisjoint(parameters):
        _check_together(parameters)
    return parameters


_DEPENDENT = frozenset({"tool_choice", "parallel_tool_calls", "top_logprobs"})


def _unknown(name: str) -> NoReturn:
    close = _OTHER_NAMES.get(name) or next(iter(close_names(name, CHECKS)), None)
    meant = f"did you mean {close}=? " if close else ""
    raise InvalidRequest(
        f"unknown parameter {shown(name)}: {meant}"
        f"A field of one provider's own goes into extra={{{shown(name)}: ...}}; nothing was sent"
    )


def _check_together(parameters: Mapping[str, Any]) -> None:
    """What OpenAI refuses because another parameter is missing."""
    for name in ("tool_choice", "parallel_tool_calls"):
        if name in parameters and "tools" not in parameters:
            refuse(name, parameters[name], "this needs tools=; leave it out, or give the tools")
    if "top_logprobs" in parameters and parameters.get("logprobs") is not True:
        refuse("top_logprobs", parameters["top_logprobs"], "this needs logprobs=True")
    choice = parameters.get("tool_choice")
    if isinstance(choice, Mapping):
        names = [tool["function"]["name"] for tool in parameters["tools"]]
        if choice["function"]["name"] not in names:
            known = ", ".join(names)[:200]
            refuse("tool_choice.function.name", choice["function"]["name"], f"one of the tools is needed: {known}")


_OWN_NAMES = {"anthropic": frozenset({"stop_sequences"})}
"""What a client who speaks a dialect may give in its own name: it takes more there than the parameter does."""


def check_extra(extra: Mapping[str, Any], dialect: str = "") -> None:
    """
    Refuse what ``extra``, which is for targets of *dialect* alone or for all (""), must not hold.

    Raises:
        InvalidRequest: It is no mapping, shadows something that failsafe sends itself, or holds
            what JSON cannot say.
    """
    if not isinstance(extra, Mapping):
        refuse("extra", extra, "a mapping of field names to values is needed")
    for name in extra:
        if not isinstance(name, str) or not name:
            refuse("a key of extra", name, "the name of a field is needed")
        if name in _NOT_EXTRA:
            refuse(f"extra[{shown(name)}]", extra[name], f"this field is not free: {_NOT_EXTRA[name]}")
        if name in CHECKS or (name in _OTHER_NAMES and name not in _OWN_NAMES.get(dialect, ())):
            refuse(f"extra[{shown(name)}]", extra[name], f"use the parameter {_OTHER_NAMES.get(name, name)}= instead")
    check_fits(extra, "extra")
