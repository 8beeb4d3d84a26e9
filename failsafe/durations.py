"""Lengths of time as a person reads them."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """*seconds* with the unit that suits them: ``0.25 s``, ``64.7 s``, ``60 min``, ``24 h``."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h"
