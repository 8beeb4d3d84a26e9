"""Checks of settings whose errors name the key, the value and the allowed range."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NoReturn

from failsafe.errors import ConfigError


def refuse(key: str, value: object, allowed: str) -> NoReturn:
    """Raise the :class:`ConfigError` that says which setting has which bad value, and what is allowed."""
    raise ConfigError(f"{key} = {value!r}: {allowed}")


def number(
    key: str,
    value: object,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    above: float | None = None,
) -> float:
    """Return *value* as a float, or refuse it outside ``least <= value <= most`` (or ``above < value``)."""
    if above is not None:
        allowed = f"a number above {above:g}" + (f" and at most {most:g}" if most < math.inf else "") + " is needed"
    elif most < math.inf:
        allowed = f"a number from {least:g} to {most:g} is needed"
    else:
        allowed = f"a number of at least {least:g} is needed" if least > -math.inf else "a finite number is needed"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        refuse(key, value, allowed)
    if not least <= value <= most or (above is not None and value <= above):
        refuse(key, value, allowed)
    return float(value)


def whole(key: str, value: object, *, least: int = 0, most: int = 2**31) -> int:
    """Return *value* as an int from *least* to *most*, or refuse it."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        refuse(key, value, f"a whole number from {least} to {most} is needed")
    return value


def flag(key: str, value: object) -> bool:
    """Return *value* if it is True or False, or refuse it."""
    if not isinstance(value, bool):
        refuse(key, value, "true or false is needed")
    return value


def text(key: str, value: object, *, empty: bool = False) -> str:
    """Return *value* if it is a printable text (not empty unless *empty*), or refuse it."""
    if not isinstance(value, str) or not (value or empty):
        refuse(key, value, "a text is needed")
    if not value.isprintable():
        refuse(key, value, "a text without control characters is needed")
    return value


def one_of(key: str, value: Any, allowed: Iterable[str]) -> str:
    """Return *value* if it is one of *allowed*, or refuse it."""
    names = list(allowed)
    if value not in names:
        refuse(key, value, f"one of {', '.join(names)} is needed")
    return str(value)
