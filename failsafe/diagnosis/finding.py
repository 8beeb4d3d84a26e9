"""What a diagnosis finds, and in which order it is worth reading."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from failsafe.masking import MASK, one_line
from failsafe.secret import Secret

_SHORTEST = 8
"""Characters from which a key cannot be a word of ours (``none``, ``ollama``)."""


class Level(StrEnum):
    """How much a finding matters."""

    ERROR = "error"
    """Calls fail because of it."""
    WARNING = "warning"
    """Calls may fail because of it, or will."""
    NOTE = "note"
    """Good to know."""
    OK = "ok"
    """Looked at, and nothing is wrong."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """
    One thing that was found.

    Attributes:
        level: How much it matters.
        code: Its name for programs and for ``docs/doctor.md``; of one kind of finding always the same.
        subject: What it is about: a provider's name, ``settings``, ``environment``, ``network``, ``store``.
        found: What was found, in one sentence that may follow the subject.
        why: Why that is so, or why it matters; "" where that is plain.
        do: What to do next, the first step first; a step that begins with ``$`` is a command.
    """

    level: Level
    code: str
    subject: str
    found: str
    why: str = ""
    do: tuple[str, ...] = ()

    def cleaned(self, secrets: Iterable[Secret]) -> Finding:
        """
        The same in single lines, and without any of *secrets* as a whole.

        What others say is masked where it comes in; this is the last line of defence.
        """
        keys = [key.reveal() for key in secrets if len(key.reveal()) >= _SHORTEST]

        def clean(text: str) -> str:
            for key in keys:
                text = text.replace(key, MASK)
            return one_line(text)

        return msgspec.structs.replace(
            self,
            subject=clean(self.subject),
            found=clean(self.found),
            why=clean(self.why),
            do=tuple(map(clean, self.do)),
        )


_LEVELS = tuple(Level)

_FIRST = (
    "settings-unreadable", "provider-settings", "nothing-configured", "variable-empty", "other-package", "no-network",
    "key-not-sent", "key-shape",
)  # fmt: skip
"""Findings that explain others, and so come before them within their level."""


def error(code: str, subject: str, found: str, why: str = "", *do: str) -> Finding:
    """A finding because of which calls fail."""
    return Finding(level=Level.ERROR, code=code, subject=subject, found=found, why=why, do=do)


def warning(code: str, subject: str, found: str, why: str = "", *do: str) -> Finding:
    """A finding because of which calls may fail."""
    return Finding(level=Level.WARNING, code=code, subject=subject, found=found, why=why, do=do)


def note(code: str, subject: str, found: str, why: str = "", *do: str) -> Finding:
    """A finding that is good to know."""
    return Finding(level=Level.NOTE, code=code, subject=subject, found=found, why=why, do=do)


def good(code: str, subject: str, found: str) -> Finding:
    """Something that was looked at and is right."""
    return Finding(level=Level.OK, code=code, subject=subject, found=found)


def ranked(findings: Iterable[Finding]) -> list[Finding]:
    """*findings*, the most important first, each once; what is said of several subjects alike is said once."""
    return sorted(_together(dict.fromkeys(findings)), key=_rank)


def _rank(finding: Finding) -> tuple[int, int]:
    place = _FIRST.index(finding.code) if finding.code in _FIRST else len(_FIRST)
    return _LEVELS.index(finding.level), place


def _together(findings: Iterable[Finding]) -> Sequence[Finding]:
    """Join what differs in nothing but the subject."""
    joined: dict[Finding, list[str]] = {}
    for finding in findings:
        joined.setdefault(msgspec.structs.replace(finding, subject=""), []).append(finding.subject)
    return [
        msgspec.structs.replace(finding, subject=", ".join(dict.fromkeys(subjects)))
        for finding, subjects in joined.items()
    ]
