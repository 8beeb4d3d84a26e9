"""
One call on its way over the providers: whom to ask next, how long to let it try, when to give up.

Nothing here is shared between calls; what is shared lies in the :class:`failsafe.endpoint.Endpoint`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import msgspec

from failsafe.backoff import calculate_delay
from failsafe.breaker import Permit
from failsafe.clock import Clock, Random
from failsafe.config import RouterConfig
from failsafe.cooldown import Blocked
from failsafe.deadline import CancelToken, Deadline
from failsafe.endpoint import Answered, Endpoint
from failsafe.errors import AllProvidersFailed, CallFailed, Cancelled, DeadlineExceeded
from failsafe.events import AttemptFinished, CircuitState, ModelSubstituted
from failsafe.faults import REACTIONS, BreakerEffect, Fault, NextStep, Scope
from failsafe.model_names import same_model
from failsafe.models import Attempt, ChatRequest, Failure, Reply, Skip, SkipReason
from failsafe.patience import attempt_limit, to_blame
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.receipt import report
from failsafe.request import check_size
from failsafe.secret import Secret
from failsafe.selection import by_priority
from failsafe.telemetry.reporter import Reporter
from failsafe.transport.base import Limits

_OF_THE_MODEL = (Fault.MODEL, Fault.PERMISSION)
_SILENCE = (Fault.TIMEOUT, Fault.CONNECT_TIMEOUT)


class Candidate(NamedTuple):
    """One provider and the model ids it may be asked for, the preferred one first."""

    endpoint: Endpoint
    models: tuple[str, ...]

    @property
    def priority(self) -> int:
        """The provider's priority."""
        return self.endpoint.priority

    @property
    def weight(self) -> float:
        """The provider's weight."""
        return self.endpoint.weight


class Shared(NamedTuple):
    """What all calls of a router have in common."""

    config: RouterConfig
    clock: Clock
    random: Random
    reporter: Reporter


class Course:
    """How one provider has fared in one call."""

    __slots__ = ("dropped", "endpoint", "models", "over", "quick_retries", "struck", "tries")

    def __init__(self, candidate: Candidate) -> None:
        self.endpoint = candidate.endpoint
        self.models = candidate.models
        self.tries = 0
        self.quick_retries = 0
        self.struck = False
        """This call has counted against the provider's breaker already."""
        self.dropped: frozenset[str] = frozenset()
        """Parameters left out because the target refused them in this call."""
        self.over = False
        """Not to be asked again in this call."""

    @property
    def model(self) -> str:
        """The model id it would be asked for now."""
        return self.models[0]

    def next_model(self) -> bool:
        """Go on with the alias's next model here; without one the provider is done with."""
        self.over = len(self.models) == 1
        self.models = self.models[1:] or self.models
        return not self.over


class Admission(NamedTuple):
    """Everything a request needs to be sent; whoever holds it must settle the permit."""

    built: BuiltRequest
    key: Secret | None
    permit: Permit


class Failover:
    """
    One call: rounds over the providers until one answers or the call must end.

    Not thread-safe; it lives in the thread of its call.

    Args:
        request: What is asked.
        candidates: The providers that serve the model.
        deadline: When the call must have ended.
        cancel: Ends it from another thread, or None.
        call_id: Names the call in events and logs.
        shared: The router's settings, clock, chance and reporter.
    """

    __slots__ = (
        "_attempts", "_call_id", "_cancel", "_courses", "_deadline", "_last_failure",
        "_request", "_round", "_shared", "_skipped", "_started",
    )  # fmt: skip

    def __init__(
        self,
        request: ChatRequest,
        candidates: Sequence[Candidate],
        deadline: Deadline,
        cancel: CancelToken | None,
        call_id: str,
        shared: Shared,
    ) -> None:
        self._request = request
        self._deadline = deadline
        self._cancel = cancel
        self._call_id = call_id
        self._shared = shared
        self._courses = [Course(candidate) for candidate in by_priority(candidates, shared.random)]
        self._attempts: list[Attempt] = []
        self._skipped: dict[str, Skip] = {}
        self._last_failure: tuple[str, Failure] | None = None
        self._round = 1
        self._started = shared.clock.monotonic()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The receipt so far."""
        return tuple(self._attempts)

    @property
    def latency_ms(self) -> float:
        """Milliseconds since the call began."""
        return (self._shared.clock.monotonic() - self._started) * 1000

    def run(self) -> Reply:
        """
        Ask until someone answers.

        Raises:
            AllProvidersFailed: Nobody did, and no further try is allowed.
            DeadlineExceeded: The time was up first.
            Cancelled: The token was cancelled.
            ProviderFault: A fault that no other provider would mend.
        """
        while True:
            asked_before = len(self._attempts)
            for position, course in enumerate(self._courses):
                if not course.over:
                    reply = self._ask(course, self._courses[position + 1 :])
                    if reply is not None:
                        return reply
            self._wait_for_next_round(anyone_asked=len(self._attempts) > asked_before)

    def _ask(self, course: Course, later: Sequence[Course]) -> Reply | None:
        """Ask one provider, again while that makes sense at once; None: on to the next."""
        while True:
            self._check_time()
            admission = self._admit(course)
            if admission is None:
                return None
            outcome = self._attempt(course, admission, later)
            if isinstance(outcome, Answered):
                return self._reply(course, admission.built, outcome)
            if not self._again_at_once(course, outcome):
                return None

    def _check_time(self) -> None:
        if self._cancel is not None and self._cancel.cancelled:
            self._end(Cancelled, "the call was cancelled")
        if self._deadline.expired:
            self._end(DeadlineExceeded, f"no answer within the deadline of {self._deadline.timeout:.3g} s")

    # Admission: everything that can refuse does so before the breaker's permit is taken.

    def _admit(self, course: Course) -> Admission | None:
        if course.tries > course.endpoint.config.max_retries:
            course.over = True
            self._skip(course, SkipReason.TRIES_USED_UP, f"tried {course.tries} times in this call")
            return None
        if _plainly_open(course.endpoint):
            self._skip_open(course)
            return None
        built = self._build(course)
        if built is None:
            return None
        key = course.endpoint.key_for(course.model)
        if isinstance(key, Blocked):
            self._skip_blocked(course, key)
            return self._admit(course) if key.fault in _OF_THE_MODEL and course.next_model() else None
        permit = self._permit(course)
        if permit is None:
            course.endpoint.give_back(key, course.model)
            return None
        return Admission(built, key, permit)

    def _permit(self, course: Course) -> Permit | None:
        if course.tries and not course.endpoint.budget.try_spend():
            course.over = True
            self._skip(course, SkipReason.RETRY_BUDGET, "its retry budget is used up")
            return None
        permit = course.endpoint.breaker.try_acquire()
        if permit is None:
            self._skip_open(course)
        return permit

    def _build(self, course: Course) -> BuiltRequest | None:
        target = course.endpoint.target(course.model)
        if course.dropped:
            target = msgspec.structs.replace(target, refused=target.refused | course.dropped)
        lacking = ""
        try:
            built = course.endpoint.dialect.build(self._request, target)
        except CannotExpress as reason:
            lacking = str(reason)
        if lacking:
            course.over = True
            self._skip(course, SkipReason.CANNOT_EXPRESS, lacking)
            return None
        check_size(built.body, self._shared.config.max_request_bytes, self._request)
        return built

    def _skip(self, course: Course, reason: SkipReason, detail: str, retry_after: float | None = None) -> None:
        self._skipped[course.endpoint.name] = Skip(
            provider=course.endpoint.name, model=course.model, reason=reason, detail=detail, retry_after=retry_after
        )

    def _skip_open(self, course: Course) -> None:
        breaker = course.endpoint.breaker
        retry_after = breaker.retry_after
        when = "" if retry_after is None else f", next probe in {retry_after:.3g} s"
        self._skip(course, SkipReason.BREAKER_OPEN, f"its circuit breaker is {breaker.state}{when}", retry_after)

    def _skip_blocked(self, course: Course, blocked: Blocked) -> None:
        reason = {
            Fault.AUTH: SkipReason.KEY_OFF,
            Fault.QUOTA: SkipReason.KEY_OFF,
            Fault.PERMISSION: SkipReason.MODEL_OFF,
            Fault.MODEL: SkipReason.MODEL_OFF,
            Fault.MISCONFIGURED: SkipReason.PROVIDER_OFF,
        }.get(blocked.fault, SkipReason.COOLING)
        detail = f"left alone for another {blocked.retry_after:.3g} s ({blocked.fault}: {blocked.message})"
        self._skip(course, reason, detail, blocked.retry_after)

    # One attempt.

    def _attempt(self, course: Course, admission: Admission, later: Sequence[Course]) -> Answered | Failure:
        endpoint, key, clock = course.endpoint, admission.key, self._shared.clock
        limit = self._patience(endpoint, later)
        began, started_at = clock.monotonic(), clock.time()
        outcome: Answered | Failure | None = None
        try:
            outcome = endpoint.ask(admission.built, endpoint.target(course.model), key, self._limits(endpoint, limit))
        finally:
            if outcome is None:  # interrupted: says nothing about the provider
                admission.permit.release()
                endpoint.give_back(key, course.model)
        took = clock.monotonic() - began
        course.tries += 1
        if isinstance(outcome, Answered):
            admission.permit.success()
            endpoint.succeeded(key, course.model, took)
        else:
            self._settle(course, outcome, admission.permit, limit)
            self._put_off(course, outcome, key)
            self._last_failure = endpoint.name, outcome
        self._record(course, outcome, key, took, started_at)
        return outcome

    def _patience(self, endpoint: Endpoint, later: Sequence[Course]) -> float:
        """Seconds that *endpoint* may take, so that those *later* in the round get their turn."""
        return attempt_limit(
            left=self._deadline.left,
            whole=self._deadline.timeout,
            own_limit=endpoint.config.timeout,
            waiting=[other.endpoint.latency.p95 for other in later if _may_be_asked(other)],
        )

    def _limits(self, endpoint: Endpoint, limit: float) -> Limits:
        return Limits(
            deadline=self._deadline.sooner(limit),
            connect_timeout=min(endpoint.config.connect_timeout, limit),
            max_bytes=endpoint.config.max_answer_bytes,
            cancel=self._cancel,
        )

    def _settle(self, course: Course, failure: Failure, permit: Permit, limit: float) -> None:
        """Tell the breaker."""
        effect = self._effect(course, failure, limit)
        if effect is BreakerEffect.NEUTRAL:
            permit.release()
        elif effect is BreakerEffect.SOFT or course.struck:
            permit.failure(failure.message, soft=True)
        else:
            course.struck = True  # one poison prompt must not open every breaker: one strike a call
            permit.failure(failure.message, retry_after=failure.retry_after)

    def _effect(self, course: Course, failure: Failure, limit: float) -> BreakerEffect:
        endpoint = course.endpoint
        hurried = failure.fault in _SILENCE and not to_blame(
            limit=limit, own_limit=endpoint.config.timeout, usual=endpoint.latency.p95
        )
        return BreakerEffect.NEUTRAL if hurried else REACTIONS[failure.fault].breaker

    def _put_off(self, course: Course, failure: Failure, key: Secret | None) -> None:
        """Leave alone what the fault put out of use, and tell of it."""
        put_off = course.endpoint.put_off(failure, key, course.model)
        if put_off is not None:
            self._shared.reporter.emit(put_off)

    def _record(
        self, course: Course, outcome: Answered | Failure, key: Secret | None, took: float, started_at: float
    ) -> None:
        attempt = _receipt_line(course, outcome, key, took, started_at, self._round)
        self._attempts.append(attempt)
        course.endpoint.record(attempt)
        if attempt.fault is not None or self._shared.reporter.wants_successes():
            self._shared.reporter.emit(AttemptFinished(at=started_at + took, call_id=self._call_id, attempt=attempt))

    # What a failure means for the call.

    def _again_at_once(self, course: Course, failure: Failure) -> bool:
        """Whether to ask the same provider once more before any other. Raises what ends the call."""
        if failure.fault is Fault.CANCELLED:
            self._end(Cancelled, "the call was cancelled")
        step = self._step(failure)
        if step is NextStep.RAISE:
            raise failure.error(course.endpoint.name, self.attempts)
        if step is NextStep.WITHOUT_PARAMETER:
            return self._drop(course, failure.parameter)
        if step is NextStep.LARGER:
            return self._on_to_larger(course)
        if step is NextStep.NEXT_ONLY:
            return course.next_model()
        return self._other_key(course, failure) or self._quick_retry(course, failure)

    def _step(self, failure: Failure) -> NextStep:
        """The table's step, as the provider's ``x-should-retry`` and the caller's policy bend it."""
        step = REACTIONS[failure.fault].step
        if failure.should_retry is False and step is NextStep.NEXT and REACTIONS[failure.fault].scope is Scope.NONE:
            return NextStep.NEXT_ONLY
        if failure.should_retry and failure.fault is Fault.BAD_REQUEST:
            return NextStep.NEXT
        if failure.fault is Fault.CONTENT_FILTER and self._shared.config.failover_on_content_filter:
            return NextStep.NEXT_ONLY
        return step

    def _drop(self, course: Course, parameter: str | None) -> bool:
        """Try the same provider again without *parameter*, if the caller gave it and it may be left out."""
        given = "max_tokens" if parameter == "max_completion_tokens" else parameter
        if parameter and given in DROPPABLE and parameter not in course.dropped and given in self._request.parameters:
            course.dropped |= {parameter}
            course.endpoint.learn_refusal(course.model, parameter)
            return True
        course.over = True
        return False

    def _on_to_larger(self, failed: Course) -> bool:
        """Leave out every model that reads no more than the one that was too small; True if this provider has one."""
        too_small = failed.endpoint.target(failed.model)
        for course in self._courses:
            while not course.over and not _reads_more(course.endpoint.target(course.model), too_small):
                self._skip(course, SkipReason.CANNOT_EXPRESS, f"its context window is no larger than {failed.model}'s")
                course.next_model()
        self._skipped.pop(failed.endpoint.name, None)  # it was asked; the receipt says so
        return not failed.over

    def _other_key(self, course: Course, failure: Failure) -> bool:
        by_key = REACTIONS[failure.fault].scope in (Scope.KEY, Scope.KEY_AND_MODEL)
        if by_key and len(course.endpoint.config.keys) > 1 and course.endpoint.blocked(course.model) is None:
            course.tries -= 1  # another key's try is not a repetition of this one's
            return True
        return False

    def _quick_retry(self, course: Course, failure: Failure) -> bool:
        transient = REACTIONS[failure.fault].breaker is BreakerEffect.FAILURE or failure.fault is Fault.CONFLICT
        if transient and course.quick_retries < self._shared.config.same_provider_retries:
            course.quick_retries += 1
            return True
        return False

    # Between rounds, and the end.

    def _wait_for_next_round(self, *, anyone_asked: bool) -> None:
        """Back off, or wait for the first provider to become usable; raise when neither can help."""
        shared, retry = self._shared, self._shared.config.retry
        self._check_time()
        if self._round > retry.max_retries:
            self._leave_only_the_untried()
        soonest = min((_usable_in(course) for course in self._courses if not course.over), default=math.inf)
        backoff = calculate_delay(self._round - 1, retry, shared.random) if anyone_asked else 0.0
        pause = max(soonest, backoff)
        if soonest > retry.retry_after_cap or pause >= self._deadline.left:
            self._give_up(None if soonest == math.inf else soonest)
        event = threading.Event() if self._cancel is None else self._cancel.event
        if shared.clock.wait(event, pause):
            self._check_time()
        self._round += 1

    def _leave_only_the_untried(self) -> None:
        """The rounds are used up: only a provider that was left alone all along may still get its turn."""
        for course in self._courses:
            course.over = course.over or course.tries > 0

    def _give_up(self, retry_after: float | None) -> NoReturn:
        mistake = self._callers_mistake()
        if mistake is not None:
            raise mistake
        asked = len(self._attempts)
        headline = f"no provider answered {self._request.model!r} ({asked} attempts in {self.latency_ms:.0f} ms)"
        if retry_after:
            headline += f"; the first may be usable again in {retry_after:.3g} s"
        self._end(AllProvidersFailed, headline, retry_after)

    def _callers_mistake(self) -> Exception | None:
        """The caller's own error, if nobody found anything but that."""
        steps = (NextStep.LARGER, NextStep.WITHOUT_PARAMETER)
        if self._last_failure and all(
            attempt.fault is not None and REACTIONS[attempt.fault].step in steps for attempt in self._attempts
        ):
            provider, failure = self._last_failure
            return failure.error(provider, self.attempts)
        return None

    def _end(self, kind: type[CallFailed], headline: str, retry_after: float | None = None) -> NoReturn:
        skipped = tuple(self._skipped.values())
        raise kind(
            report(headline, self._attempts, skipped),
            attempts=self.attempts, skipped=skipped, retry_after=retry_after,
        )  # fmt: skip

    def _reply(self, course: Course, built: BuiltRequest, answered: Answered) -> Reply:
        answer = answered.answer
        model = answer.model or course.model
        if not same_model(course.model, model) and course.endpoint.notice_substitute(course.model, model):
            self._shared.reporter.emit(
                ModelSubstituted(
                    at=self._shared.clock.time(), provider=course.endpoint.name, asked_model=course.model, model=model
                )
            )
        return Reply(
            content=answer.content,
            provider=course.endpoint.name,
            model=model,
            asked_model=course.model,
            finish_reason=answer.finish_reason,
            tool_calls=answer.tool_calls,
            usage=answer.usage,
            id=answer.id,
            request_id=answered.request_id,
            refusal=answer.refusal,
            reasoning=answer.reasoning,
            latency_ms=self.latency_ms,
            attempts=self.attempts,
            skipped=tuple(self._skipped.values()),
            adjustments=built.adjustments,
            provider_data=answer.provider_data,
            raw=answer.raw,
        )


DROPPABLE = frozenset(
    {
        "temperature", "top_p", "stop", "seed", "presence_penalty", "frequency_penalty", "parallel_tool_calls",
        "reasoning_effort", "logit_bias", "logprobs", "top_logprobs", "user", "metadata", "max_tokens",
    }
)  # fmt: skip
"""Parameters whose absence changes the style of an answer, not its meaning."""


def _reads_more(target: Target, other: Target) -> bool:
    """Whether *target* may take a prompt that was too long for *other*."""
    if target.info.context_window is None or other.info.context_window is None:
        return target.model != other.model
    return target.info.context_window > other.info.context_window


def _plainly_open(endpoint: Endpoint) -> bool:
    """Whether the breaker is sure to refuse; a look that saves work, never a permission."""
    state = endpoint.breaker.state
    if state is CircuitState.FORCED_OPEN:
        return True
    return state is CircuitState.OPEN and (endpoint.breaker.retry_after or 0.0) > 0.0


def _may_be_asked(course: Course) -> bool:
    """Whether time must be kept for this provider."""
    return not (course.over or _plainly_open(course.endpoint) or course.endpoint.blocked(course.model))


def _usable_in(course: Course) -> float:
    """Seconds until a provider may be asked; infinite when only a person can change that."""
    breaker = course.endpoint.breaker
    if breaker.state is CircuitState.FORCED_OPEN:
        return math.inf
    blocked = course.endpoint.blocked(course.model)
    return max(blocked.retry_after if blocked else 0.0, breaker.retry_after or 0.0)


def _receipt_line(
    course: Course, outcome: Answered | Failure, key: Secret | None, took: float, started_at: float, number: int
) -> Attempt:
    fingerprint = "" if key is None else key.fingerprint
    if isinstance(outcome, Answered):
        return Attempt(
            provider=course.endpoint.name,
            model=course.model,
            key=fingerprint,
            round=number,
            status=outcome.status,
            request_id=outcome.request_id,
            latency_ms=took * 1000,
            started_at=started_at,
            bytes_received=outcome.bytes_received,
            usage=outcome.answer.usage,
        )
    return Attempt(
        provider=course.endpoint.name,
        model=course.model,
        key=fingerprint,
        round=number,
        phase=outcome.phase,
        fault=outcome.fault,
        message=outcome.message,
        status=outcome.status,
        request_id=outcome.request_id,
        retry_after=outcome.retry_after,
        latency_ms=took * 1000,
        started_at=started_at,
        bytes_received=outcome.bytes_received,
        maybe_billed=outcome.maybe_billed,
    )
