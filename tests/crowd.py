"""
A service with so many places, and clients that always want more: a simulation, pure and seeded.

Time is a :class:`failsafe.testing.FakeClock` that goes from event to event; no threads.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

from failsafe.adaptive import AdaptiveConcurrency
from failsafe.clock import Random
from failsafe.policy_config import AdaptiveConcurrencyConfig
from failsafe.slots import Slot
from failsafe.testing import FakeClock

REFUSAL_TAKES = 0.05
"""Seconds until a 429 is back."""


@dataclass
class Client:
    """One limit, and what became of the calls made under it."""

    limit: AdaptiveConcurrency
    answered: int = 0
    refused: int = 0
    limits: list[int] = field(default_factory=list)
    """The limit after every event."""

    def forget(self) -> None:
        self.answered = self.refused = 0
        self.limits.clear()


class Crowd:
    """
    Clients before one service.

    Args:
        capacity: Calls that the service works on at once; those beyond are answered with 429.
        seconds: How long an answer takes, given the chance source and the calls under way.
        configs: The settings of each client.
        demand: Most calls that one client wants under way.
    """

    def __init__(
        self,
        capacity: int,
        seconds: Callable[[Random, int], float],
        *configs: AdaptiveConcurrencyConfig,
        demand: int = 10_000,
        seed: int = 1,
    ) -> None:
        self.capacity = capacity
        self.clock = FakeClock()
        self.clients = [
            Client(AdaptiveConcurrency(f"client {number}", config, clock=self.clock))
            for number, config in enumerate(configs)
        ]
        self._seconds = seconds
        self._demand = demand
        self._random = Random(seed)
        self._active = 0
        self._events: list[tuple[float, int, Client, Slot, bool]] = []  # end, tie-break, whose, slot, refused
        self._count = 0

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.clock.monotonic() + seconds
        self._send_all()
        while self._events and self._events[0][0] <= end:
            at, _, client, slot, refused = heapq.heappop(self._events)
            self.clock.advance(at - self.clock.monotonic())
            if refused:
                client.refused += 1
            else:
                client.answered += 1
                self._active -= 1
            slot.release(pushback=refused)
            client.limits.append(client.limit.limit)
            self._send_all()
        self.clock.advance(end - self.clock.monotonic())

    def _send_all(self) -> None:
        for client in self._random.sample(self.clients, len(self.clients)):
            while client.limit.in_flight < self._demand and (slot := client.limit.try_acquire()) is not None:
                self._send(client, slot)

    def _send(self, client: Client, slot: Slot) -> None:
        refused = self._active >= self.capacity
        if not refused:
            self._active += 1
        takes = REFUSAL_TAKES if refused else self._seconds(self._random, self._active)
        self._count += 1
        heapq.heappush(self._events, (self.clock.monotonic() + takes, self._count, client, slot, refused))
