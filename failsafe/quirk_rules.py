"""The rules of :class:`failsafe.catalog.Quirks`, where a user writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from failsafe import checks
from failsafe.catalog import Quirks
from failsafe.errors import ConfigError

RESERVED_FIELDS = frozenset({"model", "messages", "contents", "stream", "input"})
"""Fields of a request's body that failsafe writes itself."""


def checked(key: str, value: object, preset: Quirks) -> Quirks:
    """
    Return *value* as quirks: a table changes single ones of the *preset*'s, and None takes them as they are.

    Raises:
        ConfigError: A quirk is unknown or wrong.
    """
    if value is None:
        return preset
    if isinstance(value, Quirks):
        value = msgspec.structs.asdict(value)
    if not isinstance(value, Mapping):
        checks.refuse(key, value, "a table of quirks is needed")
    known = Quirks.__struct_fields__
    for name in value:
        if name not in known:
            checks.refuse(key, name, f"one of {', '.join(known)} is needed{checks.suggestion(str(name), known)}")
    try:
        quirks = msgspec.convert({**msgspec.structs.asdict(preset), **value}, Quirks)
    except msgspec.ValidationError as error:
        problem = str(error)
    else:
        _check(f"{key}.", quirks)
        return quirks
    raise ConfigError(f"{key}: {problem}")


def _check(prefix: str, quirks: Quirks) -> None:
    """What their types do not say."""
    for name in ("max_tokens_field", "seed_field", "dimensions_field"):
        field = checks.text(f"{prefix}{name}", getattr(quirks, name))
        if field in RESERVED_FIELDS:
            checks.refuse(f"{prefix}{name}", field, "a field that failsafe does not write itself is needed")
    checks.text(f"{prefix}tool_choice_required", quirks.tool_choice_required)
    checks.number(f"{prefix}temperature_max", quirks.temperature_max, above=0)
    checks.whole(f"{prefix}stop_max", quirks.stop_max, most=1000)
    for kind in quirks.images:
        checks.one_of(f"{prefix}images", kind, ("url", "data"))
    if quirks.tool_call_id is not None:
        _check_pattern(f"{prefix}tool_call_id", quirks.tool_call_id)


def _check_pattern(key: str, pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        problem = error.msg
    except (RecursionError, OverflowError):
        problem = "it is too large"
    else:
        return
    checks.refuse(key, pattern, f"a regular expression is needed ({problem})")
