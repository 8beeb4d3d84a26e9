"""
One call on its way over the providers: whom to ask next, how long to let it try, when to give up.

Nothing here is shared between calls; what is shared lies in the :class:`failsafe.endpoint.Endpoint`.
The guide is ``docs/router.md``.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NoReturn

import msgspec

from failsafe.attempts import Attempts, CallLabel, Ending, Opened, Shared, out_of_budget
from failsafe.backoff import calculate_delay
from failsafe.cooldown import Blocked
from failsafe.course import Candidate, Course
from failsafe.deadline import CancelToken, Deadline
from failsafe.durations import in_words
from failsafe.errors import (
    AllProvidersFailed,
    CallFailed,
    Cancelled,
    DeadlineExceeded,
    InvalidRequest,
    ProviderFault,
    SpendLimitReached,
)
from failsafe.events import ModelSubstituted
from failsafe.faults import AGAINST_PROVIDER, REACTIONS, Fault, NextStep, Scope
from failsafe.manner import PLAIN, Manner
from failsafe.model_names import same_model
from failsafe.models import Attempt, Failure, Skip, SkipReason
from failsafe.ordering import Arranged
from failsafe.patience import attempt_limit
from failsafe.providers.base import BuiltRequest, CannotExpress, Target
from failsafe.race import Finished, Hedges, Race, Ready, Start
from failsafe.reading import Answered
from failsafe.receipt import report
from failsafe.replies import AnyReply, Receipt
from failsafe.request import check_size
from failsafe.request_size import RequestSize

if TYPE_CHECKING:
    from failsafe.spending import Overrun

_OF_THE_MODEL = (Fault.MODEL, Fault.PERMISSION)
_OWN_ERRORS = (NextStep.RAISE, NextStep.LARGER, NextStep.WITHOUT_PARAMETER)
"""Steps after faults that say something about the request, not about the provider."""
_MAY_BE_LONG = 8_192
"""Bytes of a body from which its length is compared with what a model reads: no model reads less."""
_SHORTEST_PAUSE = 0.001
"""Seconds of pause after a round in which nobody could be asked: whoever is in the way needs time to move."""


class Failover:
    """
    One call: rounds over the providers until one answers or the call must end.

    Not thread-safe; it lives in the thread of its call.

    Args:
        request: What is asked, and how large it is.
        arranged: The providers that serve the model in the order in which to ask them, and those left out.
        deadline: When the call must have ended.
        cancel: Ends it from another thread, or None.
        label: Names the call in events and logs.
        shared: The router's settings, clock, chance and reporter.
        hedges: Starts further attempts while one is slow, or None.
        manner: How it asks: for whole answers, or for streams.

    Attributes:
        request: What is asked.
    """

    __slots__ = (
        "_attempts",
        "_cancel",
        "_courses",
        "_deadline",
        "_failed_domains",
        "_first_choices",
        "_hedges",
        "_made_before",
        "_manner",
        "_overrun",
        "_shared",
        "_size",
        "_skipped",
        "_started",
        "_too_long_for",
        "_waiting",
        "request",
    )  # fmt: skip

    def __init__(
        self,
        size: RequestSize,
        arranged: Arranged,
        deadline: Deadline,
        cancel: CancelToken | None,
        label: CallLabel,
        shared: Shared,
        hedges: Hedges | None = None,
        manner: Manner = PLAIN,
    ) -> None:
        self.request = size.request
        self._size = size
        self._deadline = deadline
        self._cancel = cancel
        self._shared = shared
        self._courses = [Course(candidate, self._tokens(candidate)) for candidate in arranged.candidates]
        self._manner = manner
        self._attempts = Attempts(deadline, cancel, label, shared, manner, size)
        self._overrun = arranged.overrun
        self._waiting = self._courses.copy()
        """Those that have not had their turn in this round."""
        self._made_before = 0
        """How many attempts were made before this round."""
        self._skipped: dict[str, Skip] = {skip.provider: skip for skip in arranged.skipped}
        self._first_choices = True
        """Whether an alias's best model is held to, or whichever is free is taken rather than waited for."""
        self._failed_domains: frozenset[str] = frozenset()
        self._too_long_for: frozenset[tuple[str, str]] | None = None
        self._hedges = hedges
        self._started = shared.clock.monotonic()

    def _tokens(self, candidate: Candidate) -> float:
        return self._size.tokens if candidate.endpoint.admission.counts_tokens() else 0.0

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        """The receipt so far."""
        made = self._attempts.made
        return tuple(made if self._hedges is None else sorted(made, key=lambda attempt: attempt.started_at))

    @property
    def tally(self) -> tuple[int, int]:
        """How many attempts were made so far, and how many of them failed and may be charged for all the same."""
        made = self._attempts.made
        if len(made) == 1:  # as most calls
            return 1, int(made[0].maybe_billed)
        return len(made), sum(attempt.maybe_billed for attempt in made)

    @property
    def time_left(self) -> float:
        """Seconds until the call must have ended; may be infinite."""
        return self._deadline.left

    @property
    def timeout(self) -> float:
        """Seconds that the call was given."""
        return self._deadline.timeout

    @property
    def out_of_time(self) -> bool:
        """Whether the call's deadline has ended, or ends in this moment."""
        return self._deadline.left < _SHORTEST_PAUSE

    @property
    def latency_ms(self) -> float:
        """Milliseconds since the call began."""
        return (self._shared.clock.monotonic() - self._started) * 1000

    def run(self) -> AnyReply | Opened:
        """
        Ask until someone answers; where streams are asked for, until one has shown its first content.

        After a stream that broke off (:meth:`goes_on_after`) it goes on where it had stopped.

        Raises:
            AllProvidersFailed: Nobody did, and no further try is allowed.
            DeadlineExceeded: The time was up first.
            Cancelled: The token was cancelled.
            ProviderFault: A fault that no other provider would mend.
        """
        while True:
            waiting = self._waiting
            while waiting:
                course = self._next_of(waiting)
                if not course.over and not (course.rests_until and self._rests(course)):
                    reply = self._ask(course, waiting)
                    if reply is not None:
                        return reply
            made = len(self._attempts.made)
            self._wait_for_next_round(anyone_asked=made > self._made_before)
            self._made_before = made
            self._waiting = self._courses.copy()

    def close(self, opened: Opened, outcome: Answered | Failure | None) -> Attempt | None:
        """
        End a streamed attempt: with its whole answer, with why it broke off, or because nobody wants the rest.

        Returns:
            The receipt's line about it; None: it had ended before.
        """
        return self._attempts.close(opened, outcome)

    def abandon(self) -> Attempt | None:
        """Close a stream that was opened and that nobody has taken over; the receipt's line about it."""
        opened = self._attempts.opened
        return None if opened is None else self._attempts.close(opened, None)

    def tell(self, line: Attempt | None) -> None:
        """Report a finished attempt to the router's listeners; None: there is none to report."""
        if line is not None:
            self._attempts.tell(line)

    def goes_on_after(self, opened: Opened, failure: Failure) -> None:
        """
        Draw the conclusions of a stream that broke off, so that :meth:`run` asks the next provider.

        Raises:
            Cancelled: The token was cancelled.
            ProviderFault: A fault that no other provider would mend.
        """
        course = opened.course
        self._skipped.pop(course.endpoint.name, None)
        if self._again_at_once(course, opened.built, failure):
            self._waiting.insert(0, course)
        else:
            self._retire_if_tried_enough(course)

    def report(self, headline: str) -> str:
        """The text of an error about this call: a line an attempt, a line a provider left alone, and what to do."""
        return report(headline, self._attempts.made, tuple(self._skipped.values()))

    @property
    def skipped(self) -> tuple[Skip, ...]:
        """The providers left alone so far, and why."""
        return tuple(self._skipped.values())

    def _next_of(self, waiting: list[Course]) -> Course:
        """Take the next in order, but for one that would fail together with one that has failed."""
        if self._failed_domains:
            for position, course in enumerate(waiting):
                if course.is_apart_from(self._failed_domains) and course.may_be_asked():
                    return waiting.pop(position)
        return waiting.pop(0)

    def _ask(self, course: Course, later: list[Course]) -> AnyReply | Opened | None:
        """Ask one provider, again while that makes sense at once; None: on to the next."""
        while True:
            self._check_time()
            ready = self._prepare(course)
            if ready is None:
                return None
            # Who is the last to be asked is worth a wait for a place among the calls under way to it.
            may_wait = course.wait_left > 0.0 and not any(other.may_be_asked() for other in later)
            outcome: AnyReply | Ending
            try:
                if self._hedges is None:
                    outcome = self._attempts.make(
                        course, ready.built, ready.key, self._patience(course, later), may_wait=may_wait
                    )
                else:
                    outcome = self._ask_hedged(self._hedges, course, ready, later, may_wait=may_wait)
            except BaseException:  # interrupted, perhaps before the attempt that would have seen to this
                course.endpoint.give_back(ready.key, course.model)
                raise
            if isinstance(outcome, Answered):
                return self.reply(course, ready.built, outcome)
            if isinstance(outcome, Skip):
                self._skip(outcome)
                return None
            if not isinstance(outcome, Failure):
                return outcome
            self._skipped.pop(course.endpoint.name, None)  # it was asked after all
            if not self._again_at_once(course, ready.built, outcome):
                break
        self._retire_if_tried_enough(course)
        return None

    def _ask_hedged(
        self, hedges: Hedges, course: Course, ready: Ready, later: list[Course], *, may_wait: bool
    ) -> AnyReply | Opened | Failure | Skip:
        """As one attempt, with others of *later* beside it once it is slow; they are taken out of *later*."""
        choose = partial(self._choose_hedge, tuple(later), course.endpoint.config.failure_domains)
        race = Race(hedges, self._attempts, choose, self._deadline, self._cancel, self._shared.clock)
        ended = race.run(Start(course, ready, self._patience(course, later)), may_wait=may_wait)
        if isinstance(ended.outcome, Answered):
            return self.reply(ended.course, ended.built, ended.outcome)
        for hedge in race.finished:
            if not self._again_after_hedge(hedge):
                later.remove(hedge.course)
        return ended.outcome

    def _choose_hedge(
        self, later: Sequence[Course], domains: Sequence[str], claimed: Collection[Course]
    ) -> Start | None:
        """Whom to ask beside those *claimed*: the first that may be asked, sooner one that shares none of *domains*."""
        free = [each for each in later if each not in claimed and each.may_be_asked() and not self._rests(each)]
        for course in sorted(free, key=lambda each: not each.is_apart_from(domains)):
            ready = None
            with suppress(InvalidRequest):  # whoever is asked in this call's own thread says so to the caller
                ready = self._prepare(course)
            if ready is not None:
                return Start(course, ready, self._patience(course, [each for each in free if each is not course]))
        return None

    def _again_after_hedge(self, hedge: Finished) -> bool:
        """Whether the provider of a hedge that brought no answer is to be asked again in this round."""
        course, built, outcome = hedge
        again = False
        if isinstance(outcome, Skip):
            self._skip(outcome)
        elif isinstance(outcome, Failure) and (outcome.fault is not Fault.CANCELLED or self._called_off):
            self._skipped.pop(course.endpoint.name, None)
            again = self._again_at_once(course, built, outcome)
        self._retire_if_tried_enough(course)
        return again and not course.over

    @property
    def _called_off(self) -> bool:
        """Whether it was the caller who has cancelled, and not this call that wanted no more of a hedge."""
        return self._cancel is not None and self._cancel.cancelled

    def _check_time(self) -> None:
        if self._called_off:
            self._end(Cancelled, "the call was cancelled")
        if self._deadline.expired:
            self._end(DeadlineExceeded, f"no answer within the deadline of {in_words(self._deadline.timeout)}")

    # Before an attempt: everything that can refuse without the breaker's permit.

    def _prepare(self, course: Course) -> Ready | None:
        """The request for the first of the provider's models that can be asked now."""
        for model in course.models:
            course.model = model
            if course.plainly_open(model):
                self._skip(course.skip_open())
                if self._first_choices:
                    return None
                continue
            built = self._build(course)
            if built is None:
                continue
            key = course.endpoint.key_for(model, course.tokens)
            if not isinstance(key, Blocked):
                return Ready(built, key)
            self._skip(course.skip_blocked(key))
            if self._first_choices and key.fault not in _OF_THE_MODEL:
                return None
        return None

    def _build(self, course: Course) -> BuiltRequest | None:
        """The request in the provider's dialect; None, and the model is ruled out, if it cannot be put so."""
        target = course.endpoint.target(course.model)
        if course.dropped:
            refused = target.refused | course.dropped.get(course.model, frozenset())
            target = msgspec.structs.replace(target, refused=refused)
        lacking = ""
        try:
            built = self._manner.build(course.endpoint, self.request, target)
            check_size(built.body, self._shared.config.max_request_bytes, self.request)
            if len(built.body) < _MAY_BE_LONG or not self._is_too_long_for(course):
                return built
            lacking = (
                f"about {self._size.tokens:,} tokens are more than the {target.info.context_window:,} that it reads"
            )
        except CannotExpress as reason:
            lacking = str(reason)
        except InvalidRequest as error:
            error.attempts = self.attempts
            raise
        self._skip(course.skip(SkipReason.CANNOT_EXPRESS, lacking))
        course.rule_out(course.model)
        return None

    def _is_too_long_for(self, course: Course) -> bool:
        """Whether the request is known to be longer than this model reads, and not longer than another one does."""
        if self._too_long_for is None:
            targets = [(each.endpoint.name, model, each.endpoint.target(model).info)
                       for each in self._courses for model in each.models]  # fmt: skip
            long = frozenset((name, model) for name, model, info in targets if not self._size.fits(info))
            # An estimate must not refuse what nobody else could answer either.
            self._too_long_for = long if len(long) < len(targets) else frozenset()
        return (course.endpoint.name, course.model) in self._too_long_for

    def _patience(self, course: Course, later: Sequence[Course]) -> float:
        """Seconds that the provider may take, so that those *later* in the round get their turn."""
        return attempt_limit(
            left=self._deadline.left,
            whole=self._deadline.timeout,
            own_limit=self._manner.own_limit(course.endpoint, course.model),
            waiting=[self._manner.needs(other.endpoint, other.model) for other in later if other.may_be_asked()],
        )

    def _skip(self, skip: Skip) -> None:
        self._skipped[skip.provider] = skip

    # After a failure: what it means for the call.

    def _again_at_once(self, course: Course, built: BuiltRequest, failure: Failure) -> bool:
        """Whether to ask the same provider once more before any other. Raises what ends the call."""
        if failure.fault is Fault.CANCELLED:
            self._end(Cancelled, "the call was cancelled")
        if failure.fault in AGAINST_PROVIDER:
            self._failed_domains = self._failed_domains.union(course.endpoint.config.failure_domains)
        step = self._step(failure)
        if step is NextStep.RAISE:
            raise failure.error(course.endpoint.name, self.attempts)
        if step is NextStep.WITHOUT_PARAMETER:
            return self._drop(course, built, failure.parameter)
        if step is NextStep.LARGER:
            return self._on_to_larger(course)
        if self._other_key(course, failure):
            return True
        if failure.fault in _OF_THE_MODEL:
            return self._without_model(course)
        course.over = course.over or step is NextStep.NEXT_ONLY
        return not course.over and self._quick_retry(course, failure)

    def _step(self, failure: Failure) -> NextStep:
        """The table's step, as the provider's ``x-should-retry`` and the caller's policy bend it."""
        step = REACTIONS[failure.fault].step
        if failure.should_retry is False and step is NextStep.NEXT:
            return NextStep.NEXT_ONLY
        if failure.should_retry and failure.fault is Fault.BAD_REQUEST:
            return NextStep.NEXT
        if failure.fault is Fault.CONTENT_FILTER and self._shared.config.failover_on_content_filter:
            return NextStep.NEXT_ONLY
        return step

    def _without_model(self, course: Course) -> bool:
        """Go on with the alias's next model here; without one the provider is done with."""
        course.rule_out(course.model)
        course.forgive()
        return not course.over

    def _drop(self, course: Course, built: BuiltRequest, parameter: str | None) -> bool:
        """Try the same provider without *parameter*, if the dialect can leave it out; else its next model."""
        model, dropped = course.model, course.dropped.get(course.model, frozenset())
        if parameter is not None and parameter not in dropped:
            course.dropped[model] = dropped | {parameter}
            without = self._build(course)
            if without is not None and without.body != built.body:
                course.forgive()
                return True
        return self._without_model(course)

    def _on_to_larger(self, failed: Course) -> bool:
        """Rule out every model that reads no more than the one that was too small; True if another is left here."""
        too_small = failed.endpoint.target(failed.model)
        for course in self._courses:
            for model in course.models:
                if not _reads_more(course.endpoint.target(model), too_small):
                    course.rule_out(model)
            if not course.models and not course.tries:
                detail = f"its context window is no larger than {failed.model}'s"
                self._skip(course.skip(SkipReason.CANNOT_EXPRESS, detail))
        failed.forgive()
        return not failed.over

    def _other_key(self, course: Course, failure: Failure) -> bool:
        """Whether another key may do at once what this one may not."""
        by_key = REACTIONS[failure.fault].scope in (Scope.KEY, Scope.KEY_AND_MODEL)
        if not by_key or course.keys_left <= 0 or course.endpoint.blocked(course.model, course.tokens) is not None:
            return False
        course.keys_left -= 1
        course.forgive()
        return True

    def _quick_retry(self, course: Course, failure: Failure) -> bool:
        transient = failure.fault in AGAINST_PROVIDER or failure.fault is Fault.CONFLICT
        if not transient or course.quick_retries >= self._shared.config.same_provider_retries:
            return False
        course.quick_retries += 1
        self._retire_if_tried_enough(course)
        return not course.over

    def _retire_if_tried_enough(self, course: Course) -> None:
        allowed = course.endpoint.config.max_retries
        if course.tries > allowed and not course.over:
            course.over = True
            detail = f"no further try in one call (max_retries = {allowed})"
            self._skip(course.skip(SkipReason.TRIES_USED_UP, detail))

    # Between rounds, and the end.

    def _wait_for_next_round(self, *, anyone_asked: bool) -> None:
        """Back off, or wait for the first provider to become usable; raise when neither can help."""
        self._check_time()
        self._retire_the_hopeless()
        if anyone_asked:
            self._rest_the_tried()
            self._attempts.round += 1
        now = self._shared.clock.monotonic()
        left = [course for course in self._courses if not course.over]
        waits = [(course.free_in(by_itself=True), course.rests_until - now) for course in left]
        soonest = min((free_in for free_in, _ in waits), default=math.inf)
        pause = max(min(map(max, waits), default=math.inf), 0.0 if anyone_asked else _SHORTEST_PAUSE)
        if soonest > self._shared.config.retry.retry_after_cap or pause >= self._deadline.left:
            self._give_up()
        self._sleep(pause)
        self._first_choices = False

    def _rest_the_tried(self) -> None:
        """Begin the backoff of a failed round; who was not asked yet is owed none."""
        shared = self._shared
        until = shared.clock.monotonic() + calculate_delay(self._attempts.round - 1, shared.config.retry, shared.random)
        for course in self._courses:
            if course.tries and not self._rests(course):
                course.rests_until = until

    def _rests(self, course: Course) -> bool:
        # The margin is for rounding, and for a wait that ends a hair too early.
        return course.rests_until - self._shared.clock.monotonic() > _SHORTEST_PAUSE

    def _sleep(self, seconds: float) -> None:
        event = threading.Event() if self._cancel is None else self._cancel.event
        if self._shared.clock.wait(event, seconds):
            self._check_time()

    def _retire_the_hopeless(self) -> None:
        """Who may not be tried again is not worth a wait; who was left alone all along still gets its turn."""
        rounds_used_up = self._attempts.round > self._shared.config.retry.max_retries
        for course in self._courses:
            if not course.tries or course.over:
                continue
            if rounds_used_up:
                course.over = True
            elif course.endpoint.admission.budget.available < 1:
                self._skip(out_of_budget(course))

    def _give_up(self) -> NoReturn:
        mistake = self._callers_mistake()
        if mistake is not None:
            raise mistake
        overrun = self._attempts.overrun or self._overrun
        if overrun is not None and self._only_money_is_short():
            self._end_for_want_of_money(overrun)
        soonest = min((course.free_in() for course in self._courses if course.models), default=math.inf)
        retry_after = soonest if 0 < soonest < math.inf else None
        asked = len(self._attempts.made)
        headline = (
            f"no provider answered {self.request.model!r} "
            f"({asked} attempt{'' if asked == 1 else 's'} in {self.latency_ms:.0f} ms)"
        )
        if retry_after is not None:
            headline += f"; the first may be usable again in {in_words(retry_after)}"
        self._end(AllProvidersFailed, headline, retry_after)

    def _only_money_is_short(self) -> bool:
        """Whether nobody was asked, and nobody could be but for a cap on what may be spent."""
        return not self._attempts.made and not any(course.models for course in self._courses)

    def _end_for_want_of_money(self, overrun: Overrun) -> NoReturn:
        skipped = tuple(self._skipped.values())
        headline = f"a cap on what may be spent leaves nobody to ask for {self.request.model!r}; nothing was sent"
        raise SpendLimitReached(
            f"{report(headline, (), skipped)}\n  => {overrun.advice}",
            skipped=skipped, retry_after=overrun.retry_after, cap=overrun.cap, limit=overrun.limit,
            spent=overrun.spent, estimate=overrun.estimate, resets_at=overrun.resets_at,
        )  # fmt: skip

    def _callers_mistake(self) -> ProviderFault | None:
        """The caller's own error, if nobody found anything but that and nobody is left who might not."""
        if self._attempts.last_failure is None or not all(course.over for course in self._courses):
            return None
        if any(attempt.fault and REACTIONS[attempt.fault].step not in _OWN_ERRORS for attempt in self._attempts.made):
            return None
        provider, failure = self._attempts.last_failure
        return failure.error(provider, self.attempts)

    def _end(self, kind: type[CallFailed], headline: str, retry_after: float | None = None) -> NoReturn:
        skipped = tuple(self._skipped.values())
        raise kind(
            report(headline, self._attempts.made, skipped),
            attempts=self.attempts, skipped=skipped, retry_after=retry_after,
        )  # fmt: skip

    def reply(self, course: Course, built: BuiltRequest, answered: Answered) -> AnyReply:
        """The answer with its receipt."""
        answer = answered.answer
        model = answer.model or course.model
        if not same_model(course.model, model) and course.endpoint.notice_substitute(course.model, model):
            self._shared.reporter.emit(
                ModelSubstituted(
                    at=self._shared.clock.time(), provider=course.endpoint.name, asked_model=course.model, model=model
                )
            )
        self._skipped.pop(course.endpoint.name, None)
        # By place, since every call comes by here: by name it takes twice as long.
        receipt = Receipt(
            course.endpoint.name, model, course.model, answered.request_id,
            self.latency_ms, self.attempts, tuple(self._skipped.values()), built.adjustments,
        )  # fmt: skip
        return self._manner.reply(answer, receipt)


def _reads_more(target: Target, other: Target) -> bool:
    """Whether *target* may take a prompt that was too long for *other*."""
    if target.info.context_window is None or other.info.context_window is None:
        return target.model != other.model
    return target.info.context_window > other.info.context_window
