"""A limit that finds its own height: additive increase, multiplicative decrease."""

from __future__ import annotations

from failsafe.policy_config import AdaptiveConcurrencyConfig
from failsafe.usual_latency import UsualLatency

_ANSWERS_JUDGED = 32
"""How many of the latest answers are looked at for slowness."""
_ALL_JUDGED = (1 << _ANSWERS_JUDGED) - 1


class AimdLimit:
    """
    Rises by about one for each round of answers, falls by a factor when the service pushes back.

    The rule is that of TCP's congestion avoidance (RFC 5681, sections 3.1 and 3.2), as Netflix's concurrency-limits
    (``AIMDLimit``) applies it to calls:

    - An answer adds 1/limit, but only while at least half the limit is in use: an unused limit proves nothing.
    - A pushback multiplies the limit by ``backoff``, and takes at least 1. Of the calls that were under way at that
      moment none can make it fall again or rise: they were sent under the old limit, and all of them tell of one
      overload. So it falls at most once a round trip.
    - A call that answered, but took more than ``latency_multiple`` times the usual, adds nothing; once most of the
      latest 32 answers since the last fall did, the next such answer is a pushback. Answers of language models differ
      a thousandfold in length, so that a single slow one says nothing.

    Not thread-safe: the lock of the slots is held around every method.

    Args:
        config: Start, bounds and factors.

    Attributes:
        limit: Calls that may be under way at this moment.
        generation: How often it has fallen.
        usual: What an answer usually takes; not followed without a ``latency_multiple``.
    """

    __slots__ = (
        "_backoff",
        "_exact",
        "_latency_multiple",
        "_maximum",
        "_minimum",
        "_slow",
        "generation",
        "limit",
        "usual",
    )

    def __init__(self, config: AdaptiveConcurrencyConfig) -> None:
        self._minimum = config.minimum
        self._maximum = config.maximum
        self._backoff = config.backoff
        self._latency_multiple = config.latency_multiple
        self._exact = float(config.initial)  # the limit with its fraction
        self._slow = 0  # the latest answers since the last fall, a bit each, 1 for a slow one
        self.limit = config.initial
        self.generation = 0
        self.usual = UsualLatency()

    def ended(self, *, generation: int, seconds: float, pushback: bool | None, in_flight: int) -> None:
        """Take note of a call that has ended; see :meth:`failsafe.slots.LimitRule.ended`."""
        if pushback is None:
            return
        current = generation == self.generation
        if pushback:
            if current:
                self._fall()
        elif self._is_slow(seconds):
            if current and self._note_slow():
                self._fall()
        elif current:
            self._slow = (self._slow << 1) & _ALL_JUDGED
            if 2 * in_flight >= self.limit:
                self._rise()

    def _is_slow(self, seconds: float) -> bool:
        if self._latency_multiple is None:
            return False
        usual = self.usual.seconds
        self.usual.add(seconds)
        return usual is not None and seconds > usual * self._latency_multiple

    def _note_slow(self) -> bool:
        """Whether most of the latest answers were slow."""
        self._slow = (self._slow << 1 | 1) & _ALL_JUDGED
        return self._slow.bit_count() > _ANSWERS_JUDGED // 2

    def _rise(self) -> None:
        self._exact = min(float(self._maximum), self._exact + 1.0 / self._exact)
        self.limit = int(self._exact)

    def _fall(self) -> None:
        self._exact = max(float(self._minimum), min(self._exact * self._backoff, self.limit - 1.0))
        self.limit = int(self._exact)
        self._slow = 0
        self.generation += 1

    def __repr__(self) -> str:
        return f"<AimdLimit {self._exact:.2f}>"
