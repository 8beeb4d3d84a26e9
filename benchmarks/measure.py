"""What the benchmarks share: goals, and figures held against them."""

from __future__ import annotations


class Goals:
    """
    Compares figures with what was asked, prints one line each, and knows whether all were met.

    A line reads ``goal NAME: FIGURE (asked FIGURE) ok`` or ``... short``.
    """

    def __init__(self) -> None:
        self._short = 0

    def at_most(self, name: str, figure: float, asked: float) -> None:
        """The goal *name* is met by a *figure* of at most *asked*."""
        self._hold(name, figure, asked, met=figure <= asked)

    def at_least(self, name: str, figure: float, asked: float) -> None:
        """The goal *name* is met by a *figure* of at least *asked*."""
        self._hold(name, figure, asked, met=figure >= asked)

    def finish(self) -> int:
        """The exit code of the benchmark: 0 if every goal was met."""
        return 1 if self._short else 0

    def _hold(self, name: str, figure: float, asked: float, *, met: bool) -> None:
        self._short += not met
        print(f"goal {name}: {figure:.4g} (asked {asked:.4g}) {'ok' if met else 'short'}", flush=True)
