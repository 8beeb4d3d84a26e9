"""The tree drawn in errors.py is the tree there is, and every error survives the way to another process."""

from __future__ import annotations

import builtins
import copy
import inspect
import pickle
import re

import pytest

from failsafe import Fault, Partial, errors
from failsafe.errors import FailsafeError

ERRORS = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, FailsafeError) and error.__module__ == errors.__name__
]

_LINE = re.compile(r"(?P<indent>[ │├└─]*)(?P<name>\w+)(?: \((?P<builtin>\w+)\))?$")


def drawn_tree() -> dict[str, tuple[str, ...]]:
    """Each drawn class with its bases, read from the drawing."""
    assert errors.__doc__ is not None
    drawing = errors.__doc__.partition("::\n\n")[2].partition("\n\n")[0]
    bases: dict[str, tuple[str, ...]] = {}
    path: list[str] = []
    for line in drawing.splitlines():
        match = _LINE.fullmatch(line.removeprefix("    "))
        assert match is not None, line
        depth = len(match["indent"]) // 4
        path[depth:] = [match["name"]]
        parent = path[depth - 1] if depth else "Exception"
        bases[match["name"]] = tuple(filter(None, (parent, match["builtin"])))
    return bases


def filled(error: type[FailsafeError]) -> FailsafeError:
    """An instance whose every attribute holds something to lose."""
    if issubclass(error, errors.CircuitOpenError):
        return error("openai", "open", 12.5, "5 failures in a row")
    if issubclass(error, errors.BulkheadFull):
        return error("openai", 8, 0.5)
    if issubclass(error, errors.RateLimitReached):
        return error("openai", "60 requests a minute", 0.5)
    if issubclass(error, errors.TooManyAbandoned):
        return error("Timeout 3 s", 16)
    if issubclass(error, errors.StreamInterrupted):
        return error(
            "broke off", partial=Partial(text="Hel"), provider="openai", fault=Fault.TRUNCATED, attempts=("a",)
        )
    if issubclass(error, errors.CallFailed):
        return error("the report", attempts=("first", "second"), skipped=("third",), retry_after=3.0)
    if not issubclass(error, errors.ProviderFault):
        return error("what happened")
    details = {
        name: f"a {name}"
        for name in inspect.signature(error).parameters
        if name in {"diagnosis", "parameter", "partial"}
    }
    return error(
        "what happened", provider="openai", status=429, request_id="req_1", code="slow_down", retry_after=2.0,
        attempts=("first",), **details,
    )  # fmt: skip


def test_the_drawn_tree_is_the_tree_there_is() -> None:
    actual = {error.__name__: tuple(base.__name__ for base in error.__bases__) for error in ERRORS}
    assert drawn_tree() == actual


def test_the_builtin_bases_are_builtins() -> None:
    drawn = drawn_tree()
    foreign = {base for bases in drawn.values() for base in bases if base not in drawn}
    assert foreign == {"Exception", "ValueError", "TimeoutError"}
    assert all(issubclass(getattr(builtins, name), Exception) for name in foreign)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_every_error_pickles_with_its_attributes(error: type[FailsafeError], protocol: int) -> None:
    original = filled(error)
    arrived = pickle.loads(pickle.dumps(original, protocol))
    assert type(arrived) is error
    assert (str(arrived), arrived.args, vars(arrived)) == (str(original), original.args, vars(original))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_copies_with_its_attributes(error: type[FailsafeError]) -> None:
    original = filled(error)
    assert vars(copy.copy(original)) == vars(original)
    assert vars(copy.deepcopy(original)) == vars(original)


def test_an_errors_notes_arrive_too() -> None:
    original = errors.Transient("what happened")
    original.add_note("seen at night")
    assert pickle.loads(pickle.dumps(original)).__notes__ == ["seen at night"]


@pytest.mark.parametrize(
    ("retry_after", "said"), [(12.5, "for another 12.5 s"), (None, "until it is reset by hand")]
)  # fmt: skip
def test_an_open_circuit_says_for_how_long_and_why(retry_after: float | None, said: str) -> None:
    error = errors.CircuitOpenError("openai", "open", retry_after, "5 failures in a row")
    message = f"circuit breaker 'openai' is open {said} (5 failures in a row); the call was not made"
    assert str(error) == message


def test_timeouts_and_wrong_values_are_caught_by_their_builtin_names() -> None:
    with pytest.raises(TimeoutError):
        raise errors.DeadlineExceeded("too late")
    with pytest.raises(ValueError, match="no such key"):
        raise errors.ConfigError("no such key")
