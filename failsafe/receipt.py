"""Tells in words what became of a call: the text of the errors a caller reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from failsafe.faults import REACTIONS
from failsafe.models import Attempt, Skip


def report(headline: str, attempts: Sequence[Attempt], skipped: Sequence[Skip]) -> str:
    """
    A report a person can act on: a line an attempt, a line a provider left alone, and what to do.

    Args:
        headline: What became of the call, in one line.
        attempts: The requests that were sent, in order.
        skipped: The providers that were not asked, or not again.
    """
    asked = {attempt.provider for attempt in attempts}
    lines = [headline]
    lines += [f"  {number}. {_attempt_line(attempt)}" for number, attempt in enumerate(attempts, start=1)]
    lines += [f"  -  {_skip_line(skip, again=skip.provider in asked)}" for skip in skipped]
    lines += [f"  => {advice}" for advice in _advice(attempts)]
    return "\n".join(lines)


def _attempt_line(attempt: Attempt) -> str:
    details = [f"{attempt.latency_ms:.0f} ms"]
    if attempt.status is not None and not attempt.message.startswith(f"HTTP {attempt.status}"):
        details.append(f"HTTP {attempt.status}")
    if attempt.request_id:
        details.append(f"request {attempt.request_id}")
    if attempt.hedge:
        details.append("hedge")
    if attempt.maybe_billed:
        details.append("may be billed")
    fault = "answered" if attempt.fault is None else f"{attempt.fault}: {attempt.message}"
    return f"{attempt.provider} ({attempt.model}): {fault} [{', '.join(details)}]"


def _skip_line(skip: Skip, *, again: bool) -> str:
    return f"{skip.provider} ({skip.model}): not asked{' again' if again else ''}: {skip.detail}"


def _advice(attempts: Iterable[Attempt]) -> list[str]:
    """What to do, once for each provider and fault, in the order in which they came."""
    found = ((attempt.provider, REACTIONS[attempt.fault].advice) for attempt in attempts if attempt.fault is not None)
    return [f"{provider}: {advice}" for provider, advice in dict.fromkeys(found)]
