"""What each fault says about its provider."""

from __future__ import annotations

import pytest

from failsafe.faults import REACTIONS, BreakerEffect, Fault
from failsafe.telemetry import outcomes
from failsafe.telemetry.outcomes import UNBLAMED, Outcome, outcome_of

NOTHING = {Fault.CANCELLED, Fault.TIMEOUT, Fault.CONNECT_TIMEOUT}
EXCUSED = {
    Fault.AUTH, Fault.PERMISSION, Fault.QUOTA, Fault.MISCONFIGURED, Fault.NETWORK, Fault.DISCONNECTED,
    Fault.TRUNCATED, Fault.MALFORMED, Fault.SERVER, Fault.OVERLOADED,
}  # fmt: skip


def test_an_answer_is_answered() -> None:
    assert outcome_of(None, blamed=False) is Outcome.ANSWERED


@pytest.mark.parametrize("fault", Fault)
def test_what_is_blamed_is_a_failure(fault: Fault) -> None:
    assert outcome_of(fault, blamed=True) is Outcome.FAILED


@pytest.mark.parametrize("fault", Fault)
def test_what_is_not_blamed_is_as_the_table_says(fault: Fault) -> None:
    expected = None if fault in NOTHING else Outcome.EXCUSED if fault in EXCUSED else Outcome.OTHER

    assert outcome_of(fault, blamed=False) is expected
    assert f"``{fault}``" in (outcomes.__doc__ or "")


def test_every_fault_is_in_the_table() -> None:
    assert set(UNBLAMED) == set(Fault)


@pytest.mark.parametrize("fault", Fault)
def test_what_a_breaker_takes_for_a_failure_is_never_taken_for_a_provider_that_works(fault: Fault) -> None:
    if REACTIONS[fault].breaker is BreakerEffect.FAILURE:
        assert outcome_of(fault, blamed=False) in (Outcome.EXCUSED, None)
