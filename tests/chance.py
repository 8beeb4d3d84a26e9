"""A source of chance that always says the same."""

from __future__ import annotations

from failsafe.clock import Random


class Chance(Random):
    """``random()`` returns *value* every time and counts how often it was asked."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value
        self.asked = 0

    def random(self) -> float:
        self.asked += 1
        return self.value
