"""How the findings of ``failsafe doctor`` are shown: the most important first, as wide as the terminal, at most 100."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import click
from rich.console import Console
from rich.text import Text

from failsafe.diagnosis.examination import Report, Wanted
from failsafe.diagnosis.finding import Finding, Level

_STYLES = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "cyan", Level.OK: "green"}
_CAN_WAIT = ("alone", "alias-alone")
"""Warnings that are of no use to somebody whose calls fail."""
_WIDEST = 100
_NARROWEST = 40
_INDENT = "  "


class Line(NamedTuple):
    """A line, and how many of its first characters have a *style*."""

    text: str
    style: str = ""
    styled: int = 0


def show(report: Report, wanted: Wanted, *, verbose: bool) -> None:
    """Write *report* to standard output."""
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))
    lines = picture(report, wanted, width, verbose=verbose)
    if sys.stdout is not None and sys.stdout.isatty():
        console = Console(highlight=False, soft_wrap=True)
        for line in lines:
            text = Text(line.text)
            text.stylize(line.style, 0, line.styled)
            console.print(text)
    else:
        for line in lines:
            click.echo(line.text)


def picture(report: Report, wanted: Wanted, width: int, *, verbose: bool = False) -> Iterator[Line]:
    """The lines of *report*, each at most *width* characters unless a command is longer."""
    shown = _shown(report, verbose=verbose)
    for finding in shown:
        if finding.level not in (Level.ERROR, Level.WARNING):
            continue
        yield from _grave(finding, width)
        yield Line("")
    slight = [each for each in shown if each.level in (Level.NOTE, Level.OK)]
    for finding in slight:
        yield from _brief(finding, width)
    if slight:
        yield Line("")
    yield from _end(report, shown, wanted, width)


def _shown(report: Report, *, verbose: bool) -> list[Finding]:
    """The findings that somebody who looks for a fault wants to see."""
    if verbose:
        return list(report.findings)
    failing = any(each.level is Level.ERROR for each in report.findings)
    hidden = _CAN_WAIT if failing else ()
    return [
        each
        for each in report.findings
        if each.code not in hidden and (each.level is not Level.OK or each.code in ("answers", "reachable"))
    ]


def _grave(finding: Finding, width: int) -> Iterator[Line]:
    """What is wrong, why, and what to do."""
    head = f"{finding.level.upper()} {finding.subject}: "
    yield from _styled(f"{head}{finding.found}", finding.level, len(head), width, _INDENT)
    if finding.why:
        yield from _wrapped("why", finding.why, width)
    yield from _steps(finding.do, width)


def _brief(finding: Finding, width: int) -> Iterator[Line]:
    head = f"{finding.level} {finding.subject}: "
    yield from _styled(f"{head}{finding.found}", finding.level, len(head), width, _INDENT)
    if finding.level is Level.NOTE:
        yield from _steps(finding.do, width)


def _styled(text: str, level: Level, styled: int, width: int, indent: str) -> Iterator[Line]:
    lines = textwrap.wrap(text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
    for place, line in enumerate(lines):
        yield Line(line, _STYLES[level], min(styled, len(line)) if place == 0 else 0)


def _wrapped(label: str, text: str, width: int) -> Iterator[Line]:
    start, rest = f"{_INDENT}{label:<4}", f"{_INDENT}    "
    for line in textwrap.wrap(
        text, width, initial_indent=start, subsequent_indent=rest, break_on_hyphens=False, break_long_words=False
    ):
        yield Line(line, "dim", len(start) if line.startswith(start) else 0)


def _steps(steps: Iterable[str], width: int) -> Iterator[Line]:
    """Steps, each on lines of its own; a command is never broken, so that it can be copied."""
    label = "do"
    for step in steps:
        words, dollar, command = step.partition("$ ")
        if dollar and len(f"{_INDENT}{label:<4}{step}") > width and words:
            yield from _wrapped(label, words.strip(), width)
            yield Line(f"{_INDENT}      $ {command}")
        elif dollar:
            yield Line(f"{_INDENT}{label:<4}{step}", "dim", len(_INDENT) + 4 if label else 0)
        else:
            yield from _wrapped(label, step, width)
        label = ""


def _end(report: Report, shown: Sequence[Finding], wanted: Wanted, width: int) -> Iterator[Line]:
    errors = sum(each.level is Level.ERROR for each in shown)
    warnings = sum(each.level is Level.WARNING for each in shown)
    origin = f"settings: {report.origin}" if report.origin else "no settings"
    summary = f"{_number(errors, 'error')}, {_number(warnings, 'warning')}; {origin}; failsafe {report.version}, "
    summary += f"Python {report.machine.python}"
    yield from (Line(line) for line in textwrap.wrap(summary, width, subsequent_indent=_INDENT, break_on_hyphens=False))
    hint = _hint(report, wanted, errors)
    yield from (Line(line) for line in textwrap.wrap(hint, width, break_on_hyphens=False))


def _hint(report: Report, wanted: Wanted, errors: int) -> str:
    if wanted.offline:
        return "Nobody was asked. Without --offline, the way to each provider is looked at."
    answered = any(each.failure is None for facts in report.providers for each in facts.exchanges)
    if answered and not wanted.completion and not errors:
        return (
            "A list of models proves key and address, not that models answer: --completion asks for one short answer."
        )
    return ""


def _number(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"
