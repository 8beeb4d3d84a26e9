"""Which behaviour holds now: a fixed one, or a schedule of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import count

from failsafe import checks
from failsafe.clock import Random
from failsafe.sim.behaviour import HEALTHY, Behaviour
from failsafe.sim.deliveries import RefuseConnections

Step = tuple[float, Behaviour]
"""From so many seconds on, this behaviour."""


class Plan:
    """
    Behaviours by time, looked up whenever one is needed. Thread-safe: only counters change, atomically.

    Args:
        steps: ``(seconds after origin, behaviour)``, in order; before the first one the provider is healthy.
        origin: What the seconds count from, on the monotonic clock.
        random: Decides where a behaviour has a probability.

    Raises:
        ConfigError: The steps are not in order, or one lies before the origin.
    """

    def __init__(self, steps: Sequence[Step], origin: float, random: Random) -> None:
        self._starts = [checks.number("schedule", at, least=0) for at, _ in steps]
        if self._starts != sorted(self._starts):
            checks.refuse("schedule", self._starts, "seconds in ascending order are needed")
        self._behaviours = [HEALTHY, *(behaviour for _, behaviour in steps)]
        self._spared = [behaviour.spared() for behaviour in self._behaviours]
        self._turns = [count(1) for _ in self._behaviours]
        self._origin = origin
        self._random = random
        self.follows_time = any(isinstance(b.delivery, RefuseConnections) for b in self._behaviours) and (
            len(steps) > 1 or any(b.flap is not None for b in self._behaviours)
        )
        """Whether the listening socket has to be opened or closed by the clock."""

    def now_at(self, now: float) -> Behaviour:
        """The behaviour of the moment *now*; nobody's turn is counted."""
        index = self._index(now)
        behaviour = self._behaviours[index]
        return behaviour if self._is_on(index, now) else self._spared[index]

    def decide(self, now: float, concerns: Callable[[Behaviour], bool] = lambda _: True) -> Behaviour:
        """
        The behaviour that one more request at *now* meets.

        Args:
            now: Seconds on the monotonic clock.
            concerns: Whether the request is one of those that a behaviour is meant for; one that is not
                takes nobody's turn.
        """
        index = self._index(now)
        behaviour = self._behaviours[index]
        if behaviour.spares and not (concerns(behaviour) and self._hits(index, now)):
            return self._spared[index]
        return behaviour

    def _index(self, now: float) -> int:
        if len(self._starts) == 1 and not self._starts[0]:
            return 1
        return bisect_right(self._starts, now - self._origin)

    def _is_on(self, index: int, now: float) -> bool:
        flap = self._behaviours[index].flap
        if flap is None:
            return True
        start = self._starts[index - 1]
        return int((now - self._origin - start) / flap) % 2 == 0

    def _hits(self, index: int, now: float) -> bool:
        behaviour = self._behaviours[index]
        turn = next(self._turns[index])
        return (
            turn % behaviour.every == 0
            and (behaviour.first is None or turn <= behaviour.first)
            and self._is_on(index, now)
            and (behaviour.probability >= 1 or self._random.random() < behaviour.probability)
        )
