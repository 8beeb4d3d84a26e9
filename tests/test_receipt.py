"""The text of the errors a caller reads."""

from __future__ import annotations

from failsafe.faults import Fault
from failsafe.models import Attempt, Skip, SkipReason
from failsafe.receipt import report


def test_nothing_asked_and_nothing_skipped_is_the_headline_alone() -> None:
    assert report("no answer", (), ()) == "no answer"


def test_a_line_an_attempt_a_line_a_skip_and_each_advice_once() -> None:
    attempts = (
        Attempt(provider="a", model="m", fault=Fault.SERVER, message="HTTP 500: it broke", status=500, latency_ms=12.4,
                request_id="req-1"),
        Attempt(provider="b", model="m", fault=Fault.MALFORMED, message="the answer has no choices", status=200,
                latency_ms=7.0, maybe_billed=True),
        Attempt(provider="a", model="m", fault=Fault.SERVER, message="HTTP 500: it broke", status=500, latency_ms=3.0),
        Attempt(provider="c", model="m", status=200, latency_ms=1.0),
    )  # fmt: skip
    skipped = (
        Skip(provider="b", model="m", reason=SkipReason.COOLING, detail="left alone for another 20 s"),
        Skip(provider="d", model="m", reason=SkipReason.BREAKER_OPEN, detail="its circuit breaker is open"),
    )
    assert report("no answer", attempts, skipped).splitlines() == [
        "no answer",
        "  1. a (m): server: HTTP 500: it broke [12 ms, request req-1]",
        "  2. b (m): malformed: the answer has no choices [7 ms, HTTP 200, may be billed]",
        "  3. a (m): server: HTTP 500: it broke [3 ms]",
        "  4. c (m): answered [1 ms, HTTP 200]",
        "  -  b (m): not asked again: left alone for another 20 s",
        "  -  d (m): not asked: its circuit breaker is open",
        "  => a: the provider failed; see its status page",
        "  => b: the answer was not a chat completion; check base_url, and what sits between you and the provider",
    ]
