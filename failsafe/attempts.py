"""The attempts of one call: sends each one, and tells all whom its outcome concerns."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from failsafe.circuit import Permit
from failsafe.clock import Clock, Random
from failsafe.config import RouterConfig
from failsafe.course import Course
from failsafe.deadline import CancelToken, Deadline
from failsafe.endpoint import Answered
from failsafe.events import AttemptFinished
from failsafe.faults import REACTIONS, BreakerEffect, Fault
from failsafe.models import Attempt, Failure, Skip, SkipReason
from failsafe.patience import to_blame
from failsafe.providers.base import BuiltRequest
from failsafe.secret import Secret
from failsafe.telemetry.reporter import Reporter
from failsafe.transport.base import Limits


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

    def make(self, course: Course, built: BuiltRequest, key: Secret | None, limit: float) -> Answered | Failure | Skip:
        """
        Send *built* to the provider of *course*, if its breaker and its retry budget let it.

        The permit and the key's trial end on every way out, exceptions of any kind included.

        Args:
            course: The provider, and how it has fared in this call.
            built: The request for it.
            key: The key to send, as ``Endpoint.key_for`` admitted it.
            limit: Seconds the attempt may take.

        Returns:
            The answer; the failure, everything it concerns having been told; or why nothing was sent.
        """
        endpoint, clock = course.endpoint, self._shared.clock
        permit: Permit | None = None
        try:
            permit = endpoint.breaker.try_acquire()
            # After the permit, since a token cannot be given back.
            if permit is None or (course.tries and not endpoint.budget.try_spend()):
                return self._refused(course, permit, key)
            began, started_at = clock.monotonic(), clock.time()
            outcome = endpoint.ask(built, endpoint.target(course.model), key, self._limits(course, limit))
            took = clock.monotonic() - began
            course.tries += 1
            if isinstance(outcome, Answered):
                permit.success()
                self._succeeded(course, built, key, took)
            else:
                self._failed(course, outcome, permit, key, limit)
            self._record(course, outcome, key, took, started_at)
            return outcome
        except BaseException:
            if permit is not None:
                permit.release()
            endpoint.give_back(key, course.model)
            raise

    def _refused(self, course: Course, permit: Permit | None, key: Secret | None) -> Skip:
        course.endpoint.give_back(key, course.model)
        if permit is None:
            return course.skip_open()
        permit.release()
        return out_of_budget(course)

    def _limits(self, course: Course, limit: float) -> Limits:
        config = course.endpoint.config
        return Limits(
            deadline=self._deadline.sooner(limit),
            connect_timeout=min(config.connect_timeout, limit),
            max_bytes=config.max_answer_bytes,
            cancel=self._cancel,
        )

    def _succeeded(self, course: Course, built: BuiltRequest, key: Secret | None, took: float) -> None:
        course.endpoint.succeeded(key, course.model, took)
        if course.dropped:
            dropped = course.dropped.get(course.model, frozenset())
            course.endpoint.learn_refusals(course.model, dropped, built.adjustments)

    def _failed(self, course: Course, failure: Failure, permit: Permit, key: Secret | None, limit: float) -> None:
        """Tell the breaker, and leave alone what the fault put out of use."""
        effect = _effect(course, failure, limit)
        if effect is BreakerEffect.NEUTRAL:
            permit.release()
        else:
            # One poison prompt must not open every breaker: one strike a call. A failed probe reopens all the same.
            soft = effect is BreakerEffect.SOFT or course.struck
            course.struck = course.struck or not soft
            permit.failure(failure.message, soft=soft, retry_after=failure.retry_after)
        self.last_failure = course.endpoint.name, failure
        put_off = course.endpoint.put_off(failure, key, course.model)
        if put_off is not None:
            self._shared.reporter.emit(put_off)

    def _record(
        self, course: Course, outcome: Answered | Failure, key: Secret | None, took: float, started_at: float
    ) -> None:
        attempt = _receipt_line(course, outcome, key, took, started_at, self.round)
        self.made.append(attempt)
        course.endpoint.record(attempt)
        reporter = self._shared.reporter
        if attempt.fault is not None or reporter.wants_successes():
            reporter.emit(AttemptFinished(at=started_at + took, call_id=self._call_id, attempt=attempt))


def out_of_budget(course: Course) -> Skip:
    """Give the provider up for this call: nobody has paid for another try."""
    course.over = True
    return course.skip(SkipReason.RETRY_BUDGET, "its retry budget is used up; successes fill it again")


def _effect(course: Course, failure: Failure, limit: float) -> BreakerEffect:
    """The table's effect; none if the provider was only asked in too great a hurry."""
    config = course.endpoint.config
    own_limit = {Fault.TIMEOUT: config.timeout, Fault.CONNECT_TIMEOUT: config.connect_timeout}.get(failure.fault)
    if own_limit is not None and not to_blame(limit=limit, own_limit=own_limit, usual=course.endpoint.latency.p95):
        return BreakerEffect.NEUTRAL
    return REACTIONS[failure.fault].breaker


def _receipt_line(
    course: Course, outcome: Answered | Failure, key: Secret | None, took: float, started_at: float, number: int
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
