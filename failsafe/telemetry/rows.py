"""
Events as rows of their tables, without what only a database knows: the numbers of process, target and model.

All are pure functions. What an event cannot mean (a latency of NaN or of a year, minus three tokens, a text that is
none) raises :class:`Absurd`, or whatever Python raises for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from failsafe.events import Alert, AttemptFinished, CallFinished, CircuitState, Event, ProbeFinished, StateChanged
from failsafe.masking import mask
from failsafe.telemetry.texts import CallTexts

Row = tuple[Any, ...]

HEDGE, MAYBE_BILLED, BLAMED, COUNTED = 1, 2, 4, 8
"""The bits of the column ``flags``."""

LONGEST_TEXT = 2000
"""Characters that are kept of a message."""
LONGEST_WORD = 200
"""Characters that are kept of a name."""

_LONGEST_MS = 1e10  # no request takes a hundred days
_MOST_TOKENS = 2**32
_MOST_BYTES = 2**53
_MOST_COST = 10**16  # picodollars: no answer costs ten thousand dollars, and sums of them stay whole numbers


class Absurd(ValueError):
    """An event says what cannot be."""


class BreakerLook(Protocol):
    """How a breaker is at a moment: what is kept of :class:`failsafe.BreakerStats`."""

    @property
    def state(self) -> CircuitState:
        """Its state."""

    @property
    def reason(self) -> str:
        """Why it is in it, in words."""

    @property
    def retry_after(self) -> float | None:
        """Seconds until it may admit a call."""

    @property
    def streak(self) -> int:
        """Failures in a row."""

    @property
    def opened(self) -> int:
        """How often it opened."""


def attempt_row(event: AttemptFinished, at: float, cost: int | None) -> Row:
    """
    The row of ``attempts``.

    Args:
        event: What happened.
        at: When, checked.
        cost: Picodollars; None where they are not known.
    """
    attempt = event.attempt
    fault, usage, status, first_content = attempt.fault, attempt.usage, attempt.status, attempt.first_content_ms
    received, number, request_id = attempt.bytes_received, attempt.round, attempt.request_id
    # One look at the bits of all numbers finds any of them that is negative, too large, or no whole number.
    if not 0 <= (received | number | (status or 0)) < _MOST_BYTES:
        raise Absurd
    tokens = _NO_TOKENS
    if usage is not None:
        tokens = prompt, cached, written, completion, reasoning = (
            usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens,
            usage.completion_tokens, usage.reasoning_tokens,
        )  # fmt: skip
        if not 0 <= (prompt | cached | written | completion | reasoning) < _MOST_TOKENS:
            raise Absurd
    if cost is not None and not 0 <= cost <= _MOST_COST:
        raise Absurd
    return (
        at, text(event.call_id), milliseconds(attempt.latency_ms),
        None if first_content is None else milliseconds(first_content),
        None if fault is None else fault._value_, status, attempt.phase._value_, text(attempt.key), number,
        attempt.hedge * HEDGE + attempt.maybe_billed * MAYBE_BILLED + attempt.blamed * BLAMED,
        received, *tokens, cost,
        None if request_id is None else text(request_id), None if fault is None else text(attempt.message),
    )  # fmt: skip


_NO_TOKENS: tuple[Any, ...] = (None,) * 5


def call_row(event: CallFinished, at: float) -> Row:
    """The row of ``calls``."""
    attempts, billed, error = event.attempts, event.maybe_billed, event.error
    if not 0 <= (attempts | billed) < _MOST_BYTES:
        raise Absurd
    return (
        at, text(event.call_id), word(event.asked_model), None if error is None else text(error),
        attempts, milliseconds(event.latency_ms), word(event.tag), billed,
    )  # fmt: skip


def probe_row(event: ProbeFinished, at: float) -> Row:
    """The row of ``probes``."""
    fault, status = event.fault, event.status
    if not 0 <= (status or 0) < _MOST_BYTES:
        raise Absurd
    return (
        at, word(event.kind), None if fault is None else fault._value_, status, milliseconds(event.latency_ms),
        event.blamed * BLAMED + event.permit * COUNTED, None if fault is None else masked(event.message),
    )  # fmt: skip


def texts_row(event: CallTexts, at: float) -> Row:
    """The row of ``texts``; they were masked and cut where they were taken."""
    answer = event.answer
    return at, text(event.call_id), encodable(event.prompt), None if answer is None else encodable(answer)


def event_row(event: Event, at: float) -> Row:
    """The row of ``events``; every text in it is masked."""
    changes = {name: _masked_within(getattr(event, name)) for name in event.__struct_fields__}
    data = msgspec.json.encode(msgspec.structs.replace(event, **changes))
    return at, type(event).__name__, data.decode()


def _masked_within(value: Any) -> Any:
    if type(value) is str:
        return masked(value)
    if isinstance(value, Mapping):
        return {masked(name): _masked_within(each) for name, each in value.items()}
    return value


def alert_row(event: Alert, at: float) -> Row:
    """The row of ``alerts``."""
    return at, word(event.rule), word(event.severity), masked(event.title), masked(event.message), int(event.resolves)


def state_row(event: StateChanged, router: int, at: float) -> Row:
    """The row of ``breakers`` for one that has changed."""
    retry_at = None if event.retry_after is None else at + milliseconds(event.retry_after * 1000) / 1000
    opened = int(event.new is CircuitState.OPEN)
    return router, word(event.name), event.new._value_, masked(event.reason), at, retry_at, 0, None, opened, at


def breaker_row(name: str, stats: BreakerLook, threshold: int | None, router: int, at: float) -> Row:
    """The row of ``breakers`` for one that was looked at."""
    retry_at = None if stats.retry_after is None else at + stats.retry_after
    return (
        router, word(name), stats.state._value_, masked(stats.reason), at, retry_at,
        stats.streak, threshold, stats.opened, at,
    )  # fmt: skip


def milliseconds(value: float) -> float:
    """*value*, if it can be a time that something took."""
    took = float(value)
    if not 0.0 <= took <= _LONGEST_MS:  # NaN fails it, too
        raise Absurd
    return took


def text(value: str) -> str:
    """*value*, which was masked where it came from, cut to what is kept and fit to be stored."""
    if value.__class__ is not str:
        raise Absurd
    return value if len(value) <= LONGEST_TEXT and value.isascii() else encodable(value[:LONGEST_TEXT])


def encodable(value: str) -> str:
    """*value* without what cannot be stored: halves of characters, as UTF-16 has them."""
    return value.encode("utf-8", "replace").decode()


def masked(value: str) -> str:
    """*value* without keys, cut to what is kept."""
    return mask(value)[:LONGEST_TEXT]


def word(value: str) -> str:
    """A name that somebody has chosen, where a key may have slipped in: masked, and cut to what is kept."""
    if value.__class__ is not str:
        raise Absurd
    return _word(value if len(value) <= _MASKED else value[:_MASKED])


_MASKED = 10 * LONGEST_WORD  # characters that are looked at: a key at the end of what is kept is masked as a whole


@lru_cache(maxsize=4096)
def _word(value: str) -> str:
    return mask(value)[:LONGEST_WORD]


def fits(row: Row) -> bool:
    """Whether SQLite can hold every value of *row*."""
    return all(map(_fits, row))


def _fits(value: object) -> bool:
    if isinstance(value, str):
        return value.isascii() or value.encode("utf-8", "ignore") == value.encode("utf-8", "surrogatepass")
    return value is None or isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63)
