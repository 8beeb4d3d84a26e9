from __future__ import annotations

import asyncio
import concurrent.futures

import pytest

from failsafe import errors
from failsafe.deadline import Deadline, in_force
from failsafe.faults import BreakerEffect
from failsafe.outcome import breaker_effect, may_fall_back, may_retry, was_refused
from failsafe.testing import FakeClock


@pytest.mark.parametrize(
    ("error", "effect"),
    [
        (OSError("reset"), BreakerEffect.FAILURE),
        (ValueError("a bug"), BreakerEffect.FAILURE),
        (errors.Transient("503"), BreakerEffect.FAILURE),
        (errors.AttemptTimedOut("hung"), BreakerEffect.FAILURE),
        (errors.TooManyAbandoned("Timeout 3 s", 16), BreakerEffect.NEUTRAL),
        (errors.AllProvidersFailed("all"), BreakerEffect.FAILURE),
        (errors.DeadlineExceeded("late"), BreakerEffect.FAILURE),
        (errors.ProviderFault("of no row"), BreakerEffect.FAILURE),
        (errors.RateLimited("429"), BreakerEffect.SOFT),
        (errors.QuotaExhausted("402"), BreakerEffect.NEUTRAL),
        (errors.AuthenticationFailed("401"), BreakerEffect.NEUTRAL),
        (errors.PermissionDenied("403"), BreakerEffect.NEUTRAL),
        (errors.ModelNotFound("404"), BreakerEffect.NEUTRAL),
        (errors.Misconfigured("301"), BreakerEffect.NEUTRAL),
        (errors.InvalidRequest("400"), BreakerEffect.NEUTRAL),
        (errors.ContextWindowExceeded("400"), BreakerEffect.NEUTRAL),
        (errors.UnsupportedParameter("400"), BreakerEffect.NEUTRAL),
        (errors.ContentFiltered("400"), BreakerEffect.NEUTRAL),
        (errors.CircuitOpenError("other", "open", 1.0), BreakerEffect.NEUTRAL),
        (errors.Cancelled("given up"), BreakerEffect.NEUTRAL),
        (errors.ConfigError("bad"), BreakerEffect.NEUTRAL),
        (errors.RouterClosed("closed"), BreakerEffect.NEUTRAL),
        (concurrent.futures.CancelledError(), BreakerEffect.NEUTRAL),
        (asyncio.CancelledError(), BreakerEffect.NEUTRAL),
        (KeyboardInterrupt(), BreakerEffect.NEUTRAL),
        (SystemExit(), BreakerEffect.NEUTRAL),
        (GeneratorExit(), BreakerEffect.NEUTRAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_what_an_error_means_to_a_breaker(error: BaseException, effect: BreakerEffect) -> None:
    assert breaker_effect(error) is effect


@pytest.mark.parametrize(
    ("error", "effect"),
    [
        (errors.DeadlineExceeded("late"), BreakerEffect.NEUTRAL),
        (TimeoutError("the socket was given what was left"), BreakerEffect.NEUTRAL),
        (errors.AttemptTimedOut("had its own limit"), BreakerEffect.FAILURE),
        (errors.Transient("504"), BreakerEffect.FAILURE),
        (OSError("reset"), BreakerEffect.FAILURE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_a_timeout_after_the_callers_own_deadline_is_neutral(error: BaseException, effect: BreakerEffect) -> None:
    clock = FakeClock()
    with in_force(Deadline.after(1, clock)):
        assert breaker_effect(error) is BreakerEffect.FAILURE
        clock.advance(1)
        assert breaker_effect(error) is effect


@pytest.mark.parametrize(
    "error",
    [
        errors.Cancelled("given up"),
        errors.ConfigError("bad"),
        errors.InvalidRequest("400"),
        errors.ContextWindowExceeded("400"),
        errors.UnsupportedParameter("400"),
        errors.RouterClosed("closed"),
        concurrent.futures.CancelledError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_the_callers_own_doing_is_not_fallen_back_from(error: Exception) -> None:
    assert not may_fall_back(error)


@pytest.mark.parametrize(
    "error",
    [
        OSError("reset"),
        errors.DeadlineExceeded("late"),
        errors.AttemptTimedOut("hung"),
        errors.AllProvidersFailed("all"),
        errors.CircuitOpenError("other", "open", 1.0),
        errors.BulkheadFull("other", 8),
        errors.AuthenticationFailed("401"),
        errors.ContentFiltered("400"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_else_failed_may_be_fallen_back_from(error: Exception) -> None:
    assert may_fall_back(error)


def test_only_a_guards_refusal_says_that_the_call_was_not_made() -> None:
    refusals = {"BulkheadFull", "CircuitOpenError", "RateLimitReached", "SpendLimitReached", "TooManyAbandoned"}
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert {cls.__name__ for cls in classes if was_refused(cls.__new__(cls))} == refusals
    assert not was_refused(OSError())


def test_a_subclass_is_judged_as_its_base() -> None:
    class HouseRule(errors.RateLimited):
        pass

    assert breaker_effect(HouseRule("slow")) is BreakerEffect.SOFT


@pytest.mark.parametrize("error", [OSError("reset"), errors.Transient("503"), errors.RateLimited("429")])
def test_what_may_pass_by_itself_is_tried_again(error: Exception) -> None:
    assert may_retry(error, (Exception,))


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest("400"),
        errors.ContextWindowExceeded("400"),
        errors.ContentFiltered("400"),
        errors.AuthenticationFailed("401"),
        errors.QuotaExhausted("402"),
        errors.ModelNotFound("404"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_hopeless_fault_is_tried_again_only_if_asked_for_by_name(error: Exception) -> None:
    assert not may_retry(error, (Exception,))
    assert not may_retry(error, (errors.ProviderFault,))
    assert may_retry(error, (OSError, type(error)))


@pytest.mark.parametrize(
    "error",
    [
        errors.CircuitOpenError("other", "open", 1.0),
        errors.Cancelled("given up"),
        errors.ConfigError("bad"),
        errors.RouterClosed("closed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_some_errors_are_never_tried_again(error: Exception) -> None:
    assert not may_retry(error, (Exception, type(error)))
