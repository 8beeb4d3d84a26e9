"""When a closed breaker opens: the rule that judges outcomes, apart from the machinery that acts on it."""

from __future__ import annotations

from typing import Protocol


class Rule(Protocol):
    """
    Judges the outcomes of one closed period; a new one is made for each.

    Not thread-safe: the breaker's lock is held around every method.
    """

    streak: int
    """Failures in a row at this moment."""

    def success(self) -> str | None:
        """Take note of a success; the reason to open, in words, or None."""

    def failure(self, cause: str, *, soft: bool) -> str | None:
        """Take note of a failure of the given *cause* (in words); the reason to open, in words, or None."""


class ConsecutiveRule:
    """
    Opens after so many failures in a row; a success starts the count again.

    A soft failure (a rate limit) is neutral: it neither adds to the count nor clears it.
    Not thread-safe: the breaker's lock is held around every method.

    Args:
        threshold: Failures in a row that open the breaker, at least 1.
    """

    __slots__ = ("_threshold", "streak")

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self.streak = 0

    def success(self) -> str | None:
        """Clear the count."""
        self.streak = 0
        return None

    def failure(self, cause: str, *, soft: bool) -> str | None:
        """Count; the reason to open once the threshold is reached."""
        if soft:
            return None
        self.streak += 1
        if self.streak < self._threshold:
            return None
        return f"{self.streak} failures in a row, the last: {cause}" if self.streak > 1 else f"a failure: {cause}"
