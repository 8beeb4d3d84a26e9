"""Who records: what is known of the providers whose names stand in its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from failsafe.masking import mask
from failsafe.telemetry.costs import Reckoner

_LONGEST_NAME = 200
_REMEMBERED = 1000


class TargetInfo(NamedTuple):
    """
    What the store keeps of a provider.

    Attributes:
        base_url: Where it is.
        interval: Seconds between two probes.
        latency_limit: Milliseconds above which an answer is slow, or None.
        sla: The percentage of time it is expected to be up, or None.
    """

    base_url: str
    interval: float = 30.0
    latency_limit: float | None = None
    sla: float | None = None


class Target:
    """A provider at an address, as one router has configured it; equal to itself alone, so that it is found fast."""

    __slots__ = ("identity", "info", "name")

    def __init__(self, name: str, info: TargetInfo) -> None:
        self.name = name
        self.info = info
        self.identity = (name, info.base_url)


class Source:
    """
    One router that records. For one thread at a time.

    Args:
        targets: Its providers by name.
        router: Its number within its process.

    Attributes:
        reckoner: Knows what its attempts cost.
    """

    def __init__(self, targets: Mapping[str, TargetInfo], *, router: int = 0) -> None:
        self.router = router
        self._configured = {name: Target(name, info) for name, info in targets.items()}
        self._known: dict[str, Target] = dict(self._configured)
        self.reckoner = Reckoner()

    def probe_every(self, name: str, seconds: float) -> None:
        """Take note that a monitor probes *name* at another interval than was configured. Atomic."""
        target = self._configured.get(name)
        if target is not None:
            target.info = target.info._replace(interval=seconds)

    def target(self, name: str) -> Target:
        """The provider called *name*; one that was not configured is one without an address."""
        return self._known.get(name) or self._unknown(name)

    def _unknown(self, name: str) -> Target:
        if len(self._known) > len(self._configured) + _REMEMBERED:
            self._known = dict(self._configured)
        target = self._known[name] = Target(mask(name)[:_LONGEST_NAME], TargetInfo(""))
        return target

    def target_of_breaker(self, name: str) -> Target:
        """The provider that the breaker called *name* protects: ``provider``, or ``provider:model``."""
        whole = self._known.get(name)
        if whole is not None:
            return whole
        shorter = name
        while ":" in shorter:
            shorter = shorter.rpartition(":")[0]
            if shorter in self._configured:
                return self._configured[shorter]
        return self._unknown(name)
