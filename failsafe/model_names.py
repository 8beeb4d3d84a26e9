"""Whether two model ids mean the same model."""

from __future__ import annotations

import re

_VERSION = re.compile(r"[-@:](?:20\d{2}-?\d{2}-?\d{2}|\d{3,4}|\d{2}-\d{2}|preview.*|free|nitro|floor|online)")
_DATED = re.compile(_VERSION.pattern + "$")
_LATEST = re.compile(r"[-:]latest$")


def same_model(asked: str, answered: str) -> bool:
    """
    Whether *answered* is the model *asked*, a dated version of it, or its name without vendor.

    ``gpt-4.1`` and ``gpt-4.1-2025-04-14`` are the same, and so are ``mistral-large-latest`` and
    ``mistral-large-2411``; ``gpt-4.1`` and ``gpt-4.1-mini``, or two dated versions, are not. A
    provider that names no model is taken at its word.
    """
    if not answered or asked == answered:
        return True
    one, other = bare(asked), bare(answered)
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    return longer.startswith(shorter) and _VERSION.fullmatch(longer, len(shorter)) is not None


def bare(model: str) -> str:
    """The id in lower case, without ``models/``, ``vendor/`` or ``-latest``; dots and dashes in versions are alike."""
    return _LATEST.sub("", model.rpartition("/")[2].lower().replace(".", "-"))


def undated(model: str) -> str:
    """The id as :func:`bare` gives it, also without the date or number of its version (``-2025-04-14``, ``-0613``)."""
    return _DATED.sub("", bare(model))
