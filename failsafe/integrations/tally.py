"""
Counts what a router's events tell, for those who export it.

Exact: every event is counted once, whoever is quick or slow. A call pays for one more entry in a list; the
counting itself is done for some hundreds of events at once, or when somebody looks.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from decimal import Context, Decimal
from operator import add

from failsafe import forking
from failsafe.config import RouterConfig
from failsafe.events import AttemptFinished, CallFinished, Event, ProbeFinished, PutOff
from failsafe.masking import mask
from failsafe.models import Attempt, Usage
from failsafe.router import Router

OTHER = "other"
"""In place of the name of a model beyond the first :data:`MOST_MODELS`."""

MOST_MODELS = 100
"""Names of models that are kept apart, those of the settings not counted: callers may name what they like."""

ANSWERED = "answered"
FAILED = "failed"
FALLBACK = "fallback"
"""Nobody answered, and the caller was given the router's own last answer."""
NONE = "none"
"""In place of a fault where there was none."""

DURATIONS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0)
"""Seconds of an attempt or a call: from a server next door to a long answer of a model that thinks."""

FIRST_CONTENTS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0, 60.0)
"""Seconds to the first content of a stream."""

KINDS = ("input", "cached_input", "cache_write_input", "output", "reasoning_output")
"""Kinds of tokens; each token is of one kind, so that their sum is the number of all."""

_LONGEST_NAME = 100
_MOST_OUTCOMES = 50  # class names of errors: a bound, not a limit anyone meets
_EXACT = Context(prec=60)  # whatever precision the program has set for itself
_AT_ONCE = 256
"""Events that may wait to be counted; they hold no prompt and no answer, and take some hundred kilobytes."""


class Names:
    """
    A bounded set of labels for names that callers choose. Not thread-safe.

    Args:
        known: Names that are always kept.
        most: How many others are.
    """

    __slots__ = ("_kept", "_left")

    def __init__(self, known: Iterable[str], most: int = MOST_MODELS) -> None:
        self._kept = set(known)
        self._left = most

    def of(self, name: str) -> str:
        """*name*, or :data:`OTHER`."""
        if name in self._kept:
            return name
        if not self._left or len(name) > _LONGEST_NAME or mask(name) != name:  # or no line, or a key
            return OTHER
        self._left -= 1
        self._kept.add(name)
        return name


def known_models(config: RouterConfig) -> frozenset[str]:
    """The names of models, and of aliases, that stand in the settings."""
    return frozenset(config.aliases).union(config.embeddings, *(provider.known_models for provider in config.providers))


class Durations:
    """
    How many of the durations seen lie between the bounds. Not thread-safe.

    Attributes:
        bounds: Seconds, ascending; each is the end of a range and belongs to it.
        counts: One a range, the last one for what is longer than all bounds.
        total: Seconds together.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def __len__(self) -> int:
        return sum(self.counts)


class AttemptCounts:
    """
    What became of the attempts at one model of one provider. Not thread-safe.

    Attributes:
        faults: How many ended with which fault; :data:`NONE` for those that were answered.
        answered: How long those took that were answered.
        failed: How long the others took.
        first_content: How long streams took to their first content.
        tokens: Of each of :data:`KINDS`.
        hedges: How many were started beside another one.
        maybe_billed: How many failed and may be charged for all the same.
        usd: What the answers cost whose price is known.
        unpriced: How many answers had no known price.
    """

    __slots__ = (
        "answered", "failed", "faults", "first_content", "hedges", "maybe_billed", "tokens", "unpriced", "usd",
    )  # fmt: skip

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.answered = Durations(DURATIONS)
        self.failed = Durations(DURATIONS)
        self.first_content = Durations(FIRST_CONTENTS)
        self.tokens = [0] * len(KINDS)
        self.hedges = 0
        self.maybe_billed = 0
        self.usd = Decimal(0)
        self.unpriced = 0

    def add(self, attempt: Attempt) -> None:
        """Count *attempt*."""
        seconds = attempt.latency_ms / 1000
        if attempt.fault is None:
            self.faults[NONE] += 1
            self.answered.add(seconds)
        else:
            self.faults[attempt.fault.value] += 1
            self.failed.add(seconds)
            self.maybe_billed += attempt.maybe_billed
        self.hedges += attempt.hedge
        if attempt.first_content_ms is not None:
            self.first_content.add(attempt.first_content_ms / 1000)
        if attempt.usage is not None:
            self._add_usage(attempt.usage, attempt.cost_usd)

    def _add_usage(self, usage: Usage, cost: Decimal | None) -> None:
        self.tokens = list(map(add, self.tokens, tokens_by_kind(usage)))
        if cost is None:
            self.unpriced += 1
        elif cost > 0:  # a provider that says less than nothing makes no counter go down
            self.usd = _EXACT.add(self.usd, cost)


def tokens_by_kind(usage: Usage) -> tuple[int, int, int, int, int]:
    """
    The tokens of *usage* in the order of :data:`KINDS`, none counted twice.

    None is below 0, whatever a provider says of the parts and their sums.
    """
    cached, written = max(0, usage.cached_tokens), max(0, usage.cache_write_tokens)
    reasoning = max(0, usage.reasoning_tokens)
    return (
        max(0, usage.prompt_tokens - cached - written),
        cached,
        written,
        max(0, usage.completion_tokens - reasoning),
        reasoning,
    )


class Tally:
    """
    The counts of one router from now on. Thread-safe; in a forked child they begin at 0.

    Holds the router only as long as somebody else does.

    Args:
        router: The router.

    Attributes:
        names: What models are called; to be used within :meth:`counted`, as are all below.
        attempts: By provider and model.
        calls: By the model that was asked for, and how they ended.
        call_durations: By how they ended.
        put_offs: How often something was left alone, by provider and fault.
        probes: By provider, kind and fault.
    """

    def __init__(self, router: Router) -> None:
        self._known = known_models(router.config)
        self._events: deque[Event] = deque()  # appended to without a lock: a signal handler may call, too
        self._begin()
        forking.register(self)
        self.close: Callable[[], None] = router.on_event(self._note, sync=True)
        """Count no more."""

    def _begin(self) -> None:
        self._lock = threading.Lock()  # nobody who makes a call waits for it
        self._events.clear()
        self.names = Names(self._known)
        self._outcomes = Names((ANSWERED, FALLBACK), _MOST_OUTCOMES)
        self.attempts: dict[tuple[str, str], AttemptCounts] = {}
        self.calls: Counter[tuple[str, str]] = Counter()
        self.call_durations: dict[str, Durations] = {}
        self.put_offs: Counter[tuple[str, str]] = Counter()
        self.probes: Counter[tuple[str, str, str]] = Counter()

    _after_fork = _begin

    def _note(self, event: Event) -> None:
        self._events.append(event)
        if len(self._events) >= _AT_ONCE and self._lock.acquire(blocking=False):
            try:
                self._count_locked()
            finally:
                self._lock.release()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Have all events so far counted, and the counts stand still within the block."""
        with self._lock:
            self._count_locked()
            yield

    def _count_locked(self) -> None:
        for _ in range(len(self._events)):  # and not what comes meanwhile, without end
            event = self._events.popleft()
            match event:
                case AttemptFinished():
                    self._count_attempt(event.attempt)
                case CallFinished():
                    self._count_call(event)
                case PutOff():
                    self.put_offs[event.provider, event.fault.value] += 1
                case ProbeFinished():
                    self.probes[event.provider, event.kind, event.fault.value if event.fault else NONE] += 1

    def _count_attempt(self, attempt: Attempt) -> None:
        key = (attempt.provider, self.names.of(attempt.model))
        counts = self.attempts.get(key)
        if counts is None:
            counts = self.attempts[key] = AttemptCounts()
        counts.add(attempt)

    def _count_call(self, event: CallFinished) -> None:
        outcome = self._outcomes.of(outcome_of(event))
        self.calls[self.names.of(event.asked_model), outcome] += 1
        durations = self.call_durations.get(outcome)
        if durations is None:
            durations = self.call_durations[outcome] = Durations(DURATIONS)
        durations.add(event.latency_ms / 1000)


def outcome_of(event: CallFinished) -> str:
    """How a call ended, in a word: ``answered``, ``fallback``, ``closed``, or the class name of its error."""
    if event.error is None:
        return ANSWERED
    return event.error if event.provider is None else FALLBACK
