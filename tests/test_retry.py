from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator

import pytest

from failsafe import errors
from failsafe.breaker import CircuitBreaker
from failsafe.budget import RetryBudget
from failsafe.deadline import CancelToken, Deadline, current_deadline, in_force
from failsafe.policy_config import CircuitBreakerConfig, RetryConfig
from failsafe.retrying import Retry, RetryAttempt, retry, retry_call
from failsafe.testing import FakeClock
from tests.chance import Chance

EXACT = RetryConfig(max_retries=2, base_delay=0.5, jitter=False)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Flaky:
    """Raises the given errors one after the other, then returns ``"done"``."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = list(failures)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "done"


def notes(error: BaseException) -> list[str]:
    return list(getattr(error, "__notes__", []))


def test_a_success_at_the_first_try_waits_for_nothing(clock: FakeClock) -> None:
    assert retry_call(Flaky(), config=EXACT, clock=clock) == "done"
    assert clock.waits == []


def test_it_tries_again_with_growing_waits(clock: FakeClock) -> None:
    flaky = Flaky(OSError(), OSError())
    assert retry_call(flaky, config=EXACT, clock=clock) == "done"
    assert (flaky.calls, clock.waits) == (3, [0.5, 1.0])


def test_full_jitter_is_the_default(clock: FakeClock) -> None:
    retry_call(Flaky(OSError(), OSError()), clock=clock, random=Chance(0.5))
    assert clock.waits == [0.25, 0.5]


def test_max_retries_counts_the_extra_tries_and_the_last_error_itself_is_raised(clock: FakeClock) -> None:
    last = OSError("third")
    flaky = Flaky(OSError("first"), OSError("second"), last)
    with pytest.raises(OSError, match="third") as caught:
        retry_call(flaky, config=EXACT, clock=clock)
    assert caught.value is last
    assert flaky.calls == 3
    assert notes(last) == ["failsafe: 3 tries, then gave up: max_retries is 2"]
    assert last.__context__ is None


def test_no_retries_means_one_try(clock: FakeClock) -> None:
    flaky = Flaky(OSError())
    with pytest.raises(OSError) as caught:  # noqa: PT011 -- the object is compared below
        retry_call(flaky, config=RetryConfig(max_retries=0), clock=clock)
    assert notes(caught.value) == ["failsafe: 1 try, then gave up: max_retries is 0"]


def test_only_the_errors_asked_for_are_tried_again(clock: FakeClock) -> None:
    flaky = Flaky(ValueError("other"))
    with pytest.raises(ValueError, match="other") as caught:
        retry_call(flaky, config=RetryConfig(retry_on=(OSError,)), clock=clock)
    assert (flaky.calls, notes(caught.value)) == (1, [])


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_is_never_tried_again(clock: FakeClock, interruption: type[BaseException]) -> None:
    flaky = Flaky(interruption())
    with pytest.raises(interruption):
        retry_call(flaky, clock=clock)
    assert flaky.calls == 1


@pytest.mark.parametrize("classes", [(KeyboardInterrupt,), (BaseException,), OSError, ("OSError",), [OSError]], ids=str)
def test_retry_on_takes_exception_classes_only(classes: tuple[type[Exception], ...]) -> None:
    with pytest.raises(errors.ConfigError, match="retry_on"):
        RetryConfig(retry_on=classes)


@pytest.mark.parametrize(
    "error",
    [errors.CircuitOpenError("other", "open", 1.0), errors.InvalidRequest("400"), errors.AuthenticationFailed("401")],
    ids=lambda error: type(error).__name__,
)
def test_what_another_try_cannot_help_is_raised_at_once(clock: FakeClock, error: Exception) -> None:
    flaky = Flaky(error)
    with pytest.raises(type(error)):
        retry_call(flaky, clock=clock)
    assert (flaky.calls, clock.waits) == (1, [])
    assert notes(error) == ["failsafe: 1 try, then gave up: another try would not help"]


def test_a_hopeless_error_asked_for_by_name_is_tried_again(clock: FakeClock) -> None:
    config = RetryConfig(retry_on=(errors.InvalidRequest,))
    assert retry_call(Flaky(errors.InvalidRequest("400")), config=config, clock=clock) == "done"


# Retry-After.


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 20.0), (1.0, 22.0)])
def test_a_retry_after_is_never_undercut_and_passed_by_a_tenth_at_most(
    clock: FakeClock, chance: float, expected: float
) -> None:
    flaky = Flaky(errors.RateLimited("429", retry_after=20.0))
    assert retry_call(flaky, clock=clock, random=Chance(chance)) == "done"
    assert clock.waits == pytest.approx([expected])


def test_without_jitter_a_retry_after_is_waited_for_exactly(clock: FakeClock) -> None:
    retry_call(Flaky(errors.RateLimited("429", retry_after=20.0)), config=EXACT, clock=clock)
    assert clock.waits == [20.0]


def test_a_retry_after_of_nothing_still_backs_off(clock: FakeClock) -> None:
    retry_call(Flaky(errors.RateLimited("429", retry_after=0.0)), config=EXACT, clock=clock)
    assert clock.waits == [0.5]


@pytest.mark.parametrize("asked", [60.5, 1e300, float("inf"), 10**400])
def test_a_retry_after_above_the_cap_is_not_waited_for_nor_tried_early(clock: FakeClock, asked: float) -> None:
    error = errors.RateLimited("429", retry_after=asked)
    flaky = Flaky(error)
    with pytest.raises(errors.RateLimited):
        retry_call(flaky, config=EXACT, clock=clock)
    assert (flaky.calls, clock.waits) == (1, [])
    assert "above retry_after_cap (60 s)" in notes(error)[0]


@pytest.mark.parametrize("asked", ["soon", -1, float("nan"), None, True])
def test_garbage_for_a_retry_after_counts_as_absent(clock: FakeClock, asked: object) -> None:
    error = OSError()
    error.retry_after = asked  # type: ignore[attr-defined]
    retry_call(Flaky(error), config=EXACT, clock=clock)
    assert clock.waits == [0.5]


# Deadline.


def test_it_stops_before_a_wait_that_would_pass_the_deadline(clock: FakeClock) -> None:
    flaky = Flaky(OSError(), OSError(), OSError())
    with pytest.raises(OSError) as caught:  # noqa: PT011 -- the note is compared below
        retry_call(flaky, config=EXACT, clock=clock, deadline=Deadline.after(1.25, clock))
    assert (flaky.calls, clock.waits) == (2, [0.5])
    assert notes(caught.value) == ["failsafe: 2 tries, then gave up: waiting 1 s would pass the deadline"]


def test_a_deadline_in_seconds_is_of_each_call(clock: FakeClock) -> None:
    @retry(config=EXACT, clock=clock, deadline=1.25)
    def flaky() -> str:
        return outcomes()

    for _ in range(2):
        outcomes = Flaky(OSError())
        assert flaky() == "done"
        clock.advance(10)


def test_a_deadline_that_has_passed_makes_no_call(clock: FakeClock) -> None:
    flaky = Flaky()
    deadline = Deadline.after(1, clock)
    clock.advance(1)
    with pytest.raises(errors.DeadlineExceeded):
        retry_call(flaky, clock=clock, deadline=deadline)
    assert flaky.calls == 0


@pytest.mark.parametrize("deadline", [0, -1, float("nan")])
def test_a_deadline_that_makes_no_sense_is_refused_when_decorating(deadline: float) -> None:
    with pytest.raises(errors.ConfigError):
        retry(deadline=deadline)


# Cancelling.


def test_cancelling_ends_the_wait_and_holds_no_foreign_error(clock: FakeClock) -> None:
    cancel = CancelToken()
    flaky = Flaky(OSError("marked-key"), OSError())
    with clock.during_wait(cancel.cancel), pytest.raises(errors.Cancelled, match="after 1 try") as caught:
        retry_call(flaky, config=EXACT, clock=clock, cancel=cancel)
    assert flaky.calls == 1
    assert (caught.value.__context__, caught.value.__cause__) == (None, None)


def test_a_token_used_before_makes_no_call() -> None:
    cancel = CancelToken()
    cancel.cancel()
    flaky = Flaky()
    with pytest.raises(errors.Cancelled):
        retry_call(flaky, cancel=cancel)
    assert flaky.calls == 0


def test_cancelling_from_another_thread_ends_a_real_wait() -> None:
    cancel, waiting = CancelToken(), threading.Event()
    outcome: list[BaseException] = []

    def run() -> None:
        try:
            retry_call(
                Flaky(OSError()),
                config=RetryConfig(base_delay=3600, max_delay=3600, jitter=False),
                on_retry=lambda attempt: waiting.set(),
                cancel=cancel,
            )
        except errors.Cancelled as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    assert waiting.wait(timeout=10)
    cancel.cancel()
    thread.join(timeout=10)
    assert len(outcome) == 1


# Shapes.


def test_both_forms_of_the_decorator_keep_name_and_signature(clock: FakeClock) -> None:
    @retry
    def plain(number: int, *, plus: int = 0) -> int:
        """Add."""
        return number + plus

    @retry(config=EXACT, clock=clock)
    def configured(number: int, *, plus: int = 0) -> int:
        """Add."""
        return number + plus

    for decorated in (plain, configured):
        assert decorated(1, plus=2) == 3
        assert decorated.__doc__ == "Add."
        assert list(inspect.signature(decorated).parameters) == ["number", "plus"]


def test_retry_call_passes_arguments_on(clock: FakeClock) -> None:
    assert retry_call(int, "ff", base=16, clock=clock) == 255


def test_functions_whose_work_comes_later_are_refused() -> None:
    def stream() -> Iterator[int]:
        yield 1

    async def ask() -> None: ...

    with pytest.raises(TypeError, match=r"retry cannot wrap .*stream.* generator function"):
        retry(stream)
    with pytest.raises(TypeError, match=r"retry cannot wrap .*ask.* coroutine function"):
        retry(config=EXACT)(ask)


def test_on_retry_is_told_before_each_wait(clock: FakeClock) -> None:
    told: list[RetryAttempt] = []
    first, second = OSError("first"), OSError("second")

    def listener(attempt: RetryAttempt) -> None:
        told.append(attempt)
        assert len(clock.waits) == attempt.tries - 1

    retry_call(Flaky(first, second), config=EXACT, clock=clock, on_retry=listener)
    assert told == [RetryAttempt(tries=1, error=first, wait=0.5), RetryAttempt(tries=2, error=second, wait=1.0)]


def test_a_failing_on_retry_is_logged_and_reaches_no_call(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    def broken(attempt: RetryAttempt) -> None:
        raise RuntimeError("listener bug")

    assert retry_call(Flaky(OSError()), config=EXACT, clock=clock, on_retry=broken) == "done"
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("failsafe.retry", "on_retry failed")]


def test_an_error_object_raised_again_and_again_gathers_no_notes(clock: FakeClock) -> None:
    always = OSError("the same object")

    def fails() -> None:
        raise always

    for _ in range(3):
        with pytest.raises(OSError, match="the same object"):
            retry_call(fails, config=EXACT, clock=clock)
    assert len(notes(always)) == 1


def test_one_decorated_function_serves_many_threads() -> None:
    config = RetryConfig(base_delay=0)
    mine = threading.local()

    @retry(config=config)
    def third_time_lucky() -> int:
        mine.calls = getattr(mine, "calls", 0) + 1
        if mine.calls < 3:
            raise OSError
        return int(mine.calls)

    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(third_time_lucky())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [3] * 8


# The class.


def test_the_class_calls_and_decorates(clock: FakeClock) -> None:
    policy = Retry(EXACT, clock=clock)
    assert policy.call(int, "ff", base=16) == 255
    flaky = Flaky(OSError(), OSError())

    @policy
    def decorated() -> str:
        """Be flaky."""
        return flaky()

    assert decorated() == "done"
    assert (decorated.__name__, decorated.__doc__, clock.waits) == ("decorated", "Be flaky.", [0.5, 1.0])
    assert (policy.config, repr(policy)) == (EXACT, "<Retry max_retries=2>")


def test_the_class_refuses_functions_whose_work_comes_later() -> None:
    def stream() -> Iterator[int]:
        yield 1

    with pytest.raises(TypeError, match=r"retry cannot wrap .*stream.* generator function"):
        Retry()(stream)


@pytest.mark.parametrize("config", [3, None, {"max_retries": 3}])
def test_a_config_of_another_kind_is_refused_at_once(config: object) -> None:
    with pytest.raises(errors.ConfigError, match=r"config = .*: a RetryConfig is needed"):
        Retry(config)  # type: ignore[arg-type]


# The deadline in force.


def test_no_wait_passes_the_deadline_in_force_around_the_call(clock: FakeClock) -> None:
    flaky = Flaky(OSError(), OSError())
    with in_force(Deadline.after(1.25, clock)), pytest.raises(OSError) as caught:  # noqa: PT011 -- note compared below
        Retry(EXACT, clock=clock).call(flaky)
    assert (flaky.calls, clock.waits) == (2, [0.5])
    assert notes(caught.value) == ["failsafe: 2 tries, then gave up: waiting 1 s would pass the deadline"]


def test_without_a_wait_the_passed_deadline_still_ends_the_tries(clock: FakeClock) -> None:
    def slow_failure() -> None:
        clock.advance(2)
        raise OSError

    with in_force(Deadline.after(1, clock)), pytest.raises(OSError) as caught:  # noqa: PT011 -- note compared below
        Retry(RetryConfig(base_delay=0), clock=clock).call(slow_failure)
    assert notes(caught.value) == ["failsafe: 1 try, then gave up: waiting 0 s would pass the deadline"]


@pytest.mark.parametrize(("outer", "own", "expected"), [(5.0, 3.0, 3.0), (2.0, 3.0, 2.0)])
def test_the_tries_see_the_sooner_of_the_deadlines(clock: FakeClock, outer: float, own: float, expected: float) -> None:
    def left() -> float:
        deadline = current_deadline()
        assert deadline is not None
        return deadline.left

    with in_force(Deadline.after(outer, clock)):
        assert Retry(clock=clock, deadline=own).call(left) == expected
    assert current_deadline() is None


# The budget.


def test_each_extra_try_is_paid_for_and_an_empty_budget_ends_the_tries(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=1, per_success=0)
    last = OSError("second")
    flaky = Flaky(OSError("first"), last, OSError("third"))
    with pytest.raises(OSError, match="second") as caught:
        Retry(EXACT, clock=clock, budget=budget).call(flaky)
    assert caught.value is last
    assert (flaky.calls, clock.waits, budget.available) == (2, [0.5], 0.0)
    assert notes(last) == ["failsafe: 2 tries, then gave up: the retry budget is empty"]


def test_a_success_credits_the_budget_the_first_try_too(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=1, per_success=0.25)
    policy = Retry(EXACT, clock=clock, budget=budget)
    assert policy.call(Flaky(OSError())) == "done"
    assert budget.available == 0.25
    assert policy.call(Flaky()) == "done"
    assert budget.available == 0.5


def test_a_hopeless_error_and_one_that_is_not_asked_for_cost_nothing(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=3, per_success=0)
    policy = Retry(RetryConfig(retry_on=(OSError, errors.FailsafeError)), clock=clock, budget=budget)
    for error in (errors.InvalidRequest("400"), ValueError("bug"), errors.CircuitOpenError("other", "open", 0.1)):
        with pytest.raises(type(error)):
            policy.call(Flaky(error))
    assert budget.available == 3.0


@pytest.mark.parametrize("retry_on", [(Exception,), (OSError,)])
@pytest.mark.parametrize(
    "refusal",
    [
        errors.CircuitOpenError("service", "open", 0.1),
        errors.BulkheadFull("service", 8),
        errors.RateLimitReached("service", "1 a minute", 0.1),
        errors.TooManyAbandoned("Timeout 3 s", 16),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_try_that_was_refused_gets_its_token_back_and_is_the_last(
    clock: FakeClock, retry_on: tuple[type[Exception], ...], refusal: Exception
) -> None:
    """resilience4j#920: a retry around a breaker burned its attempts on "circuit open"."""
    budget = RetryBudget(capacity=3, per_success=0)
    flaky = Flaky(OSError(), refusal)
    with pytest.raises(type(refusal)):
        Retry(RetryConfig(max_retries=5, retry_on=retry_on), clock=clock, budget=budget).call(flaky)
    assert (flaky.calls, budget.available) == (2, 3.0)


def test_a_breaker_that_opens_during_the_tries_ends_them_and_costs_one_token_only(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=9, per_success=0)
    breaker = CircuitBreaker("service", CircuitBreakerConfig(failure_threshold=2), clock=clock)
    flaky = Flaky(*[OSError() for _ in range(9)])
    with pytest.raises(errors.CircuitOpenError):
        Retry(RetryConfig(max_retries=8), clock=clock, budget=budget).call(breaker.call, flaky)
    assert (flaky.calls, budget.available) == (2, 8.0)


def test_a_try_that_is_cancelled_before_it_begins_gets_its_token_back(clock: FakeClock) -> None:
    budget, cancel = RetryBudget(capacity=3, per_success=0), CancelToken()
    with clock.during_wait(cancel.cancel), pytest.raises(errors.Cancelled):
        Retry(EXACT, clock=clock, budget=budget, cancel=cancel).call(Flaky(OSError()))
    assert budget.available == 3.0


@pytest.mark.parametrize("where", ["wait", "listener"])
def test_an_interrupted_wait_or_listener_gives_the_token_back(clock: FakeClock, where: str) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    budget = RetryBudget(capacity=3, per_success=0)
    policy = Retry(EXACT, clock=clock, budget=budget, on_retry=interrupt if where == "listener" else None)
    with clock.during_wait(interrupt if where == "wait" else lambda: None), pytest.raises(KeyboardInterrupt):
        policy.call(Flaky(OSError()))
    assert budget.available == 3.0


def test_an_interrupted_try_was_made_and_is_paid_for(clock: FakeClock) -> None:
    budget = RetryBudget(capacity=3, per_success=0)
    with pytest.raises(KeyboardInterrupt):
        Retry(EXACT, clock=clock, budget=budget).call(Flaky(OSError(), KeyboardInterrupt()))
    assert budget.available == 2.0


def test_one_budget_serves_many_policies_and_threads() -> None:
    """However many tries fail at once, no more of them are repeated than the bucket holds."""
    budget = RetryBudget(capacity=10, per_success=0)
    config = RetryConfig(max_retries=100, base_delay=0)
    start, made = threading.Barrier(8), []

    def fails() -> None:
        made.append(1)
        raise OSError

    def run() -> None:
        start.wait(timeout=10)
        with pytest.raises(OSError):  # noqa: PT011 -- only the count matters
            Retry(config, budget=budget).call(fails)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert (len(made), budget.available) == (8 + 10, 0.0)
