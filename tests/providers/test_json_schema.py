"""Closing JSON schemas, and finding in them what a server refuses."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from failsafe.providers.json_schema import closed, keyword_outside, takes_nothing

NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "home": {"$ref": "#/$defs/address"},
        "pets": {"type": "array", "items": {"anyOf": [{"type": "null"}, {"properties": {"name": {"maxLength": 3}}}]}},
    },
    "$defs": {"address": {"type": ["object", "null"], "properties": {}}},
    "enum": [{"type": "object"}],
}


def test_every_object_is_closed_on_a_copy_and_named() -> None:
    before = copy.deepcopy(NESTED)
    copied, places = closed(NESTED)
    assert before == NESTED
    assert set(places) == {"the root", "properties.pets.items.anyOf[1]", "$defs.address"}
    assert copied["additionalProperties"] is False
    assert copied["$defs"]["address"]["additionalProperties"] is False
    assert copied["properties"]["pets"]["items"]["anyOf"][1]["additionalProperties"] is False
    assert "additionalProperties" not in copied["properties"]["type"]
    assert copied["enum"] == [{"type": "object"}]


def test_a_closed_schema_stays_as_it_is() -> None:
    once, _ = closed(NESTED)
    assert closed(once) == (once, ())


def test_an_object_open_on_purpose_keeps_its_words() -> None:
    schema = {"type": "object", "additionalProperties": {"type": "object"}}
    assert closed(schema)[0]["additionalProperties"] == {"type": "object", "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        (NESTED, "maxLength at properties.pets.items.anyOf[1].properties.name"),
        ({"type": "array", "minItems": 2}, "minItems at the root"),
        ({"type": "array", "minItems": 1}, None),
        ({"additionalProperties": {}}, "additionalProperties at the root"),
        ({"properties": {"maxLength": {"type": "string"}}}, None),
    ],
)
def test_what_a_server_refuses_is_found_with_its_place(schema: dict[str, Any], found: str | None) -> None:
    assert keyword_outside(schema, {"maxLength"}) == found


@pytest.mark.parametrize(
    ("schema", "empty"),
    [
        (None, True),
        ({}, True),
        ({"type": "object"}, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({"type": "object", "additionalProperties": True}, False),
        ({"type": "object", "properties": {"a": {}}}, False),
        ({"type": "object", "$ref": "#/x"}, False),
        ({"type": "string"}, False),
    ],
)
def test_a_tool_without_parameters_is_known_by_its_schema(schema: Any, empty: bool) -> None:
    assert takes_nothing(schema) is empty


def test_a_schema_nested_without_end_is_left_for_encoding_to_refuse() -> None:
    endless: dict[str, Any] = {"type": "object"}
    endless["properties"] = {"again": endless}
    assert closed(endless)[0]["additionalProperties"] is False
    assert keyword_outside(endless, {"minimum"}) is None
