"""What has changed between two looks at the store, for logs."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from failsafe.cli.output import clean
from failsafe.cli.standing import Standing
from failsafe.cli.times import stamp


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """
    One thing that is otherwise than before.

    Attributes:
        at: When it was noticed, seconds since 1970-01-01 UTC.
        subject: ``provider``, ``breaker``, ``process`` or ``store``.
        name: Which one.
        base_url: The provider's address, for providers and breakers.
        old: How it was; "" if it was not known.
        new: How it is.
        reason: Why, where that is known.
    """

    at: float
    subject: str
    name: str
    base_url: str = ""
    old: str = ""
    new: str
    reason: str = ""

    def line(self) -> str:
        """The change in one line."""
        moved = f"{self.old} -> {self.new}" if self.old else self.new
        reason = f" ({clean(self.reason)})" if self.reason else ""
        return f"{stamp(self.at)} {self.subject} {clean(self.name)}: {moved}{reason}"


_Subject = tuple[str, str, str]


class Changes:
    """Compares each look with the one before. Not thread-safe."""

    def __init__(self) -> None:
        self._known: dict[_Subject, str] = {}
        self._problem = ""

    def since(self, seen: Standing | str, now: float) -> Iterator[Change]:
        """What is otherwise than at the last look; at first, how everything is. A text says why nothing was seen."""
        if isinstance(seen, str):
            if seen != self._problem:
                yield Change(at=now, subject="store", name="", new="unreadable", reason=seen)
            self._problem = seen
            return
        if self._problem:
            self._problem = ""
            yield Change(at=now, subject="store", name=seen.store, old="unreadable", new="readable")
        current = dict(_facts(seen))
        for key, (new, reason) in current.items():
            old = self._known.get(key, "")
            if old != new:
                yield _change(now, key, old, new, reason)
        for key, old in self._known.items():
            if key not in current:
                yield _change(now, key, old, "ended" if key[0] == "process" else "gone", "")
        self._known = {key: new for key, (new, _) in current.items()}


def _change(now: float, key: _Subject, old: str, new: str, reason: str) -> Change:
    subject, name, base_url = key
    return Change(at=now, subject=subject, name=name, base_url=base_url, old=old, new=new, reason=reason)


def _facts(seen: Standing) -> Iterator[tuple[_Subject, tuple[str, str]]]:
    for each in seen.providers:
        yield ("provider", each.provider, each.base_url), (each.state, "")
        if each.breaker is not None:
            yield ("breaker", each.provider, each.base_url), (each.breaker.state, each.breaker.reason)
    for process in seen.processes:
        yield ("process", f"{process.pid} {process.program}", ""), ("running", "")
