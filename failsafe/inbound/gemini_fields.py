"""
What is Google's own in the form of a request: names of fields, and the language of schemas.

Source: googleapis/python-genai ``google/genai/types.py`` (``Schema``): a part of OpenAPI 3.0, with types in capitals
and ``nullable``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SEPARATOR = re.compile(r"(?<=[a-z0-9])_([a-z])")
_BY_NAME = frozenset({"properties", "$defs"})
_LISTED = frozenset({"anyOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties"})
_COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
_RENAMED = {"defs": "$defs", "ref": "$ref"}
_ONLY_GOOGLE = frozenset({"propertyOrdering", "nullable", "example"})
_MOST_NESTED = 100  # deeper ones are refused when the request is checked


def camel(fields: Mapping[str, Any]) -> dict[str, Any]:
    """*fields* under the names of the reference; Google's servers take ``snake_case`` as well."""
    return {_SEPARATOR.sub(lambda found: found[1].upper(), name): value for name, value in fields.items()}


def json_schema(schema: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """*schema* as a JSON schema that means the same; *schema* stays as it is."""
    if depth > _MOST_NESTED:
        return dict(schema)
    given = camel(schema)
    made = {
        _RENAMED.get(keyword, keyword): _keyword(_RENAMED.get(keyword, keyword), value, depth + 1)
        for keyword, value in given.items()
        if value is not None and keyword not in _ONLY_GOOGLE
    }
    if made.get("type") == "type_unspecified":
        del made["type"]
    if made.get("format") == "enum":
        del made["format"]
    return _nullable(made) if given.get("nullable") else made


def _keyword(keyword: str, value: Any, depth: int) -> Any:
    if keyword == "type" and isinstance(value, str):
        return value.lower()
    if keyword == "$ref" and isinstance(value, str):
        return value.replace("#/defs/", "#/$defs/")
    if keyword in _COUNTS and isinstance(value, str) and value.isdecimal():
        return int(value)  # JSON of protocol buffers writes 64-bit numbers as texts
    if keyword in _BY_NAME and isinstance(value, Mapping):
        return {name: _schema(each, depth) for name, each in value.items()}
    if keyword in _LISTED and isinstance(value, list | tuple):
        return [_schema(each, depth) for each in value]
    return _schema(value, depth) if keyword in _SINGLE else value


def _schema(value: Any, depth: int) -> Any:
    return json_schema(value, depth) if isinstance(value, Mapping) else value


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    if "type" in schema:
        schema["type"] = [schema["type"], "null"]
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if "anyOf" in schema:
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    return schema
