"""A limit that finds its own height: additive increase, multiplicative decrease."""

from __future__ import annotations

from failsafe.policy_config import AdaptiveConcurrencyConfig
from failsafe.usual_latency import UsualLatency


class AimdLimit:
    """
    Rises by about one for each round of answers, falls by a factor when the service pushes back.

    The rule is that of TCP's congestion avoidance (RFC 5681, sections 3.1 and 3.2), as Netflix's concurrency-limits
    (``AIMDLimit``) applies it to calls:

    - An answer adds 1/limit, but only while at least half the limit is in use: an unused limit proves nothing.
    - A pushback multiplies the limit by ``backoff``, and takes at least 1. Of the calls that were under way at that
      moment none can make it fall again or rise: they were sent under the old limit, and all of them tell of one
      overload. So it falls at most once a round trip.
    - A slow median of answers (:class:`failsafe.usual_latency.UsualLatency`) is a pushback. But if the fall has not
      made the next median faster, by at least half of what was taken, the calls under way are not what makes the
      service slow: their latency is the usual one from then on, and the limit stays where it is.

    Not thread-safe: the lock of the slots is held around every method.

    Args:
        config: Start, bounds and factors.

    Attributes:
        limit: Calls that may be under way at this moment.
        generation: How often it has fallen.
        usual: What answers usually take; None without a ``latency_multiple``.
    """

    __slots__ = (
        "_backoff",
        "_exact",
        "_maximum",
        "_minimum",
        "_slow_before",
        "generation",
        "limit",
        "usual",
    )

    def __init__(self, config: AdaptiveConcurrencyConfig) -> None:
        self._minimum = config.minimum
        self._maximum = config.maximum
        self._backoff = config.backoff
        self._exact = float(config.initial)  # the limit with its fraction
        self._slow_before: float | None = None  # the slow median that the last fall was for
        self.limit = config.initial
        self.generation = 0
        self.usual = None if config.latency_multiple is None else UsualLatency(config.latency_multiple)

    def ended(self, *, generation: int, seconds: float, pushback: bool | None, in_flight: int) -> None:
        """Take note of a call that has ended; see :meth:`failsafe.slots.LimitRule.ended`."""
        if pushback is None or generation != self.generation:
            return
        if pushback or (self.usual is not None and self._slows_down(self.usual, seconds)):
            self._fall()
        elif 2 * in_flight >= self.limit:
            self._rise()

    def _slows_down(self, usual: UsualLatency, seconds: float) -> bool:
        """Whether the service has become slow, and a fall may help."""
        median = usual.add(seconds)
        if median is None:
            return False
        before, self._slow_before = self._slow_before, None
        if not usual.is_slow(median):
            return False
        if before is not None and median > before * (1.0 + self._backoff) / 2.0:
            usual.adopt(median)
            return False
        self._slow_before = median
        return True

    def _rise(self) -> None:
        self._exact = min(float(self._maximum), self._exact + 1.0 / self._exact)
        self.limit = int(self._exact)

    def _fall(self) -> None:
        self._exact = max(float(self._minimum), min(self._exact * self._backoff, self.limit - 1.0))
        self.limit = int(self._exact)
        self.generation += 1
        if self.usual is not None:
            self.usual.start_batch()

    def __repr__(self) -> str:
        return f"<AimdLimit {self._exact:.2f}>"
