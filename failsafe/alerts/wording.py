"""Texts of alerts: one line each, without keys, of bounded length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from failsafe.masking import mask, shorten
from failsafe.secret import Secret

LONGEST_TITLE = 200
LONGEST_MESSAGE = 1000
LONGEST_NAME = 100
LONGEST_PART = 500
"""Of a message; so that what to do is not pushed out by what happened."""

_READ_AT_MOST = 4 * LONGEST_MESSAGE


def safe(text: str, most: int, secrets: Iterable[Secret] = ()) -> str:
    """
    *text* in one line of at most *most* characters, without keys.

    Of a very long text only the begin is looked at, so that it costs no more than a short one.
    """
    if len(text) > _READ_AT_MOST:
        # The last word may be the half of a key that its other half would have given away.
        text = text[:_READ_AT_MOST].rpartition(" ")[0] + " …"
    return shorten(mask(text, secrets), most)


def sentences(parts: Sequence[str]) -> str:
    """*parts* that say anything, each as a sentence of its own."""
    return " ".join(_sentence(part.strip()) for part in parts if part.strip())


def _sentence(part: str) -> str:
    return part[0].upper() + part[1:] + ("" if part[-1] in ".!?…" else ".")
