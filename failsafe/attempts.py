"""The attempts of one call: sends each one, and tells all whom its outcome concerns."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from failsafe.admission import OUT_OF_BUDGET, SENT_ENOUGH, Entry, Refused, Wait
from failsafe.clock import Clock, Random
from failsafe.config import RouterConfig
from failsafe.course import Course
from failsafe.deadline import CancelToken, Deadline
from failsafe.events import AttemptFinished
from failsafe.faults import REACTIONS, BreakerEffect, Fault
from failsafe.models import Attempt, Failure, Phase, Skip, SkipReason
from failsafe.patience import to_blame
from failsafe.providers.base import BuiltRequest
from failsafe.reading import Answered
from failsafe.secret import Secret
from failsafe.telemetry.reporter import Reporter
from failsafe.transport.base import Limits

_OUTRUN = "given up: another attempt was faster"
_PUSHBACK = frozenset({Fault.RATE_LIMIT, Fault.OVERLOADED, Fault.TIMEOUT})
"""Faults that say that the provider is sent too much at once."""


class Shared(NamedTuple):
    """What all calls of a router have in common."""

    config: RouterConfig
    clock: Clock
    random: Random
    reporter: Reporter


class Attempts:
    """
    Makes the attempts of one call and keeps their receipt. Lives in the thread of the call.

    Args:
        deadline: When the call must have ended.
        cancel: Ends it from another thread, or None.
        call_id: Names the call in events and logs.
        shared: The router's settings, clock, chance and reporter.

    Attributes:
        made: The receipt so far, in order.
        last_failure: The provider that failed last, and how.
        round: The round the call is in, from 1.
    """

    __slots__ = ("_call_id", "_cancel", "_deadline", "_shared", "last_failure", "made", "round")

    def __init__(self, deadline: Deadline, cancel: CancelToken | None, call_id: str, shared: Shared) -> None:
        self._deadline = deadline
        self._cancel = cancel
        self._call_id = call_id
        self._shared = shared
        self.made: list[Attempt] = []
        self.last_failure: tuple[str, Failure] | None = None
        self.round = 1

    def make(
        self,
        course: Course,
        built: BuiltRequest,
        key: Secret | None,
        limit: float,
        *,
        may_wait: bool = False,
        cancel: CancelToken | None = None,
        hedge: bool = False,
    ) -> Answered | Failure | Skip:
        """
        Send *built* to the provider of *course*, if its limits, its breaker and its retry budget let it.

        All that is held for the attempt, and the key's trial, ends on every way out, exceptions of any kind included.

        Args:
            course: The provider, and how it has fared in this call.
            built: The request for it.
            key: The key to send, as ``Endpoint.key_for`` admitted it.
            limit: Seconds the attempt may take.
            may_wait: Whether a place among the calls under way to the provider is waited for.
            cancel: Ends this attempt alone; the call's own token is then its parent.
            hedge: Whether another attempt is under way.

        Returns:
            The answer; the failure, everything it concerns having been told; or why nothing was sent.
        """
        endpoint, clock = course.endpoint, self._shared.clock
        entry: Entry | None = None
        try:
            counted_at = endpoint.count(key, course.model, course.tokens)
            if counted_at is None:
                return _turned_away(course, key, SENT_ENOUGH)
            entered = self._enter(course, may_wait=may_wait)
            if isinstance(entered, Refused):
                return _turned_away(course, key, entered)
            entry = entered
            course.crowded = False
            began, started_at = clock.monotonic(), clock.time()
            limits = self._limits(course, limit, cancel)
            outcome = endpoint.ask(built, endpoint.target(course.model), key, limits, counted_at)
            took = clock.monotonic() - began
            course.tries += 1
            if isinstance(outcome, Answered):
                entry.permit.success()
                entry.leave(pushback=False, tokens=outcome.answer.usage.total_tokens)
                self._succeeded(course, built, key, took)
            else:
                outcome = self._outrun(outcome, cancel)
                self._failed(course, outcome, entry, key, limit, took)
            self._record(course, outcome, key, took, started_at, hedge=hedge)
            return outcome
        except BaseException:
            if entry is not None:
                entry.abandon()
            endpoint.give_back(key, course.model)
            raise

    def _enter(self, course: Course, *, may_wait: bool) -> Entry | Refused:
        enter, repeated = course.endpoint.admission.enter, course.tries > 0
        if not may_wait:
            return enter(course.model, course.tokens, repeated=repeated)
        wait = Wait(course.wait_left, self._deadline, self._cancel)
        began = self._shared.clock.monotonic()
        try:
            return enter(course.model, course.tokens, repeated=repeated, wait=wait)
        finally:
            course.wait_left -= self._shared.clock.monotonic() - began

    def _outrun(self, failure: Failure, cancel: CancelToken | None) -> Failure:
        """*failure*, or in other words that the attempt lost against another one of the same call."""
        called_off = self._cancel is not None and self._cancel.cancelled
        if failure.fault is not Fault.CANCELLED or cancel is None or called_off:
            return failure
        return msgspec.structs.replace(failure, message=_OUTRUN)

    def _limits(self, course: Course, limit: float, cancel: CancelToken | None) -> Limits:
        config = course.endpoint.config
        return Limits(
            deadline=self._deadline.sooner(limit),
            connect_timeout=min(config.connect_timeout, limit),
            max_bytes=config.max_answer_bytes,
            cancel=cancel or self._cancel,
        )

    def _succeeded(self, course: Course, built: BuiltRequest, key: Secret | None, took: float) -> None:
        course.endpoint.succeeded(key, course.model, took)
        if course.dropped:
            dropped = course.dropped.get(course.model, frozenset())
            course.endpoint.learn_refusals(course.model, dropped, built.adjustments)

    def _failed(
        self, course: Course, failure: Failure, entry: Entry, key: Secret | None, limit: float, took: float
    ) -> None:
        """Tell the breaker, and leave alone what the fault put out of use."""
        effect = _effect(course, failure, limit)
        if effect is BreakerEffect.NEUTRAL:
            entry.permit.release()
        else:
            # One poison prompt must not open every breaker: one strike a call. A failed probe reopens all the same.
            soft = effect is BreakerEffect.SOFT or course.struck
            course.struck = course.struck or not soft
            entry.permit.failure(failure.message, soft=soft, retry_after=failure.retry_after)
        entry.leave(pushback=True if failure.fault in _PUSHBACK else None)
        course.endpoint.failed(failure.fault, took)
        if failure.fault is not Fault.CANCELLED:
            self.last_failure = course.endpoint.name, failure
        put_off = course.endpoint.put_off(failure, key, course.model)
        if put_off is not None:
            self._shared.reporter.emit(put_off)

    def _record(
        self,
        course: Course,
        outcome: Answered | Failure,
        key: Secret | None,
        took: float,
        started_at: float,
        *,
        hedge: bool,
    ) -> None:
        attempt = _receipt_line(course, outcome, key, took, started_at, self.round, hedge=hedge)
        self.made.append(attempt)
        course.endpoint.record(attempt)
        reporter = self._shared.reporter
        if attempt.fault is not None or reporter.wants_successes():
            reporter.emit(AttemptFinished(at=started_at + took, call_id=self._call_id, attempt=attempt))

    def unreported(self, course: Course, key: Secret | None, started_at: float) -> None:
        """Write the line of a hedge that has lost and whose end is not waited for."""
        self.made.append(
            Attempt(
                provider=course.endpoint.name,
                model=course.model,
                key="" if key is None else key.fingerprint,
                round=self.round,
                phase=Phase.WAIT,
                fault=Fault.CANCELLED,
                message=f"{_OUTRUN}; its end was not waited for",
                latency_ms=max(0.0, self._shared.clock.time() - started_at) * 1000,
                started_at=started_at,
                maybe_billed=True,
                hedge=True,
            )
        )


def out_of_budget(course: Course) -> Skip:
    """Give the provider up for this call: nobody has paid for another try."""
    return _skip(course, OUT_OF_BUDGET)


def _turned_away(course: Course, key: Secret | None, refused: Refused) -> Skip:
    """Nothing was sent, so *key* was not put to the test either."""
    course.endpoint.give_back(key, course.model)
    return _skip(course, refused)


def _skip(course: Course, refused: Refused) -> Skip:
    """Take note of a refusal for the rest of the call."""
    course.over = course.over or refused is OUT_OF_BUDGET
    course.crowded = refused.reason is SkipReason.BULKHEAD
    return course.skip_refused(refused)


def _effect(course: Course, failure: Failure, limit: float) -> BreakerEffect:
    """The table's effect; none if the provider was only asked in too great a hurry."""
    config = course.endpoint.config
    own_limit = {Fault.TIMEOUT: config.timeout, Fault.CONNECT_TIMEOUT: config.connect_timeout}.get(failure.fault)
    if own_limit is not None and not to_blame(limit=limit, own_limit=own_limit, usual=course.endpoint.latency.p95):
        return BreakerEffect.NEUTRAL
    return REACTIONS[failure.fault].breaker


def _receipt_line(
    course: Course,
    outcome: Answered | Failure,
    key: Secret | None,
    took: float,
    started_at: float,
    number: int,
    *,
    hedge: bool,
) -> Attempt:
    line = Attempt(
        provider=course.endpoint.name,
        model=course.model,
        key="" if key is None else key.fingerprint,
        round=number,
        status=outcome.status,
        request_id=outcome.request_id,
        latency_ms=took * 1000,
        started_at=started_at,
        bytes_received=outcome.bytes_received,
        usage=outcome.answer.usage if isinstance(outcome, Answered) else None,
        hedge=hedge,
    )
    if isinstance(outcome, Answered):
        return line
    return msgspec.structs.replace(
        line,
        phase=outcome.phase,
        fault=outcome.fault,
        message=outcome.message,
        retry_after=outcome.retry_after,
        maybe_billed=outcome.maybe_billed,
    )
