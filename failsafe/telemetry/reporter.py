"""Where a router's events go: the log and the bus."""

from __future__ import annotations

import logging
from contextlib import suppress

from failsafe.events import Event
from failsafe.telemetry.bus import EventBus
from failsafe.telemetry.logs import log_event, logger


class Reporter:
    """
    Sends each event to the logger ``failsafe`` and to the bus's listeners. Thread-safe.

    Args:
        bus: Delivers to listeners.
    """

    __slots__ = ("bus",)

    def __init__(self, bus: EventBus) -> None:
        self.bus = bus

    def wants_successes(self) -> bool:
        """Whether an event about something that went well would reach anyone."""
        return self.bus.active or logger.isEnabledFor(logging.DEBUG)

    def emit_success(self, event: Event) -> None:
        """As :meth:`emit`, for what went well: hardly any program wants its line in the log."""
        if logger.isEnabledFor(logging.DEBUG):
            self.emit(event)
        elif self.bus.active:
            self.bus.emit(event)

    def emit(self, event: Event) -> None:
        """Log and deliver *event*; never raises an ``Exception``."""
        with suppress(Exception):  # a program's own log handler may raise; that must not become a failed call
            log_event(event)
        if self.bus.active:
            self.bus.emit(event)
