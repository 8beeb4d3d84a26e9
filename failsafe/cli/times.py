"""Times as options take them and as commands show them: UTC inside, local time outside."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from failsafe.clock import SYSTEM_CLOCK

if TYPE_CHECKING:
    _InSeconds = click.ParamType[float]
else:  # older clicks name no type
    _InSeconds = click.ParamType

DAY = 86_400.0
MONTH = 30 * DAY

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)([smhdw])", re.ASCII)
_LONGEST = 3660 * DAY


class Length(_InSeconds):
    """A length of time such as ``90s``, ``15m``, ``24h``, ``7d`` or ``2w``, in seconds."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return *value* in seconds, or fail with what is allowed."""
        if isinstance(value, float):
            return value
        seconds = _length(str(value))
        if seconds is None or not 1 <= seconds <= _LONGEST:
            self.fail(f"{value!r} is no length of time: 90s, 15m, 24h, 7d or 2w are, up to ten years.", param, ctx)
        return seconds


class Moment(_InSeconds):
    """A time: ``2026-11-24``, ``2026-11-24T12:30`` (local, unless it says otherwise), ``now``, or ``24h`` ago."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return *value* in seconds since 1970-01-01 UTC, or fail with what is allowed."""
        if isinstance(value, float):
            return value
        moment = _moment(str(value))
        if moment is None:
            self.fail(
                f"{value!r} is no time: 2026-11-24, 2026-11-24T12:30, 2026-11-24T12:30Z, now, or 24h (ago) are.",
                param, ctx,
            )  # fmt: skip
        return moment


def _length(text: str) -> float | None:
    match = _LENGTH.fullmatch(text.strip())
    return float(match[1]) * _UNITS[match[2]] if match else None


def _moment(text: str) -> float | None:
    now = SYSTEM_CLOCK.time()
    if text == "now":
        return now
    ago = _length(text)
    if ago is not None:
        return now - ago if ago <= _LONGEST else None
    try:
        return datetime.fromisoformat(text).timestamp()  # one without a zone is local
    except (ValueError, OverflowError, OSError):
        return None


LENGTH = Length()
MOMENT = Moment()


def local(at: float) -> datetime:
    """The time *at* on the clocks of this place."""
    return datetime.fromtimestamp(at, UTC).astimezone()


def stamp(at: float) -> str:
    """*at* for a line that is kept: local, to the second, with its distance from UTC."""
    return local(at).isoformat(timespec="seconds")


def shown(at: float, now: float) -> str:
    """*at* for a person who reads it *now*: the time of the day, and the day unless it is today."""
    then, today = local(at), local(now)
    return f"{then:%H:%M:%S}" if then.date() == today.date() else f"{then:%Y-%m-%d %H:%M:%S}"


def rough(seconds: float) -> str:
    """A length of time in one number: ``3 s``, ``5 min``, ``2 h``, ``12 d``."""
    for unit, length, most in (("s", 1.0, 120), ("min", 60.0, 120), ("h", 3600.0, 48)):
        if seconds < most * length:
            return f"{max(0, int(seconds / length))} {unit}"
    return f"{int(seconds / DAY)} d"


def named(seconds: float) -> str:
    """A length as the options have it, in the largest unit that is exact: ``24h``, ``7d``."""
    if seconds == DAY:
        return "24h"
    unit = next((unit for unit in ("d", "h", "m") if seconds % _UNITS[unit] == 0), "s")
    return f"{seconds / _UNITS[unit]:g}{unit}"
