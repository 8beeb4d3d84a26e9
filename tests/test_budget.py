from __future__ import annotations

import math
import threading

import pytest

from failsafe.budget import RetryBudget
from failsafe.errors import ConfigError


def test_it_starts_full_and_is_spent_one_token_a_try() -> None:
    budget = RetryBudget(capacity=2)
    assert [budget.try_spend() for _ in range(3)] == [True, True, False]
    assert budget.available == 0


def test_ten_successes_at_a_tenth_earn_exactly_one_try() -> None:
    budget = RetryBudget(capacity=1, per_success=0.1)
    assert budget.try_spend()
    for _ in range(9):
        budget.credit()
    assert not budget.try_spend()
    budget.credit()
    assert budget.try_spend()


def test_it_never_holds_more_than_its_capacity() -> None:
    budget = RetryBudget(capacity=1.05, per_success=1)
    assert budget.try_spend()
    for _ in range(3):
        budget.credit()
    assert budget.available == pytest.approx(1.05)


def test_successes_beyond_what_it_holds_are_not_saved_up() -> None:
    budget = RetryBudget(capacity=1, per_success=0.3)
    assert budget.try_spend()
    for _ in range(4):
        budget.credit()
    assert budget.available == 1


def test_what_is_given_back_does_not_overfill_it() -> None:
    budget = RetryBudget(capacity=1.5, per_success=0.5)
    assert budget.try_spend()
    budget.credit()
    budget.give_back()
    assert budget.available == 1.5


def test_no_capacity_allows_no_extra_try() -> None:
    budget = RetryBudget(capacity=0)
    budget.credit()
    assert not budget.try_spend()


def test_threads_together_spend_no_more_than_there_is() -> None:
    budget = RetryBudget(capacity=50)
    start = threading.Barrier(8)
    granted: list[bool] = []

    def spend() -> None:
        start.wait(timeout=10)
        granted.extend(budget.try_spend() for _ in range(20))

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(granted) == 50


@pytest.mark.parametrize(
    "settings", [{"capacity": -1}, {"capacity": math.inf}, {"per_success": -0.1}, {"per_success": 1.5}]
)
def test_a_value_out_of_range_is_refused_by_name(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        RetryBudget(**settings)


def test_the_repr_shows_what_is_left() -> None:
    budget = RetryBudget()
    budget.try_spend()
    assert repr(budget) == "<RetryBudget 9/10>"
