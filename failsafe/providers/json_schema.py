"""JSON schemas on their way to servers that take only a part of the language."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED = ("anyOf", "allOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_BARE_OBJECT = {"type", "properties", "additionalProperties"}
_MOST_NESTED = 100


def takes_nothing(schema: Mapping[str, Any] | None) -> bool:
    """Whether *schema* is that of a tool without parameters: absent, empty, or an object without properties."""
    if not schema:
        return True
    if schema.get("type", "object") != "object" or not set(schema) <= _BARE_OBJECT:
        return False
    return not schema.get("properties") and schema.get("additionalProperties") in (None, False)


def closed(schema: Mapping[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """
    Return a copy of *schema* whose every object says ``additionalProperties: false``, and where that was added.

    An object that says something else of its further properties keeps its words.

    Args:
        schema: A JSON schema; never changed.

    Returns:
        The copy, and the places that were closed (``properties.address``; ``the root``).
    """
    places: list[str] = []

    def close(node: dict[str, Any], place: str) -> dict[str, Any]:
        if _is_object(node) and "additionalProperties" not in node:
            places.append(place or "the root")
            node["additionalProperties"] = False
        return node

    return _rebuilt(schema, "", close, 0), tuple(places)


def keyword_outside(schema: Mapping[str, Any], refused: Collection[str]) -> str | None:
    """
    Say where *schema* uses what a server refuses, or return None.

    Refused are the keywords *refused*, objects open to further properties, and ``minItems`` above 1.

    Args:
        schema: A JSON schema.
        refused: The keywords that the server answers with an error.

    Returns:
        The first such place (``minimum at properties.age``), or None.
    """
    for node, place in _nodes(schema):
        for keyword in node:
            if keyword in refused or _too_much(keyword, node[keyword]):
                return f"{keyword} at {place or 'the root'}"
    return None


def _too_much(keyword: str, value: Any) -> bool:
    if keyword == "additionalProperties":
        return value is not False
    return keyword == "minItems" and value not in (0, 1)


def _is_object(node: Mapping[str, Any]) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list | tuple) and "object" in kind) or "properties" in node


def _rebuilt(
    node: Mapping[str, Any], place: str, change: Callable[[dict[str, Any], str], dict[str, Any]], depth: int
) -> dict[str, Any]:
    """A copy of *node* with every schema in it changed; what lies too deep stays as it is, for encoding to refuse."""
    copy = dict(node)
    if depth > _MOST_NESTED:
        return copy
    for keyword, value in node.items():
        copy[keyword] = _rebuilt_keyword(keyword, value, f"{place}.{keyword}" if place else keyword, change, depth + 1)
    return change(copy, place)


def _rebuilt_keyword(
    keyword: str, value: Any, place: str, change: Callable[[dict[str, Any], str], dict[str, Any]], depth: int
) -> Any:
    if keyword in _BY_NAME and isinstance(value, Mapping):
        return {
            name: _rebuilt(item, f"{place}.{name}", change, depth) if isinstance(item, Mapping) else item
            for name, item in value.items()
        }
    if keyword in _LISTED and isinstance(value, list | tuple):
        return [
            _rebuilt(item, f"{place}[{index}]", change, depth) if isinstance(item, Mapping) else item
            for index, item in enumerate(value)
        ]
    if keyword in _SINGLE and isinstance(value, Mapping):
        return _rebuilt(value, place, change, depth)
    return value


def _nodes(schema: Mapping[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every schema inside *schema*, itself included, with its place; an outer one before those inside it."""
    found: list[tuple[dict[str, Any], str]] = []

    def note(node: dict[str, Any], place: str) -> dict[str, Any]:
        found.append((node, place))
        return node

    _rebuilt(schema, "", note, 0)
    return found[::-1]
