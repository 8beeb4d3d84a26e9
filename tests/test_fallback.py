from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from failsafe import errors
from failsafe.fallback import Fallback, FallbackStats


class Fails:
    """Raises *error* each time."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __call__(self) -> str:
        raise self.error


def stats(answered: int = 0, failed: int = 0, passed_on: int = 0) -> FallbackStats:
    return FallbackStats(answered=answered, failed=failed, passed_on=passed_on)


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def test_a_success_needs_no_fallback() -> None:
    fallback = Fallback("cached")
    assert fallback.call(int, "ff", base=16) == 255
    assert fallback.stats() == stats()


@pytest.mark.parametrize("answer", ["cached", None, [], 0])
def test_a_value_answers_in_place_of_an_error(answer: object) -> None:
    fallback = Fallback(answer)
    assert fallback.call(Fails(OSError())) is answer
    assert fallback.stats() == stats(answered=1)


def test_a_function_is_given_the_error() -> None:
    assert Fallback(lambda error: f"instead of {error}").call(Fails(OSError("reset"))) == "instead of reset"


def test_it_decorates() -> None:
    @Fallback("cached")
    def fetch(url: str, *, tries: int = 1) -> str:
        """Fetch."""
        raise OSError(url)

    assert (fetch("x", tries=2), fetch.__name__, fetch.__doc__) == ("cached", "fetch", "Fetch.")


def test_functions_whose_work_comes_later_are_refused() -> None:
    def stream() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"Fallback cannot wrap .*stream.* generator function"):
        Fallback(0)(stream)


@pytest.mark.parametrize(
    "error",
    [
        errors.Cancelled("given up"),
        errors.ConfigError("bad"),
        errors.InvalidRequest("400"),
        errors.RouterClosed("closed"),
        KeyboardInterrupt(),
        SystemExit(),
        GeneratorExit(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_is_the_callers_own_doing_or_ends_the_program_passes(error: BaseException) -> None:
    fallback = Fallback("cached")
    with pytest.raises(type(error)) as caught:
        fallback.call(Fails(error))
    assert caught.value is error
    assert fallback.stats() == stats(passed_on=isinstance(error, Exception))


@pytest.mark.parametrize(
    "error",
    [
        errors.DeadlineExceeded("late"),
        errors.CircuitOpenError("service", "open", 1.0),
        errors.BulkheadFull("service", 8),
        errors.AllProvidersFailed("all"),
        ValueError("bug"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_everything_else_is_answered(error: Exception) -> None:
    assert Fallback("cached").call(Fails(error)) == "cached"


@pytest.mark.parametrize("on", [OSError, (OSError, KeyError)])
def test_on_narrows_it(on: type[Exception] | tuple[type[Exception], ...]) -> None:
    fallback = Fallback("cached", on=on)
    assert fallback.call(Fails(ConnectionResetError())) == "cached"
    with pytest.raises(ValueError, match="bug"):
        fallback.call(Fails(ValueError("bug")))
    assert fallback.stats() == stats(answered=1, passed_on=1)


def test_on_widens_it() -> None:
    assert Fallback("cached", on=errors.InvalidRequest).call(Fails(errors.ContextWindowExceeded("400"))) == "cached"


@pytest.mark.parametrize(
    "on", [BaseException, KeyboardInterrupt, (OSError, SystemExit), (), "OSError", [OSError], OSError()], ids=repr
)
def test_on_takes_exception_classes_only(on: type[Exception]) -> None:
    with pytest.raises(errors.ConfigError, match=r"on = .*: subclasses of Exception are needed"):
        Fallback("cached", on=on)


# When the fallback fails too.


def test_an_error_of_the_function_names_the_first_and_holds_nothing_of_it() -> None:
    """A foreign error carries the request, and with it the key: it is never chained."""
    second = KeyError("news")

    def answer(error: Exception) -> str:
        raise second

    fallback = Fallback(answer)
    with pytest.raises(KeyError) as caught:
        fallback.call(Fails(OSError("Authorization: sk-key")))
    assert caught.value is second
    assert (second.__cause__, second.__context__) == (None, None)
    assert notes(second) == ["failsafe: the fallback for OSError failed"]
    assert fallback.stats() == stats(failed=1)


def test_chaining_by_the_function_itself_is_undone() -> None:
    def answer(error: Exception) -> str:
        raise KeyError("news") from error

    with pytest.raises(KeyError) as caught:
        Fallback(answer).call(Fails(OSError("Authorization: sk-key")))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_one_object_raised_again_and_again_gathers_no_notes() -> None:
    second = KeyError("news")
    fallback = Fallback(lambda error: Fails(second)())
    for _ in range(3):
        with pytest.raises(KeyError):
            fallback.call(Fails(OSError()))
    assert len(notes(second)) == 1


def test_a_function_may_decide_against_an_answer() -> None:
    first = OSError("reset")

    def answer(error: Exception) -> str:
        raise error

    fallback = Fallback(answer)
    with pytest.raises(OSError, match="reset") as caught:
        fallback.call(Fails(first))
    assert caught.value is first
    assert (notes(first), fallback.stats()) == ([], stats(failed=1))


def test_an_interrupt_in_the_function_passes() -> None:
    def answer(error: Exception) -> str:
        raise KeyboardInterrupt

    fallback = Fallback(answer)
    with pytest.raises(KeyboardInterrupt):
        fallback.call(Fails(OSError()))
    assert fallback.stats() == stats()


# Listening.


def test_on_fallback_is_told_of_each_error_that_is_answered() -> None:
    told: list[Exception] = []
    first = OSError("reset")
    fallback = Fallback("cached", on=OSError, on_fallback=told.append)
    assert fallback.call(Fails(first)) == "cached"
    with pytest.raises(ValueError, match="bug"):
        fallback.call(Fails(ValueError("bug")))
    assert told == [first]


def test_a_failing_listener_is_logged_and_reaches_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken(error: Exception) -> None:
        raise RuntimeError("listener bug")

    assert Fallback("cached", on_fallback=broken).call(Fails(OSError())) == "cached"
    assert [(each.name, each.getMessage()) for each in caplog.records] == [("failsafe.fallback", "on_fallback failed")]


def test_its_repr_says_what_it_did() -> None:
    fallback = Fallback("cached")
    fallback.call(Fails(OSError()))
    assert repr(fallback) == "<Fallback 1 answered, 0 failed>"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_a_lock_of_its_own() -> None:
    fallback = Fallback("cached")
    with fallback._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if fallback._lock.acquire(timeout=5) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
