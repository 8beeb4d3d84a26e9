"""Finds a key wherever a program could stumble over it."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

import msgspec


def chain(error: BaseException) -> Iterator[BaseException]:
    """*error* and everything that hangs from it as cause, context or member of a group."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        members = each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        waiting += [other for other in (each.__cause__, each.__context__, *members) if other is not None]


def frames(trace: TracebackType | None) -> Iterator[FrameType]:
    """The frames that *trace* holds: failsafe's own and those of what it uses, not the test's."""
    for frame, _ in traceback.walk_tb(trace):
        if not frame.f_globals.get("__name__", "").startswith("tests."):
            yield frame


def texts_of(error: BaseException) -> Iterator[tuple[str, str]]:
    """Every text that shows *error*, and its name."""
    yield "a traceback", "".join(traceback.format_exception(error))
    yield (
        "a traceback with locals",
        "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()),
    )
    for each in chain(error):
        name = type(each).__name__
        yield f"str of {name}", str(each)
        yield f"repr of {name}", repr(each)
        yield f"attributes of {name}", repr(vars(each))
        yield f"arguments of {name}", repr(each.args)
        yield f"notes of {name}", repr(getattr(each, "__notes__", ()))
    yield "a pickled error", pickle.dumps(error).decode("latin-1")
    yield "a pickled error, restored", repr(vars(pickle.loads(pickle.dumps(error))))


def texts_in(value: Any) -> Iterator[tuple[str, str]]:
    """Every text that shows *value*, one of failsafe's own."""
    name = type(value).__name__
    yield f"repr of {name}", repr(value)
    yield f"str of {name}", str(value)
    yield f"{name} as JSON", msgspec.json.encode(value).decode()
    yield f"a pickled {name}", pickle.dumps(value).decode("latin-1")


def held_in(error: BaseException) -> Iterator[tuple[str, object]]:
    """Every local variable of the frames that the tracebacks of *error* keep alive, and its place."""
    for each in chain(error):
        for frame in frames(each.__traceback__):
            for name, value in frame.f_locals.items():
                yield f"{name} in {frame.f_code.co_qualname}", value
