"""What the benchmarks share: interleaved rounds, goals, and an exit code that tells whether they were met."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping

os.environ.setdefault(
    "FAILSAFE_STORE", "off"
)  # what is measured here must not stand among what the user's programs did


def nanoseconds(operation: Callable[[], object], count: int) -> float:
    """Nanoseconds one call of *operation* takes, from *count* calls in a row; the loop's own cost is included."""
    calls = range(count)
    began = time.perf_counter_ns()
    for _ in calls:
        operation()
    return (time.perf_counter_ns() - began) / count


def interleaved(operations: Mapping[str, Callable[[], object]], *, rounds: int, count: int) -> dict[str, list[float]]:
    """
    Measure *operations* in turns, so that a noisy moment of the machine hits all of them.

    Returns:
        By name, the nanoseconds a call took in each round; the first, unmeasured round warms up.
    """
    figures: dict[str, list[float]] = {name: [] for name in operations}
    for number in range(rounds + 1):
        for name, operation in operations.items():
            figure = nanoseconds(operation, count)
            if number:
                figures[name].append(figure)
    return figures


def median_ratio(figures: list[float], of: list[float]) -> float:
    """The median over rounds of *figures* divided by *of*, round by round."""
    return statistics.median(figure / base for figure, base in zip(figures, of, strict=True))


class Goals:
    """Prints one line a goal and remembers whether all were met. Not thread-safe."""

    def __init__(self) -> None:
        self._short = 0

    def at_most(self, name: str, figure: float, asked: float) -> None:
        """*figure* must not be above *asked*."""
        self._line(name, figure, asked, met=figure <= asked)

    def at_least(self, name: str, figure: float, asked: float) -> None:
        """*figure* must not be below *asked*."""
        self._line(name, figure, asked, met=figure >= asked)

    def finish(self) -> int:
        """The exit code for the process: 0 if every goal was met, else 1."""
        return 1 if self._short else 0

    def _line(self, name: str, figure: float, asked: float, *, met: bool) -> None:
        self._short += not met
        print(f"goal {name}: {figure:.3g} (asked {asked:g}) {'ok' if met else 'short'}", flush=True)
