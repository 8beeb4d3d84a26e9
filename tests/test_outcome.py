from __future__ import annotations

import asyncio
import concurrent.futures

import pytest

from failsafe import errors
from failsafe.faults import BreakerEffect
from failsafe.outcome import breaker_effect, may_retry


@pytest.mark.parametrize(
    ("error", "effect"),
    [
        (OSError("reset"), BreakerEffect.FAILURE),
        (ValueError("a bug"), BreakerEffect.FAILURE),
        (errors.Transient("503"), BreakerEffect.FAILURE),
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
