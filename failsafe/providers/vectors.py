"""What the dialects share about embeddings: how long they are to be, and whether an answer's vectors are sound."""

from __future__ import annotations

import base64
import math
import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from failsafe.embeddings import Embeddings, EmbedRequest, Vector
from failsafe.models import Failure, Usage
from failsafe.providers.base import CannotExpress, Target
from failsafe.providers.common import Changes, extra_of
from failsafe.providers.native import malformed


def refused_by(target: Target) -> frozenset[str]:
    """The fields that *target* is known, or was seen, to refuse."""
    return target.refused.union(target.info.refuses, target.quirks.drops)


def length_to_ask_for(request: EmbedRequest, target: Target, field: str) -> int | None:
    """
    The length of the vectors that *target* must be told, or None where it need not be.

    Args:
        request: The request.
        target: Whom it goes to.
        field: Its name for it.

    Raises:
        CannotExpress: The model has no vectors of that length.
    """
    wanted, longest = request.dimensions, target.info.dimensions
    if wanted is None:
        return None
    if longest is not None and wanted > longest:
        raise CannotExpress(f"the vectors of {target.model} have at most {longest} numbers")
    if refused_by(target).isdisjoint({"dimensions", field}):
        return wanted
    if wanted == longest:
        return None
    only = f", {longest}" if longest else ""
    raise CannotExpress(f"{target.model} has vectors of one length only{only}")


def free_fields(request: EmbedRequest, target: Target, dialect: str, changes: Changes) -> dict[str, Any]:
    """
    The call's free fields, if they are meant for *dialect*, without those that *target* refuses.

    Those of the configuration are meant for chats.
    """
    extra, refused = extra_of(request, dialect, changes), refused_by(target)
    for name in extra:
        if name in refused:
            changes.dropped(name, f"{target.model} refuses it")
    return {name: value for name, value in extra.items() if name not in refused}


def sound_embeddings(given: Sequence[Any], *, model: str = "", usage: Usage | None = None) -> Embeddings | Failure:
    """
    The vectors of an answer if they are all of one length and of finite numbers; else why not.

    Args:
        given: The vectors as they stand in the body, in the order of the texts.
        model: The model that says it answered.
        usage: Its tokens.
    """
    vectors = [_vector(each) for each in given]
    sound = tuple(each for each in vectors if each is not None)
    if len(sound) != len(vectors):
        return malformed(f"vector {vectors.index(None)} is no list of finite numbers")
    lengths = {len(each) for each in sound}
    if len(lengths) != 1:
        return malformed(f"vectors of different lengths: {sorted(lengths)[:5]}" if lengths else "no vectors")
    return Embeddings(vectors=sound, model=model, usage=usage or Usage())


def _vector(given: Any) -> Vector | None:
    """A list of numbers, or the base64 text of little-endian float32, as a list of finite floats; None for no such."""
    try:
        vector = _unpacked(given) if isinstance(given, str) else msgspec.convert(given, list[float])
    except (msgspec.ValidationError, ValueError, OverflowError):
        return None
    # The sum is finite only if they all are, but for numbers so large that they must be looked at one by one.
    sound = vector and (math.isfinite(sum(vector)) or all(map(math.isfinite, vector)))
    return vector if sound else None


def _unpacked(text: str) -> list[float]:
    numbers = array("f", base64.b64decode(text, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def entries_of(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]] | None:
    """The objects in the list *name* of *body*, or None where there is no such list."""
    entries = body.get(name)
    if not isinstance(entries, list) or not all(isinstance(each, Mapping) for each in entries):
        return None
    return entries
