"""Where a router's events go: the log, the store and the bus."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from failsafe.events import Event
from failsafe.telemetry.bus import EventBus
from failsafe.telemetry.logs import log_event, logger


class Reporter:
    """
    Sends each event to the logger ``failsafe``, to the store and to the bus's listeners. Thread-safe.

    Args:
        bus: Delivers to listeners.

    Attributes:
        record: Takes an event for the store, and returns at once; None: nothing is recorded.
    """

    __slots__ = ("bus", "record")

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus
        self.record: Callable[[Event], None] | None = None

    def for_successes(self) -> Callable[[Event], None] | None:
        """What tells of something that went well to whom it reaches; None: nobody. Hardly a program logs those."""
        if logger.isEnabledFor(logging.DEBUG):
            return self.emit
        return self._deliver if self.record is not None or self.bus.active else None

    def emit(self, event: Event) -> None:
        """Log and deliver *event*; never raises an ``Exception``."""
        with suppress(Exception):  # a program's own log handler may raise; that must not become a failed call
            log_event(event)
        self._deliver(event)

    def _deliver(self, event: Event) -> None:
        record = self.record
        if record is not None:
            record(event)
        if self.bus.active:
            self.bus.emit(event)
