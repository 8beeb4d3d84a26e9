"""The rules of :class:`failsafe.pricing.Price`, where a user writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from failsafe import checks
from failsafe.errors import ConfigError
from failsafe.pricing import LargePrompt, PeakHours, Price, Prices

_FORM = "a table { input = 2.0, output = 8.0 } in USD per million tokens"


def checked(key: str, value: object) -> dict[str, Prices]:
    """
    Return *value* as prices: a table from each model to one price or a list of them.

    Raises:
        ConfigError: A price is wrong. The message begins with *key* and the model.
    """
    if not isinstance(value, Mapping):
        checks.refuse(key, value, "a table from each model to its price is needed")
    return {checks.text(f"a name in {key}", name): _entries(f"{key}.{name}", each) for name, each in value.items()}


def _entries(key: str, value: object) -> Prices:
    if not isinstance(value, list | tuple):
        return (_price(key, value),)
    if not value:
        checks.refuse(key, value, f"at least one price is needed, {_FORM}")
    return tuple(_price(f"{key}[{place}]", each) for place, each in enumerate(value))


def _price(key: str, value: object) -> Price:
    if isinstance(value, Price):
        return value  # checked where it was made
    _check_names(key, value, Price)
    table: Mapping[str, Any] = value  # type: ignore[assignment]  # as _check_names says
    for name, kind in (("large_prompt", LargePrompt), ("peak", PeakHours)):
        if table.get(name) is not None and not isinstance(table[name], kind):
            _check_names(f"{key}.{name}", table[name], kind)
    try:
        return msgspec.convert(dict(table), Price)
    except (msgspec.ValidationError, ConfigError) as error:
        problem = str(error)
    raise ConfigError(f"{key}: {problem}; {_FORM} is needed")


def _check_names(key: str, value: object, kind: type[msgspec.Struct]) -> None:
    """Refuse anything but a table with the fields of *kind*."""
    known = kind.__struct_fields__
    if not isinstance(value, Mapping):
        checks.refuse(key, value, f"{_FORM} is needed" if kind is Price else f"a table of {', '.join(known)} is needed")
    for name in value:
        if name not in known:
            checks.refuse(key, name, f"one of {', '.join(known)} is needed{checks.suggestion(str(name), known)}")
