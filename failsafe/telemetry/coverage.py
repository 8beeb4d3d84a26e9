"""Which rollups to read for a window: the widest that lie whole within it, and finer ones at its edges."""

# Every statement is put together from names that stand in this file; what is asked for is bound.
# ruff: noqa: S608

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from itertools import pairwise
from math import inf
from typing import NamedTuple

from failsafe.telemetry.schema import ROLLUPS

Kept = Mapping[int, float]
"""By width, from when on that rollup is there; before, only wider ones are."""


class Piece(NamedTuple):
    """Rows of one rollup: those whose span begins from ``began`` on and before ``ended``."""

    width: int
    began: float
    ended: float


def kept(connection: sqlite3.Connection) -> dict[int, float]:
    """
    From when on each rollup is there, however long it is kept.

    Where a wider one begins no earlier than its own rows would make it, nothing has been taken away.
    """
    oldest = {width: connection.execute(f"SELECT min(at) FROM rollup_{width}").fetchone()[0] for width in ROLLUPS}
    found = dict.fromkeys(ROLLUPS, -inf)
    for width, wider in pairwise(ROLLUPS):
        if oldest[wider] is not None and (oldest[width] is None or oldest[wider] < oldest[width] // wider * wider):
            found[width] = inf if oldest[width] is None else _upwards(oldest[width], wider)
    return found


def cover(began: float, ended: float, there: Kept) -> list[Piece]:
    """
    The rows that make up a window, none of them twice.

    A span of ten seconds belongs to the window that it begins in, so that windows next to each other share nothing
    and leave nothing out. Where only wider spans are kept, that goes for those.

    Args:
        began: The window's begin.
        ended: Its end; infinity: all that there is.
        there: From when on each rollup is there.
    """
    pieces: list[Piece] = []
    _fill(pieces, began, ended, len(ROLLUPS) - 1, there)
    return sorted(pieces, key=lambda piece: piece.began)


def _fill(pieces: list[Piece], began: float, ended: float, level: int, there: Kept) -> None:
    if not began < ended:
        return
    width = ROLLUPS[level]
    finer_from = there[ROLLUPS[level - 1]] if level else inf
    if finer_from > began:  # nothing finer is there: rows that begin in the window have to do
        until = min(ended, finer_from)
        pieces.append(Piece(width, began, until))
        _fill(pieces, until, ended, level, there)
        return
    first, last = _upwards(began, width), ended if ended == inf else ended // width * width
    if first < last:
        pieces.append(Piece(width, first, last))
        _fill(pieces, began, first, level - 1, there)
        _fill(pieces, last, ended, level - 1, there)
    else:
        _fill(pieces, began, ended, level - 1, there)


def _upwards(at: float, width: int) -> float:
    return -(-at // width) * width
