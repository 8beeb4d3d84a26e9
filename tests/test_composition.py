from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failsafe import composition, errors
from failsafe.adaptive import AdaptiveConcurrency
from failsafe.breaker import CircuitBreaker
from failsafe.budget import RetryBudget
from failsafe.bulkhead import Bulkhead
from failsafe.composition import Guard, Policy
from failsafe.deadline import CancelToken, Deadline, current_deadline
from failsafe.fallback import Fallback
from failsafe.hedging import Hedge
from failsafe.policy_config import (
    AdaptiveConcurrencyConfig,
    BulkheadConfig,
    CircuitBreakerConfig,
    HedgeConfig,
    RateLimiterConfig,
    RetryBudgetConfig,
    RetryConfig,
)
from failsafe.retrying import Retry
from failsafe.testing import FakeClock
from failsafe.timeouts import AttemptTimeout, Timeout

LONG = 60.0
"""Seconds no test waits for."""

AT_ONCE = RetryConfig(max_retries=2, base_delay=0)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


class Hanging:
    """A function that hangs until the test is over, whatever its caller does."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.started = threading.Event()
        self.threads: list[threading.Thread] = []

    def __call__(self) -> str:
        self.threads.append(threading.current_thread())
        self.started.set()
        assert self.release.wait(timeout=LONG)
        return "too late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    function = Hanging()
    yield function
    function.release.set()
    for thread in function.threads:
        thread.join(timeout=LONG)


def rate_limiter(config: RateLimiterConfig, **settings: Any) -> Any:
    limiter = pytest.importorskip("failsafe.limiter")
    return limiter.RateLimiter("pace", config, **settings)


def fails(error: BaseException) -> Callable[[], str]:
    def fail() -> str:
        raise error

    return fail


def half_open(clock: FakeClock) -> CircuitBreaker:
    """A breaker whose next call is a probe, the only one that may be in flight."""
    config = CircuitBreakerConfig(failure_threshold=1, success_threshold=1, timeout=1, half_open_max_calls=1)
    breaker = CircuitBreaker("service", config, clock=clock)
    breaker.trip()
    clock.advance(1)
    return breaker


def in_flight(breaker: CircuitBreaker) -> tuple[str, int]:
    stats = breaker.stats()
    return stats.state.value, stats.probes_in_flight


# The order.


def one_of_each() -> list[Guard]:
    """In the order of the field."""
    return [
        Fallback("cached"),
        Timeout(10),
        Retry(),
        Hedge(),
        Bulkhead("places", BulkheadConfig(max_concurrent=2)),
        rate_limiter(RateLimiterConfig(requests_per_minute=60)),
        CircuitBreaker("service"),
        AttemptTimeout(3),
    ]


@given(shuffled=st.permutations(range(8)))
def test_whatever_the_order_given_the_order_is_that_of_the_field(shuffled: list[int]) -> None:
    parts = one_of_each()
    assert Policy.compose(*[parts[each] for each in shuffled]).parts == tuple(parts)


def test_an_adaptive_limit_takes_the_place_of_a_bulkhead_and_a_subclass_that_of_its_base() -> None:
    class Ours(CircuitBreaker):
        pass

    adaptive = AdaptiveConcurrency("places", AdaptiveConcurrencyConfig())
    breaker, limiter = Ours("service"), rate_limiter(RateLimiterConfig())
    assert Policy.compose(breaker, limiter, adaptive).parts == (adaptive, limiter, breaker)


def test_every_name_in_the_order_is_that_of_a_policy() -> None:
    """The policies are known by name: a class that moves or is renamed must take its place along."""
    for name in itertools.chain.from_iterable(composition._PLACES):
        module, _, cls = name.rpartition(".")
        pytest.importorskip(module)
        assert getattr(sys.modules[module], cls).__module__ == module
    assert composition._PLACES[composition._BULKHEAD][0] == "failsafe.bulkhead.Bulkhead"
    assert composition._PLACES[composition._LIMITER] == ("failsafe.limiter.RateLimiter",)


def test_a_deadline_and_retry_settings_stand_for_their_policies(clock: FakeClock) -> None:
    policy = Policy.compose(AT_ONCE, Deadline.after(5, clock))
    timeout, retry = policy.parts
    assert isinstance(timeout, Timeout)
    assert isinstance(retry, Retry)
    assert (timeout.seconds, retry.config) == (5.0, AT_ONCE)


def test_the_repr_shows_the_order() -> None:
    assert repr(Policy.compose(*reversed(one_of_each()))) == (
        "<Policy Fallback > Timeout 10 s > Retry max_retries=2 > Hedge > Bulkhead places > RateLimiter pace > "
        "CircuitBreaker service > AttemptTimeout 3 s>"
    )


def test_an_order_of_ones_own_is_kept_and_may_hold_a_kind_twice_and_a_policy() -> None:
    inner = Policy.compose(CircuitBreaker("inner"))
    parts = (CircuitBreaker("outer"), Retry(), inner, Retry())
    policy = Policy.in_order(*parts)
    assert policy.parts == parts
    assert policy.call(int, "ff", base=16) == 255
    assert repr(policy) == "<Policy CircuitBreaker outer > Retry max_retries=2 > Policy > Retry max_retries=2>"


def test_in_an_order_of_ones_own_settings_stand_for_policies_too(clock: FakeClock) -> None:
    policy = Policy.in_order(AT_ONCE, Deadline.after(5, clock))
    assert [type(part) for part in policy.parts] == [Retry, Timeout]


def test_a_policy_of_ones_own_may_be_a_part() -> None:
    class Twice:
        def call(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs) * 2

    assert Policy.in_order(Twice(), CircuitBreaker("service"), Twice()).call(lambda: "ab") == "abababab"


@pytest.mark.parametrize(
    ("part", "advice"),
    [
        (CircuitBreakerConfig(), r'give CircuitBreaker\("its name", config\)'),
        (BulkheadConfig(max_concurrent=2), r'give Bulkhead\("its name", config\)'),
        (AdaptiveConcurrencyConfig(), r'give AdaptiveConcurrency\("its name", config\)'),
        (RateLimiterConfig(), r'give RateLimiter\("its name", config\)'),
        (HedgeConfig(), r"give Hedge\(config\)"),
        (RetryBudget(), r"give Retry\(config, budget="),
        (RetryBudgetConfig(), r"give Retry\(config, budget=RetryBudget"),
        (3, r"3 is no part of a policy: give Timeout\(seconds\)"),
        (2.5, r"give Timeout\(seconds\)"),
        (Policy.compose(Retry()), r"\*policy\.parts"),
        (Retry, r"Retry is a class: give an instance of it, Retry\(\.\.\.\)"),
        (print, "a Fallback, Timeout, Deadline, Retry, .* or AttemptTimeout is needed"),
        (None, "None is no part of a policy"),
        ("sk-proj-abcdefghijklmnopqrstuvwxyz012345", "masked.* is no part of a policy"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_policy_is_refused_and_the_message_says_what_to_give(part: Any, advice: str) -> None:
    with pytest.raises(errors.ConfigError, match=advice) as caught:
        Policy.compose(CircuitBreaker("service"), part)
    assert "klmnopqrst" not in str(caught.value)


@pytest.mark.parametrize("part", [CircuitBreakerConfig(), 3, None, print, Retry], ids=str)
def test_in_an_order_of_ones_own_too(part: Any) -> None:
    with pytest.raises(errors.ConfigError, match=r"give |with call\(fn, \*args, \*\*kwargs\) is needed"):
        Policy.in_order(part)


@pytest.mark.parametrize("make", [Policy.compose, Policy.in_order])
def test_nothing_is_no_policy(make: Callable[[], Policy]) -> None:
    with pytest.raises(errors.ConfigError, match="without parts"):
        make()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Retry(), AT_ONCE),
        (Timeout(3), Deadline.unlimited()),
        (CircuitBreaker("one"), CircuitBreaker("two")),
        (
            Bulkhead("one", BulkheadConfig(max_concurrent=2)),
            AdaptiveConcurrency("two", AdaptiveConcurrencyConfig()),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_two_of_a_kind_are_refused(first: Any, second: Any) -> None:
    with pytest.raises(errors.ConfigError, match=r"have the same place in the order: .* Policy\.in_order"):
        Policy.compose(first, CircuitBreaker("other") if isinstance(first, Retry) else Retry(), second)


# Shapes.


def test_it_calls_and_decorates() -> None:
    policy = Policy.compose(Retry(), CircuitBreaker("service"))

    @policy
    def add(number: int, *, plus: int = 0) -> int:
        """Add."""
        return number + plus

    assert policy.call(add, 1, plus=2) == 3
    assert (add(1, plus=2), add.__name__, add.__doc__) == (3, "add", "Add.")


def test_functions_whose_work_comes_later_are_refused() -> None:
    def stream() -> Iterator[int]:
        yield 1

    async def ask() -> None: ...

    policy = Policy.compose(Retry())
    with pytest.raises(TypeError, match=r"Policy cannot wrap .*stream.* generator function"):
        policy(stream)
    with pytest.raises(TypeError, match=r"Policy cannot wrap .*ask.* coroutine function"):
        policy(ask)


def test_one_policy_serves_many_threads() -> None:
    policy = Policy.compose(Fallback(-1), Timeout(LONG), Retry(), CircuitBreaker("service"), AttemptTimeout(LONG))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: policy.call(lambda: number * 2), range(40))) == [2 * n for n in range(40)]


# Who sees what.


def test_the_breaker_records_every_try_and_not_every_call(clock: FakeClock) -> None:
    """deer-flow#2095: a breaker around the retries opens that much later."""
    breaker = CircuitBreaker("service", clock=clock)
    with pytest.raises(OSError, match="reset"):
        Policy.compose(breaker, AT_ONCE).call(fails(OSError("reset")))
    assert breaker.stats().failures == 3


def test_an_open_breaker_ends_the_tries_at_no_cost(clock: FakeClock) -> None:
    """resilience4j#920: a retry around a breaker burned its attempts on "circuit open"."""
    breaker, budget = CircuitBreaker("service", clock=clock), RetryBudget(capacity=5)
    breaker.trip()
    policy = Policy.compose(breaker, Retry(AT_ONCE, budget=budget, clock=clock))
    with pytest.raises(errors.CircuitOpenError):
        policy.call(fails(OSError()))
    assert (breaker.stats().rejected, budget.available, clock.waits) == (1, 5.0, [])


def refusing_bulkhead(clock: FakeClock) -> Guard:
    full = Bulkhead("places", BulkheadConfig(max_concurrent=1), clock=clock)
    full.acquire()
    return full


def refusing_limiter(clock: FakeClock) -> Any:
    empty = rate_limiter(RateLimiterConfig(requests_per_minute=1, burst=1), clock=clock)
    while not empty.try_acquire():
        pass
    return empty


@pytest.mark.parametrize("make", [refusing_bulkhead, refusing_limiter])
def test_a_refused_turn_is_not_tried_again_and_takes_no_probe_slot(
    clock: FakeClock, make: Callable[[FakeClock], Guard]
) -> None:
    """Hystrix#1621: a probe that the thread pool rejected left the circuit open for ever."""
    breaker, budget = half_open(clock), RetryBudget(capacity=5)
    policy = Policy.compose(breaker, make(clock), Retry(AT_ONCE, budget=budget, clock=clock))
    with pytest.raises((errors.BulkheadFull, errors.RateLimitReached)):
        policy.call(lambda: "done")
    assert (in_flight(breaker), budget.available) == (("open", 0), 5.0)
    assert breaker.call(lambda: "probe") == "probe"


def test_a_refused_permit_gives_the_place_back(clock: FakeClock) -> None:
    breaker, places = CircuitBreaker("service", clock=clock), Bulkhead("places", BulkheadConfig(max_concurrent=1))
    breaker.force_open()
    with pytest.raises(errors.CircuitOpenError):
        Policy.compose(breaker, places).call(lambda: "done")
    assert places.in_flight == 0


def test_tries_take_their_turns_one_by_one(clock: FakeClock) -> None:
    """A place is not held while a retry waits."""
    places = Bulkhead("places", BulkheadConfig(max_concurrent=1), clock=clock)
    held: list[int] = []
    with clock.during_wait(lambda: held.append(places.in_flight)), pytest.raises(OSError, match="reset"):
        Policy.compose(places, Retry(clock=clock)).call(fails(OSError("reset")))
    assert held == [0, 0]


def test_the_fallback_answers_for_every_part(clock: FakeClock, hanging: Hanging) -> None:
    breaker = CircuitBreaker("service", clock=clock)
    policy = Policy.compose(breaker, Timeout(3, clock=clock), Fallback("cached"))
    assert policy.call(hanging) == "cached"
    breaker.force_open()
    assert policy.call(lambda: "fresh") == "cached"
    breaker.reset()
    with pytest.raises(errors.InvalidRequest):
        policy.call(fails(errors.InvalidRequest("400")))


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_in_the_function_releases_everything(clock: FakeClock, interruption: type[BaseException]) -> None:
    breaker, budget = half_open(clock), RetryBudget(capacity=5)
    places = Bulkhead("places", BulkheadConfig(max_concurrent=1))
    policy = Policy.compose(
        breaker, places, Retry(AT_ONCE, budget=budget), Timeout(LONG), AttemptTimeout(LONG), Fallback("cached")
    )
    with pytest.raises(interruption):
        policy.call(fails(interruption()))
    assert (in_flight(breaker), places.in_flight, budget.available) == (("half_open", 0), 0, 5.0)
    assert current_deadline() is None


def test_an_interrupt_while_the_function_runs_elsewhere_releases_everything(clock: FakeClock, hanging: Hanging) -> None:
    breaker, places = half_open(clock), Bulkhead("places", BulkheadConfig(max_concurrent=1), clock=clock)
    policy = Policy.compose(breaker, places, Retry(AT_ONCE, clock=clock), AttemptTimeout(LONG, clock=clock))

    def interrupt() -> None:
        assert hanging.started.wait(timeout=LONG)
        raise KeyboardInterrupt

    with clock.during_wait(interrupt), pytest.raises(KeyboardInterrupt):
        policy.call(hanging)
    assert (in_flight(breaker), places.in_flight) == (("half_open", 0), 0)


def test_an_interrupt_between_the_tries_releases_everything(clock: FakeClock) -> None:
    breaker, budget = CircuitBreaker("service", clock=clock), RetryBudget(capacity=5)

    def interrupt() -> None:
        raise KeyboardInterrupt

    policy = Policy.compose(breaker, Retry(clock=clock, budget=budget), Timeout(LONG, clock=clock, abandon=False))
    with clock.during_wait(interrupt), pytest.raises(KeyboardInterrupt):
        policy.call(fails(OSError()))
    assert (budget.available, current_deadline()) == (5.0, None)


# The deadline.


def test_the_deadline_cuts_where_the_function_is_and_is_neutral_to_the_breaker(
    clock: FakeClock, hanging: Hanging
) -> None:
    breaker, places = half_open(clock), Bulkhead("places", BulkheadConfig(max_concurrent=1), clock=clock)
    policy = Policy.compose(Timeout(3, clock=clock), Retry(AT_ONCE, clock=clock), places, breaker)
    with pytest.raises(errors.DeadlineExceeded, match="no result within the deadline of 3 s") as caught:
        policy.call(hanging)
    assert (in_flight(breaker), places.in_flight, clock.waits) == (("half_open", 0), 0, [3.0])
    assert caught.value.__notes__ == ["failsafe: 1 try, then gave up: waiting 0 s would pass the deadline"]


def test_an_attempt_timeout_is_a_failure_and_tried_again_until_the_deadline(clock: FakeClock, hanging: Hanging) -> None:
    breaker = CircuitBreaker("service", clock=clock)
    policy = Policy.compose(
        Timeout(8, clock=clock), Retry(AT_ONCE, clock=clock), breaker, AttemptTimeout(3, clock=clock)
    )
    with pytest.raises(errors.DeadlineExceeded, match="the deadline of 8 s"):
        policy.call(hanging)
    # Each try has its own limit, or what is left; between them there is no wait, but the clock is asked to.
    assert [wait for wait in clock.waits if wait] == [3.0, 3.0, 2.0]
    assert breaker.stats().failures == 2, "the last one had no time to show what it can do"


def test_without_a_thread_an_attempts_limit_is_only_told(clock: FakeClock, hanging: Hanging) -> None:
    policy = Policy.compose(Timeout(8, clock=clock), AttemptTimeout(3, abandon=False, clock=clock))
    told: list[float] = []

    def works() -> str:
        deadline = current_deadline()
        assert deadline is not None
        told.append(deadline.left)
        return hanging()

    with pytest.raises(errors.DeadlineExceeded, match="the deadline of 8 s"):
        policy.call(works)
    assert told[0] <= 3.0


@pytest.mark.parametrize("attempt", [None, AttemptTimeout(LONG), AttemptTimeout(LONG, abandon=False)])
def test_a_call_takes_one_thread_at_the_most(attempt: AttemptTimeout | None) -> None:
    def depth() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("failsafe-")]

    parts: list[Guard] = [Timeout(LONG), Retry(AT_ONCE), CircuitBreaker("service"), *filter(None, [attempt])]
    assert len(Policy.compose(*parts).call(depth)) == 1


@pytest.mark.parametrize("timeout", [Timeout(LONG, abandon=False), None])
def test_and_none_where_nothing_is_cut(timeout: Timeout | None) -> None:
    policy = Policy.compose(Retry(AT_ONCE), CircuitBreaker("service"), *filter(None, [timeout]))
    assert policy.call(threading.current_thread) is threading.current_thread()


def test_in_an_order_of_ones_own_the_limit_cuts_where_it_stands(clock: FakeClock, hanging: Hanging) -> None:
    """Around the retries: the breaker inside never hears of the cut, for the function has not ended."""
    breaker = half_open(clock)
    with pytest.raises(errors.DeadlineExceeded):
        Policy.in_order(Timeout(3, clock=clock), breaker).call(hanging)
    assert in_flight(breaker) == ("half_open", 1)
    hanging.release.set()
    for thread in hanging.threads:
        thread.join(timeout=LONG)
    assert in_flight(breaker) == ("closed", 0)


@pytest.mark.parametrize("order", [Policy.compose, Policy.in_order])
def test_no_wait_for_a_turn_passes_the_deadline(clock: FakeClock, order: Callable[..., Policy]) -> None:
    places = Bulkhead("places", BulkheadConfig(max_concurrent=1, max_wait=LONG), clock=clock)
    timeout = Timeout(3, clock=clock, abandon=False)
    with places.acquire(), pytest.raises(errors.BulkheadFull):
        order(timeout, places).call(lambda: "done")
    assert clock.waits == [3.0]

    pace = rate_limiter(RateLimiterConfig(requests_per_minute=1, burst=1, max_wait=LONG * 10), clock=clock)
    pace.acquire()
    with pytest.raises(errors.RateLimitReached):
        order(timeout, pace).call(lambda: "done")
    assert clock.waits == [3.0], "what is known to come too late is not waited for"


def test_the_functions_token_is_cancelled_with_the_cut(clock: FakeClock) -> None:
    ended = threading.Event()

    def works(cancel: CancelToken) -> None:
        assert cancel.event.wait(timeout=LONG)
        ended.set()

    policy = Policy.compose(Timeout(3, clock=clock), Retry(AT_ONCE, clock=clock), CircuitBreaker("service"))
    with pytest.raises(errors.DeadlineExceeded):
        policy.call(works, cancel=CancelToken())
    assert ended.wait(timeout=LONG)


# Hedging.


@pytest.fixture
def hedge() -> Iterator[Hedge]:
    """Begins the second attempt at once."""
    with Hedge(HedgeConfig(delay=0.0)) as hedge:
        yield hedge


def test_the_attempts_of_a_hedge_know_the_deadline(hedge: Hedge) -> None:
    together = threading.Barrier(2)

    def left() -> bool:
        together.wait(timeout=LONG)
        deadline = current_deadline()
        return deadline is not None and 0 < deadline.left <= LONG

    assert Policy.compose(CircuitBreaker("service"), hedge, Timeout(LONG), Retry(AT_ONCE)).call(left)


def test_each_of_a_hedges_attempts_is_cut_and_has_a_permit_of_its_own(hedge: Hedge, hanging: Hanging) -> None:
    breaker = CircuitBreaker("service", CircuitBreakerConfig(failure_threshold=9))
    with pytest.raises(errors.AttemptTimedOut):
        Policy.compose(hedge, breaker, Timeout(LONG), AttemptTimeout(0.1)).call(hanging)
    assert hedge.close(timeout=LONG)
    assert breaker.stats().failures == 2


def test_the_deadline_holds_around_a_hedge(hedge: Hedge, hanging: Hanging) -> None:
    breaker = CircuitBreaker("service", CircuitBreakerConfig(failure_threshold=9))
    with pytest.raises(errors.DeadlineExceeded, match=r"the deadline of 0\.1 s"):
        Policy.compose(hedge, breaker, Timeout(0.1), Retry(AT_ONCE)).call(hanging)
    assert hedge.close(timeout=LONG)
    assert breaker.stats().failures == 0


def test_an_interrupt_in_a_hedged_function_releases_everything(clock: FakeClock) -> None:
    breaker, places = half_open(clock), Bulkhead("places", BulkheadConfig(max_concurrent=1))
    with Hedge(HedgeConfig(delay=LONG)) as hedge, pytest.raises(KeyboardInterrupt):
        Policy.compose(hedge, breaker, places, Timeout(LONG)).call(fails(KeyboardInterrupt()))
    assert (in_flight(breaker), places.in_flight) == (("half_open", 0), 0)


# Loading.


def test_composing_loads_only_what_is_composed() -> None:
    import subprocess

    code = (
        "import sys; from failsafe import Policy, Retry, CircuitBreaker;"
        "Policy.compose(Retry(), CircuitBreaker('service')).call(int);"
        "print(*sorted(name for name in sys.modules if name.startswith('failsafe.')))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=50)
    assert {"failsafe.fallback", "failsafe.bulkhead", "failsafe.limiter", "failsafe.hedging"}.isdisjoint(
        loaded.stdout.split()
    )
