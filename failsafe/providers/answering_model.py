"""The model that says it answered, fit to be shown: a provider writes there what it likes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeVar

import msgspec

from failsafe.masking import mask, shorten
from failsafe.secret import Secret

A = TypeVar("A")

_LONGEST = 200


def with_model_shown(answer: A, asked: str, secrets: Iterable[Secret]) -> A:
    """
    Return *answer* with a ``model`` that may be logged, recorded and sent on: one line, short, without any key.

    Thread-safe.

    Args:
        answer: What was read. Of chats and embeddings it is a struct with a ``model``; a list of models has none.
        asked: The model id that was sent, which is known to be fit.
        secrets: Every key that must not show.
    """
    said: str = getattr(answer, "model", "")
    if not said or said == asked or not isinstance(answer, msgspec.Struct):
        return answer
    shown = _shown(said[: 5 * _LONGEST], tuple(secrets))
    return answer if shown == said else msgspec.structs.replace(answer, model=shown)


@lru_cache(maxsize=256)  # nearly every answer of a provider says the same
def _shown(said: str, secrets: tuple[Secret, ...]) -> str:
    return shorten(mask(said, secrets), _LONGEST)
