"""What was seen of a provider, in memory."""

from __future__ import annotations

import threading
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from failsafe.sightings import _MOST, _MOST_PENDING, Lately, Sightings
from failsafe.telemetry.outcomes import Outcome
from failsafe.telemetry.uptime import UptimeRule, summed_up
from failsafe.telemetry.views import TargetState

ANSWERED, FAILED, EXCUSED, OTHER = Outcome.ANSWERED, Outcome.FAILED, Outcome.EXCUSED, Outcome.OTHER
RULE = UptimeRule(hold=75.0, confirm=3)


def sightings(*outcomes: Outcome, every: float = 10.0, limit: float | None = None, **details: Any) -> Sightings:
    """*outcomes* from time 0 on, on both clocks."""
    seen = Sightings(RULE, 300.0, limit)
    for number, outcome in enumerate(outcomes):
        seen.add(outcome, steady=number * every, wall=number * every, **details)
    return seen


def states(seen: Sightings, began: float, ended: float) -> list[str]:
    return [f"{span.state} {span.began:g}-{span.ended:g}" for span in seen.spans(began, ended)]


def test_nothing_is_known_at_first() -> None:
    seen = sightings()
    assert seen.lately(0.0) == Lately(0, 0, None, 0, None, "")
    assert states(seen, 0, 10) == ["unknown 0-10"]


def test_answers_and_failures_of_the_window_are_counted() -> None:
    seen = sightings(ANSWERED, FAILED, OTHER, FAILED, FAILED, latency_ms=100.0)
    assert seen.lately(40.0) == Lately(1, 3, 100.0, 2, 40.0, "")
    assert seen.lately(300.0) == Lately(0, 3, None, 2, 40.0, "")


def test_a_refusal_by_a_provider_that_works_ends_a_streak() -> None:
    assert sightings(FAILED, FAILED, OTHER).lately(30.0).streak == 0


def test_what_says_nothing_changes_no_streak_and_is_remembered_until_something_else_is_seen() -> None:
    seen = sightings(FAILED, EXCUSED, why="auth: no")
    assert seen.lately(10.0) == Lately(0, 1, None, 1, 0.0, "auth: no")
    seen.add(ANSWERED, steady=20.0, wall=20.0)
    assert seen.lately(20.0).excused == ""


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=200))
def test_the_percentile_is_one_of_the_latencies_and_nineteen_of_twenty_are_not_above(latencies: list[float]) -> None:
    seen = Sightings(RULE, 300.0, None)
    for took in latencies:
        seen.add(ANSWERED, steady=0.0, wall=0.0, latency_ms=took)
    p95 = seen.lately(0.0).p95_ms
    assert p95 in latencies
    assert sum(took <= p95 for took in latencies) >= 0.95 * len(latencies)


def test_a_slow_answer_is_a_degraded_time() -> None:
    assert states(sightings(ANSWERED, latency_ms=200.0, limit=100.0), 0, 10) == ["degraded 0-10"]


def test_the_past_is_kept_as_spans() -> None:
    seen = sightings(*[ANSWERED] * 100, *[FAILED] * 5, *[ANSWERED] * 10)
    assert states(seen, 0, 1140) == ["up 0-1000", "down 1000-1050", "up 1050-1140"]
    assert summed_up(seen.spans(0, 1140), 0, 1140).percentage == 95.61


def test_times_of_pause_come_before_what_was_seen() -> None:
    seen = sightings(ANSWERED)
    seen.watch_from(TargetState.PAUSED, 5.0)
    seen.add(FAILED, steady=6.0, wall=6.0)
    seen.watch_from(TargetState.MAINTENANCE, 10.0)
    seen.watch_from(None, 20.0)
    seen.add(ANSWERED, steady=21.0, wall=21.0)
    assert states(seen, 0, 30) == ["up 0-5", "paused 5-10", "maintenance 10-20", "unknown 20-21", "up 21-30"]


def test_a_pause_that_is_ended_at_once_leaves_nothing() -> None:
    seen = sightings(ANSWERED)
    seen.watch_from(TargetState.PAUSED, 5.0)
    seen.watch_from(None, 5.0)
    assert states(seen, 0, 10) == ["up 0-10"]


def test_after_a_gap_nothing_is_known_since_its_begin() -> None:
    seen = sightings(ANSWERED, ANSWERED)
    seen.forget(12.0)
    assert seen.lately(12.0) == Lately(0, 0, None, 0, None, "")
    assert states(seen, 0, 40) == ["up 0-12", "unknown 12-40"]


def test_a_busy_provider_takes_no_more_memory_than_a_quiet_one() -> None:
    seen = Sightings(RULE, 300.0, None)
    for number in range(20_000):
        at = number / 1000
        seen.add(FAILED if number % 2 else ANSWERED, steady=at, wall=at)
    assert len(seen._recent) == _MOST
    assert len(seen._pending) <= _MOST_PENDING + 1
    steady = sightings(*[ANSWERED] * 5000, every=0.001)
    assert len(steady._pending) == 5


def test_failures_within_a_second_count_each() -> None:
    seen = sightings(ANSWERED, FAILED, FAILED, FAILED, every=0.3)
    assert seen.lately(1.0).streak == 3
    assert states(seen, 0, 2)[-1].startswith("down")


def test_many_threads_may_tell() -> None:
    seen = Sightings(RULE, 300.0, None)
    barrier = threading.Barrier(4, timeout=10)

    def tell() -> None:
        barrier.wait()
        for _ in range(200):
            seen.add(ANSWERED, steady=1.0, wall=1.0)

    tellers = [threading.Thread(target=tell) for _ in range(4)]
    for teller in tellers:
        teller.start()
    for teller in tellers:
        teller.join()
    assert seen.lately(1.0).answered == 800
