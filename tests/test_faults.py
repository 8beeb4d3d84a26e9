"""The reaction table: complete, as designed, and as documented."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from failsafe import errors
from failsafe.faults import REACTIONS, BreakerEffect, Fault, NextStep, Reaction, Scope
from failsafe.models import Failure
from failsafe.providers.fault_rules import RULES, STATUSES
from tests import fault_tables

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "faults.md"

TRANSIENT = {
    Fault.NETWORK, Fault.CONNECT_TIMEOUT, Fault.TIMEOUT, Fault.DISCONNECTED, Fault.TRUNCATED, Fault.MALFORMED,
    Fault.SERVER, Fault.OVERLOADED,
}  # fmt: skip
COSTS_ITS_KEY_OR_MODEL = {Fault.QUOTA, Fault.AUTH, Fault.PERMISSION, Fault.MODEL, Fault.MISCONFIGURED}
OF_THE_CALLER = {Fault.CONTEXT, Fault.UNSUPPORTED_PARAMETER, Fault.BAD_REQUEST, Fault.CONTENT_FILTER}


def subclasses(cls: type[errors.ProviderFault]) -> Iterator[type[errors.ProviderFault]]:
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def test_every_fault_has_its_reaction_and_in_the_same_order() -> None:
    assert list(REACTIONS) == list(Fault)


def test_every_error_of_a_provider_comes_from_a_fault() -> None:
    of_functions = {errors.AttemptTimedOut}  # a policy's own, around any function
    reached = {reaction.error for reaction in REACTIONS.values()} | of_functions
    assert {error for error in subclasses(errors.ProviderFault) if error.__module__.startswith("failsafe")} == reached


def test_every_fault_that_an_answer_can_mean_has_a_way_to_be_recognised() -> None:
    recognised = {rule.fault for rule in RULES} | set(STATUSES.values())
    seen_by_the_transport_or_a_dialect = {
        Fault.CONNECT_TIMEOUT, Fault.TIMEOUT, Fault.DISCONNECTED, Fault.TRUNCATED, Fault.CANCELLED,
    }  # fmt: skip
    assert recognised | seen_by_the_transport_or_a_dialect == set(Fault)
    assert recognised & seen_by_the_transport_or_a_dialect == set()


@pytest.mark.parametrize("fault", Fault)
def test_a_failure_becomes_the_error_of_its_fault_and_says_what_to_do(fault: Fault) -> None:
    error = Failure(fault=fault, message="it went wrong", status=418, retry_after=2.0, code="c").error("main")
    assert type(error) is REACTIONS[fault].error
    assert str(error).startswith("main: it went wrong")
    assert REACTIONS[fault].advice in str(error)
    assert (error.provider, error.status, error.retry_after, error.code) == ("main", 418, 2.0, "c")


def test_what_the_service_did_wrong_counts_for_the_breaker_and_nothing_else_does() -> None:
    assert {fault for fault, row in REACTIONS.items() if row.breaker is BreakerEffect.FAILURE} == TRANSIENT
    assert {fault for fault, row in REACTIONS.items() if row.breaker is BreakerEffect.SOFT} == {Fault.RATE_LIMIT}


def test_what_may_pass_is_tried_again_later_and_elsewhere_at_once() -> None:
    for fault in TRANSIENT | {Fault.CONFLICT, Fault.RATE_LIMIT, Fault.QUOTA, Fault.AUTH, Fault.PERMISSION}:
        assert REACTIONS[fault].step is NextStep.NEXT, fault


def test_what_will_not_pass_is_not_tried_again_on_the_same_provider() -> None:
    assert REACTIONS[Fault.MODEL].step is NextStep.NEXT_ONLY
    assert REACTIONS[Fault.MISCONFIGURED].step is NextStep.NEXT_ONLY


def test_the_callers_own_mistakes_end_the_call_or_go_to_a_target_that_differs() -> None:
    assert {fault: REACTIONS[fault].step for fault in OF_THE_CALLER} == {
        Fault.CONTEXT: NextStep.LARGER,
        Fault.UNSUPPORTED_PARAMETER: NextStep.WITHOUT_PARAMETER,
        Fault.BAD_REQUEST: NextStep.RAISE,
        Fault.CONTENT_FILTER: NextStep.RAISE,
    }
    for fault in OF_THE_CALLER:
        assert REACTIONS[fault].scope is Scope.NONE


def test_each_fault_puts_off_what_it_says_something_about() -> None:
    assert {fault: row.scope for fault, row in REACTIONS.items() if row.scope is not Scope.NONE} == {
        Fault.OVERLOADED: Scope.PROVIDER,
        Fault.RATE_LIMIT: Scope.KEY_AND_MODEL,
        Fault.QUOTA: Scope.KEY,
        Fault.AUTH: Scope.KEY,
        Fault.PERMISSION: Scope.KEY_AND_MODEL,
        Fault.MODEL: Scope.MODEL,
        Fault.MISCONFIGURED: Scope.PROVIDER,
    }


def test_nothing_is_put_off_for_longer_than_an_hour() -> None:
    for fault, row in REACTIONS.items():
        assert 0 <= row.off_for <= row.off_at_most <= 3600, fault


def test_a_rejected_key_is_off_for_a_minute_growing_to_an_hour_and_an_empty_account_for_an_hour() -> None:
    auth, quota = REACTIONS[Fault.AUTH], REACTIONS[Fault.QUOTA]
    assert (auth.off_for, auth.growth, auth.off_at_most) == (60.0, 2.0, 3600.0)
    assert quota.off_for == 3600.0


def test_a_person_hears_of_what_only_a_person_can_mend() -> None:
    assert {fault for fault, row in REACTIONS.items() if row.alert} == COSTS_ITS_KEY_OR_MODEL


@pytest.mark.parametrize("reaction", REACTIONS.values(), ids=REACTIONS)
def test_every_advice_is_one_clause_to_follow_a_message(reaction: Reaction) -> None:
    assert reaction.advice[0].islower()
    assert not reaction.advice.endswith(".")


@pytest.mark.parametrize("table", [fault_tables.reactions, fault_tables.rules, fault_tables.statuses])
def test_the_guide_shows_the_tables_of_the_code(table: Callable[[], str]) -> None:
    assert table() in GUIDE.read_text(encoding="utf-8"), "paste what `python -m tests.fault_tables` prints"


def test_the_guide_names_every_status_that_goes_by_its_hundred() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert re.findall(r"any other (\dxx)", text) == ["3xx", "4xx", "5xx"]
