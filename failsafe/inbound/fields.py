"""What the formats share: fields of a client's body, refused in the client's own terms, and parts of an answer."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from failsafe.encoding import refuse
from failsafe.errors import InvalidRequest
from failsafe.inbound.wire import to_json
from failsafe.parameters import check_extra

MOST_STOPS = 4
"""How many texts that end an answer are passed on to every provider."""

_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_NO_FIELDS: Mapping[str, Any] = {}


def object_of(value: Any, place: str) -> Mapping[str, Any]:
    """*value* if it is an object, an empty one for None; else refuse it."""
    if value is None:
        return _NO_FIELDS
    if not isinstance(value, Mapping):
        refuse(place, value, "an object is needed")
    return value


def list_of(value: Any, place: str) -> Sequence[Any]:
    """*value* if it is a list, an empty one for None; else refuse it."""
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        refuse(place, value, "a list is needed")
    return value


def text_in(holder: Mapping[str, Any], name: str, place: str) -> str:
    """The text *name* of *holder*, which stands at *place*; refused without one, or if it is empty."""
    value = holder.get(name)
    if not isinstance(value, str) or not value:
        refuse(f"{place}.{name}" if place else name, value, "a text that is not empty is needed")
    return value


def flag(value: Any, place: str) -> bool:
    """*value* if it is true or false, False for None; else refuse it."""
    if value is None:
        return False
    if not isinstance(value, bool):
        refuse(place, value, "true or false is needed")
    return value


def number(value: Any, place: str, most: float) -> float:
    """*value* if it is a number from 0 to *most*; else refuse it."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        refuse(place, value, f"a number from 0 to {most:g} is needed")
    return value


def whole(value: Any, place: str, least: int) -> int:
    """*value* if it is a whole number of at least *least* that fits into 31 bits; else refuse it."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        refuse(place, value, f"a whole number of at least {least} is needed")
    return value


def texts(value: Any, place: str) -> list[str]:
    """*value* if it is a list of texts none of which is empty; else refuse it."""
    found = list_of(value, place)
    for index, each in enumerate(found):
        if not isinstance(each, str) or not each:
            refuse(f"{place}[{index}]", each, "a text that is not empty is needed")
    return list(found)


def tool_name(holder: Mapping[str, Any], place: str, seen: Collection[str]) -> str:
    """The name of the tool that *holder* defines, if every provider takes it and none *seen* has it; else refuse it."""
    name = holder.get("name")
    if not isinstance(name, str) or not _TOOL_NAME.fullmatch(name):
        refuse(f"{place}.name", name, "1 to 64 of A-Z a-z 0-9 _ - are needed")
    if name in seen:
        refuse(f"{place}.name", name, "another tool has this name already")
    return name


def function_tool(
    name: str, described: Mapping[str, Any], schema: Mapping[str, Any] | None, place: str
) -> dict[str, Any]:
    """A tool in OpenAI's form; *described* may hold its description."""
    function: dict[str, Any] = {"name": name}
    description = described.get("description")
    if description is not None and not isinstance(description, str):
        refuse(f"{place}.description", description, "a text is needed")
    if description:
        function["description"] = description
    if schema:
        function["parameters"] = schema
    return {"type": "function", "function": function}


def schema_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    The ``response_format`` that holds an answer to *schema*, in OpenAI's form.

    It is strict where OpenAI takes *schema* as strict: every object closed, and every property required.
    """
    form: dict[str, Any] = {"name": "answer", "schema": schema}
    if _is_strict(schema):
        form["strict"] = True
    return {"type": "json_schema", "json_schema": form}


def _is_strict(node: Any) -> bool:
    if isinstance(node, Mapping):
        properties = node.get("properties")
        if isinstance(properties, Mapping) or node.get("type") == "object":
            required = node.get("required")
            wanted = set(properties) if isinstance(properties, Mapping) else set()
            if node.get("additionalProperties") is not False:
                return False
            if not wanted <= {*(required if isinstance(required, list | tuple) else ())}:
                return False
        return all(map(_is_strict, node.values()))
    return all(map(_is_strict, node)) if isinstance(node, list | tuple) else True


def own_fields(fields: Mapping[str, Any], known: Collection[str], vendor: str) -> dict[str, Any]:
    """
    Those of *fields* that are not *known* and have a value: what only *vendor* understands.

    Raises:
        InvalidRequest: One of them would be another vendor's field.
    """
    own = {name: value for name, value in fields.items() if name not in known and value is not None}
    for name, value in own.items():
        if not _is_free({name: value}):
            refuse(name, value, f"{vendor} has no such field")
    return own


def _is_free(extra: Mapping[str, Any]) -> bool:
    try:
        check_extra(extra)
    except InvalidRequest:
        return False
    return True


def content_of(parts: Sequence[Mapping[str, Any]]) -> str | list[Mapping[str, Any]]:
    """*parts* as the content of a message: a text where that says all."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"}:
        return str(parts[0]["text"])
    return list(parts)


def json_text(value: Any) -> str:
    """*value* as JSON text; refused where it is nested so deeply that it was decoded, and cannot be encoded."""
    try:
        return to_json(value).decode()
    except RecursionError:
        pass
    raise InvalidRequest("the arguments of a tool call are nested too deeply; nothing was sent")


def made_up(prefix: str) -> str:
    """An id that no other answer has."""
    return prefix + os.urandom(12).hex()


def arguments_object(arguments: str) -> Any:
    """
    The object that the JSON text *arguments* of a tool call is.

    Models do write broken JSON; a format whose clients are given objects gives them ``{"INVALID_JSON": text}``, as
    Anthropic's guide to fine-grained tool streaming has it: no tool takes that for a call without arguments.
    """
    try:
        value = msgspec.json.decode(arguments or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": arguments}


def joined(pieces: Iterable[bytes]) -> bytes:
    """*pieces* in a row."""
    return b"".join(pieces)
