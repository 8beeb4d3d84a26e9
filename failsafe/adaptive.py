"""
An adaptive limit on calls under way: as many as the service takes, found by trying.

::

    limit = AdaptiveConcurrency("billing", AdaptiveConcurrencyConfig(initial=10, max_wait=2.0))
    limit.call(charge, order)            # raises BulkheadFull if there is no room after 2 s

    slot = limit.try_acquire()           # the primitive under it: a slot, or None
    if slot is not None:
        slot.release(pushback=charge(order) is None)

The guide is ``docs/limits.md``.
"""

from __future__ import annotations

from failsafe.aimd import AimdLimit
from failsafe.bulkhead import ConcurrencyLimit
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.policy_config import AdaptiveConcurrencyConfig

__all__ = ["AdaptiveConcurrency"]

_DEFAULTS = AdaptiveConcurrencyConfig()


class AdaptiveConcurrency(ConcurrencyLimit):
    """
    Lets as many calls be under way as the service has shown it can take.

    The limit moves as :class:`failsafe.aimd.AimdLimit` says. As a decorator, context manager or through :meth:`call`
    it judges exceptions as :func:`failsafe.slots.pushback_of` says; :meth:`Slot.release` leaves the judgement to the
    caller. When the limit falls below the calls under way none of them is ended; none is let in until there is room.
    Everything else is as in :class:`failsafe.bulkhead.ConcurrencyLimit`. Thread-safe.

    Args:
        name: What errors and the repr call it.
        config: Start, bounds and factors, and how long a further call waits.
        clock: Where it gets time and waiting from.

    Raises:
        ConfigError: *name* is empty or not printable.
    """

    __slots__ = ("_rule", "config")

    def __init__(
        self, name: str, config: AdaptiveConcurrencyConfig = _DEFAULTS, *, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._rule = AimdLimit(config)
        super().__init__(name, self._rule, config.max_wait, clock)
        self.config = config

    @property
    def usual_latency(self) -> float | None:
        """Seconds that an answer usually takes; None before the first 64, and without a ``latency_multiple``."""
        return None if self._rule.usual is None else self._rule.usual.seconds
