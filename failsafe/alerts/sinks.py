"""What every way out of the program has in common, and the shortest of them: the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from failsafe.alerts.grouping import Group
from failsafe.alerts.severity import CRITICAL, WARNING

logger = logging.getLogger("failsafe.alerts")
"""Alerts go here, and what hinders them from going elsewhere."""

_LEVELS = {CRITICAL: logging.CRITICAL, WARNING: logging.WARNING}


Render = Callable[[Group, str], bytes]
"""Makes the body of a group and its name."""


class Sink(Protocol):
    """
    A way out of the program.

    ``deliver`` is called by one thread, one group at a time; it takes a bounded time and raises nothing that the
    world outside may do.
    """

    @property
    def dropped(self) -> int:
        """Groups that could not be delivered."""

    def deliver(self, group: Group, name: str) -> None:
        """Send *group*, which *name* tells from all others."""

    def stop(self) -> None:
        """Give up what is under way, and take nothing any more; from any thread, and more than once."""


class Troubles:
    """
    Groups that a sink could not deliver: counted each, logged once until one is delivered again.

    Args:
        sink: What to call it in the log.
    """

    __slots__ = ("_said", "_sink", "count")

    def __init__(self, sink: str) -> None:
        self._sink = sink
        self._said = False
        self.count = 0

    def delivered(self) -> None:
        """A group was delivered."""
        if self._said:
            self._said = False
            logger.info("the %s takes alerts again; %d groups of them were dropped so far", self._sink, self.count)

    def dropped(self, why: str) -> None:
        """A group was dropped; *why* must hold no secret."""
        self.count += 1
        if not self._said:
            self._said = True
            logger.warning("alerts were dropped, as the %s %s; that is not said again until it works", self._sink, why)


class Log:
    """Writes each alert as one record of the logger ``failsafe.alerts``, at the level of its severity."""

    dropped = 0

    def deliver(self, group: Group, name: str) -> None:  # noqa: ARG002 -- as every sink
        """Write *group*; what a handler of the program's raises ends nothing."""
        for alert in group.alerts:
            logger.log(_LEVELS.get(alert.severity, logging.INFO), "%s: %s", alert.title, alert.message)
        if group.withheld:
            logger.warning("%d alerts came while no more groups could be sent in the hour", group.withheld)

    def stop(self) -> None:
        """Nothing is under way."""
