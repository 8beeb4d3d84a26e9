"""The attempts of one call: sends each one, and tells all whom its outcome concerns."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from failsafe.admission import OUT_OF_BUDGET, SENT_ENOUGH, Entry, Refused, Wait
from failsafe.clock import Clock, Random
from failsafe.config import RouterConfig
from failsafe.course import Course
from failsafe.deadline import CancelToken, Deadline
from failsafe.events import AttemptFinished
from failsafe.faults import REACTIONS, BreakerEffect, Fault
from failsafe.flow import Flow
from failsafe.manner import Gathered, Manner
from failsafe.models import Attempt, Failure, Phase, Skip, SkipReason
from failsafe.patience import BLAMED_AFTER, to_blame
from failsafe.providers.base import BuiltRequest
from failsafe.reading import Answered
from failsafe.request_size import RequestSize
from failsafe.secret import Secret
from failsafe.telemetry.reporter import Reporter
from failsafe.transport.base import Limits

if TYPE_CHECKING:
    from failsafe.spending import Overrun, Spending

_NO_EFFECT = BreakerEffect.NEUTRAL
_OUTRUN = "given up: another attempt was faster"
_PUSHBACK = frozenset({Fault.RATE_LIMIT, Fault.OVERLOADED, Fault.TIMEOUT})
"""Faults that say that the provider is sent too much at once."""


class Shared(NamedTuple):
    """What all calls of a router have in common; ``spending`` is None where no cap is set."""

    config: RouterConfig
    clock: Clock
    random: Random
    reporter: Reporter
    spending: Spending | None = None


class CallLabel(NamedTuple):
    """What events and logs call a call: its ``id``, and the caller's ``tag`` for it, or ""."""

    id: str
    tag: str = ""


class Opened(NamedTuple):
    """
    An attempt whose answer is on its way as a stream; :meth:`Attempts.close` ends it.

    Attributes:
        flow: The answer.
        course: The provider.
        built: The request that it answers.
        entry: What is held for the attempt.
        key: The key that was sent.
        began: On the clock's monotonic scale.
        started_at: Seconds since 1970-01-01 UTC.
    """

    flow: Flow
    course: Course
    built: BuiltRequest
    entry: Entry
    key: Secret | None
    began: float
    started_at: float


Ending = Answered | Opened | Failure | Skip
"""How an attempt ends, as far as whoever made it needs to wait."""


class Attempts:
    """
    Makes the attempts of one call and keeps their receipt. Lives in the thread of the call.

    Args:
        deadline: When the call must have ended.
        cancel: Ends it from another thread, or None.
        label: Names the call in events and logs.
        shared: The router's settings, clock, chance and reporter.
        manner: How it asks.
        size: How large the request is.

    Attributes:
        made: The receipt so far, in order.
        last_failure: The provider that failed last, and how.
        opened: The attempt whose answer is on its way as a stream, or None.
        overrun: A cap on what may be spent that kept an attempt from being made, or None.
        round: The round the call is in, from 1.
    """

    __slots__ = (
        "_cancel", "_deadline", "_label", "_manner", "_shared", "_size", "last_failure", "made", "opened", "overrun",
        "round",
    )  # fmt: skip

    def __init__(
        self,
        deadline: Deadline,
        cancel: CancelToken | None,
        label: CallLabel,
        shared: Shared,
        manner: Manner,
        size: RequestSize,
    ) -> None:
        self._deadline = deadline
        self._cancel = cancel
        self._label = label
        self._shared = shared
        self._manner = manner
        self._size = size
        self.made: list[Attempt] = []
        self.last_failure: tuple[str, Failure] | None = None
        self.opened: Opened | None = None
        self.overrun: Overrun | None = None
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
    ) -> Ending:
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
            The answer; the failure, everything it concerns having been told; why nothing was sent; or a stream
            that has shown its first content, for which all is still held.
        """
        endpoint, clock = course.endpoint, self._shared.clock
        entry: Entry | None = None
        asked: Answered | Flow | Gathered | Failure | None = None
        blamed = False
        try:
            counted_at = endpoint.count(key, course.model, course.tokens)
            if counted_at is None:
                return _turned_away(course, key, SENT_ENOUGH)
            enter = self._enter if self._shared.spending is None else self._enter_within_caps
            entered = enter(course, may_wait=may_wait)
            if isinstance(entered, Refused):
                return _turned_away(course, key, entered)
            entry = entered
            course.crowded = False
            began, started_at = clock.monotonic(), clock.time()
            limits = self._limits(course, limit, cancel)
            asked = self._manner.ask(endpoint, built, endpoint.target(course.model), key, limits, counted_at)
            took = clock.monotonic() - began
            course.tries += 1
            if isinstance(asked, Flow):
                self.opened = Opened(asked, course, built, entry, key, began, started_at)
                return self.opened
            outcome, flow = asked if isinstance(asked, Gathered) else (asked, None)
            if isinstance(outcome, Answered):
                entry.permit.success()
                entry.leave(pushback=False, tokens=outcome.answer.usage.total_tokens)
                self._succeeded(course, built, key, took)
            else:
                outcome = self._outrun(outcome, cancel)
                effect = self._effect(course, outcome, limit, flow)
                self._failed(course, outcome, entry, key, effect, took)
                blamed = effect is BreakerEffect.FAILURE
            self._record(course, outcome, entry, key, took, started_at, flow, hedge=hedge, blamed=blamed)
            return outcome
        except BaseException:
            if isinstance(asked, Flow):
                asked.close()
            if entry is not None:
                entry.abandon()
            endpoint.give_back(key, course.model)
            raise

    def close(self, opened: Opened, outcome: Answered | Failure | None) -> Attempt | None:
        """
        End an attempt whose answer came as a stream; the receipt's line about it, or None if it had ended before.

        All that is held for it is given back on every way out, as in :meth:`make`.

        Args:
            opened: The attempt.
            outcome: The whole answer; why it broke off; None: nobody wanted the rest.
        """
        if self.opened is not opened:
            return None
        self.opened = None
        flow, course = opened.flow, opened.course
        try:
            flow.close()
            outcome, blamed = self._settle(opened, outcome)
            took = self._shared.clock.monotonic() - opened.began
            line = _receipt_line(
                course, outcome, opened.key, took, opened.started_at, self.round, flow, hedge=False, blamed=blamed
            )
            if opened.entry.set_aside is not None:
                opened.entry.set_aside.settle(line)
        except BaseException:
            opened.entry.abandon()
            course.endpoint.give_back(opened.key, course.model)
            raise
        self.made.append(line)
        course.endpoint.record(line)
        return line

    def _settle(self, opened: Opened, outcome: Answered | Failure | None) -> tuple[Answered | Failure, bool]:
        """Tell all whom it concerns how a stream has ended; its outcome, and whether the provider is to blame."""
        flow, course, entry = opened.flow, opened.course, opened.entry
        first_content = flow.first_content
        if isinstance(outcome, Answered):
            entry.permit.success(first_content)
            entry.leave(pushback=False, tokens=outcome.answer.usage.total_tokens, seconds=first_content)
            course.endpoint.succeeded_streaming(opened.key, course.model, first_content)
            self._learn(course, opened.built)
            return outcome, False
        if outcome is None:
            entry.abandon()
            course.endpoint.give_back(opened.key, course.model)
            closed = Failure(
                fault=Fault.CANCELLED,
                message="closed by its reader",
                phase=Phase.READ,
                bytes_received=flow.bytes_received,
                maybe_billed=True,
            )
            return closed, False
        effect = self._effect(course, outcome, flow.limit.timeout, flow)
        self._failed(course, outcome, entry, opened.key, effect, first_content)
        return outcome, effect is BreakerEffect.FAILURE

    def tell(self, line: Attempt) -> None:
        """Report a finished attempt to the router's listeners, who may take their time."""
        reporter = self._shared.reporter
        tell = reporter.for_successes() if line.fault is None else reporter.emit
        if tell is not None:
            at, label = line.started_at + line.latency_ms / 1000, self._label
            tell(AttemptFinished(at=at, call_id=label.id, attempt=line, tag=label.tag))

    def _enter_within_caps(self, course: Course, *, may_wait: bool) -> Entry | Refused:
        """As :meth:`_enter`, with what the attempt may cost set aside for it."""
        spending, endpoint = self._shared.spending, course.endpoint
        assert spending is not None  # noqa: S101 -- looked at by whoever calls
        overrun, set_aside = spending.reserve(endpoint.name, self._size.cost_usd(endpoint.price(course.model)))
        if overrun is not None:
            self.overrun = overrun
            return Refused(SkipReason.SPEND_LIMIT, str(overrun), overrun.retry_after)
        entered: Entry | Refused | None = None
        try:
            entered = self._enter(course, may_wait=may_wait)
            return entered
        finally:
            if isinstance(entered, Entry):
                entered.set_aside = set_aside
            elif set_aside is not None:
                set_aside.release()

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
        self._manner.succeeded(course.endpoint, key, course.model, took)
        self._learn(course, built)

    def _learn(self, course: Course, built: BuiltRequest) -> None:
        if course.dropped:
            dropped = course.dropped.get(course.model, frozenset())
            course.endpoint.learn_refusals(course.model, dropped, built.adjustments)

    def _failed(
        self, course: Course, failure: Failure, entry: Entry, key: Secret | None, effect: BreakerEffect, took: float
    ) -> None:
        """Tell the breaker, and leave alone what the fault put out of use."""
        if effect is BreakerEffect.NEUTRAL:
            entry.permit.release()
        else:
            # One poison prompt must not open every breaker: one strike a call. A failed probe reopens all the same.
            soft = effect is BreakerEffect.SOFT or course.struck
            course.struck = course.struck or not soft
            entry.permit.failure(failure.message, soft=soft, retry_after=failure.retry_after)
        # A provider that was only asked in too great a hurry was not sent too much.
        pushed_back = failure.fault in _PUSHBACK and effect is not _NO_EFFECT
        entry.leave(pushback=pushed_back or None)
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
        entry: Entry,
        key: Secret | None,
        took: float,
        started_at: float,
        flow: Flow | None,
        *,
        hedge: bool,
        blamed: bool,
    ) -> None:
        attempt = _receipt_line(course, outcome, key, took, started_at, self.round, flow, hedge=hedge, blamed=blamed)
        if entry.set_aside is not None:
            entry.set_aside.settle(attempt)
        self.made.append(attempt)
        course.endpoint.record(attempt)
        self.tell(attempt)

    def _effect(self, course: Course, failure: Failure, limit: float, flow: Flow | None) -> BreakerEffect:
        """The table's effect; none if the provider was only asked in too great a hurry. *flow*: it had begun."""
        fault, endpoint = failure.fault, course.endpoint
        usual = self._manner.usual(endpoint, course.model)
        if fault is Fault.CONNECT_TIMEOUT:
            own_limit = endpoint.config.connect_timeout
        elif fault is not Fault.TIMEOUT:
            return REACTIONS[fault].breaker
        elif flow is None:
            own_limit = self._manner.own_limit(endpoint, course.model)
        else:  # silent amid its answer, which it may be for longer than before it
            limit, own_limit, usual = flow.limit.timeout, endpoint.stream.stall, max(BLAMED_AFTER, usual or 0.0)
        return REACTIONS[fault].breaker if to_blame(limit=limit, own_limit=own_limit, usual=usual) else _NO_EFFECT

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
    if refused.reason is SkipReason.SPEND_LIMIT:
        course.rule_out(course.model)
    course.crowded = refused.reason is SkipReason.BULKHEAD
    return course.skip_refused(refused)


def _receipt_line(
    course: Course,
    outcome: Answered | Failure,
    key: Secret | None,
    took: float,
    started_at: float,
    number: int,
    flow: Flow | None,
    *,
    hedge: bool,
    blamed: bool,
) -> Attempt:
    usage = rates = None
    if isinstance(outcome, Answered):
        answer = outcome.answer
        usage = answer.usage
        rates = course.endpoint.rates(course.model, started_at, usage.prompt_tokens, answer.model)
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
        usage=usage,
        hedge=hedge,
        first_content_ms=None if flow is None else flow.first_content * 1000,
        rates=rates,
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
        blamed=blamed,
    )
