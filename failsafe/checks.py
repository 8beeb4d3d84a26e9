"""Checks of settings whose errors name the key, the value and the allowed range."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from failsafe.errors import ConfigError


class _Hidden:
    """Stands for a value that an error must not repeat."""

    def __repr__(self) -> str:
        return "(not shown)"


HIDDEN = _Hidden()
"""Give this to :func:`refuse` in place of a value that may be a secret."""

_LONGEST_SHOWN = 120

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 section 5.6.2, token


def refuse(key: str, value: object, allowed: str) -> NoReturn:
    """
    Raise the :class:`ConfigError` that says which setting has which bad value, and what is allowed.

    A long value is cut, and what looks like an API key in it is masked: people paste keys into
    the wrong field.
    """
    raise ConfigError(f"{key} = {_shown(value)}: {allowed}")


def _shown(value: object) -> str:
    from failsafe.masking import mask  # only errors need it

    try:
        shown = mask(repr(value[: 2 * _LONGEST_SHOWN] if isinstance(value, str | bytes) else value))
    except (ValueError, RecursionError):  # an int of thousands of digits, a list within itself
        return f"({type(value).__name__})"
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}..."


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
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
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


def instance(key: str, value: object, kind: type) -> None:
    """Refuse *value* unless it is a *kind*."""
    if not isinstance(value, kind):
        refuse(key, value, f"a {kind.__name__} is needed")


def texts(key: str, value: object) -> tuple[str, ...]:
    """Return the list *value* as a tuple of printable texts, or refuse it (a single text too)."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        refuse(key, value, "a list of texts is needed")
    return tuple(text(f"{key}[{position}]", each) for position, each in enumerate(value))


def text_map(key: str, value: object) -> dict[str, str]:
    """Return a copy of *value* if it maps printable texts to printable texts, or refuse it without showing values."""
    if not isinstance(value, Mapping):
        refuse(key, value, "a table of texts is needed")
    for name, each in value.items():
        text(f"a name in {key}", name)
        if not isinstance(each, str) or not each.isprintable():
            refuse(f"{key}.{name}", HIDDEN, "a text without control characters is needed")
    return dict(value)


def headers(key: str, value: object, *, reserved: Iterable[str]) -> dict[str, str]:
    """Return a copy of *value* if it holds sendable headers and none of *reserved* (in any case), or refuse it."""
    found = text_map(key, value)
    taken = {name.lower() for name in reserved}
    for name, each in found.items():
        header_name(f"a name in {key}", name)
        if name.lower() in taken:
            refuse(
                f"{key}.{name}", HIDDEN, "this header is set by failsafe; a key belongs into api_key (see auth_header)"
            )
        if not each.isascii() or each != each.strip():
            refuse(f"{key}.{name}", HIDDEN, "an ASCII text without white space at its ends is needed")
    return found


def header_name(key: str, value: object) -> str:
    """Return *value* if it is a valid header name, or refuse it."""
    name = text(key, value)
    if not _HEADER_NAME.fullmatch(name):
        refuse(key, value, "a header name (letters, digits and '-') is needed")
    return name


def json_value(key: str, value: object) -> Any:
    """
    Return a copy of *value* if JSON can say it, or refuse it.

    NaN, bytes, dates, integers beyond 64 bits and texts that are not Unicode cannot be said, nor can
    what holds itself or is nested more than 50 deep.
    """
    return _json_value(key, value, 50)


def _json_value(key: str, value: object, depth: int) -> Any:
    if depth == 0:
        refuse(key, HIDDEN, "a value that is nested less deeply is needed")
    if isinstance(value, Mapping):
        for name in value:
            text(f"a name in {key}", name)
        return {name: _json_value(f"{key}.{name}", each, depth - 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_json_value(f"{key}[{place}]", each, depth - 1) for place, each in enumerate(value)]
    if not _is_json_scalar(value):
        refuse(key, value, "a value that JSON can express is needed")
    return value


def _is_json_scalar(value: object) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, int) and -(2**63) <= value < 2**64)


def close_names(name: str, known: Iterable[str], most: int = 1) -> list[str]:
    """Those of *known* that *name* may be a misspelling of, the closest first, *most* of them at the most."""
    from difflib import get_close_matches  # only errors need it

    return get_close_matches(name, list(known), n=most)


def suggestion(name: str, known: Iterable[str]) -> str:
    """A question such as ``" (did you mean 'openai'?)"`` when *name* is close to one of *known*, else ""."""
    close = close_names(name, known)
    return f" (did you mean {close[0]!r}?)" if close else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question to put before an advice, such as ``"did you mean fast or fastest? "``; "" if nothing is close."""
    close = close_names(name, known, most=3)
    return f"did you mean {' or '.join(close)}? " if close else ""
