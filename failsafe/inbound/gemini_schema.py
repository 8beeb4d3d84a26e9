"""
Google's dialect of schemas as JSON schema.

Source: googleapis/python-genai ``google/genai/types.py`` (``Schema``): a part of OpenAPI 3.0, with types in capitals
and ``nullable``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from failsafe.inbound.fields import camel

_BY_NAME = frozenset({"properties", "$defs"})
_LISTED = frozenset({"anyOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties"})
_RENAMED = {"defs": "$defs", "ref": "$ref"}
_ONLY_GOOGLE = frozenset({"propertyOrdering", "nullable", "example"})
_MOST_NESTED = 100
