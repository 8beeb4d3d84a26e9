"""What ``failsafe history`` shows of one provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import msgspec
from rich.text import Text

from failsafe.cli.output import clean
from failsafe.cli.status_view import STATE_STYLES, milliseconds, percent, rate, share
from failsafe.cli.times import local, named, rough, stamp
from failsafe.telemetry.views import Counts, ErrorBudget, Incident, Latency, Span, Target, TargetState, Uptime

BLOCKS = {"up": "▂", "degraded": "▅", "down": "█", "paused": "p", "maintenance": "m", "unknown": "·"}
LETTERS = {"up": "-", "degraded": "!", "down": "X", "paused": "p", "maintenance": "m", "unknown": "."}
"""What the states look like on the strip: also without colours, and where there are only letters."""

_BADNESS = (
    TargetState.UNKNOWN, TargetState.PAUSED, TargetState.MAINTENANCE, TargetState.UP, TargetState.DEGRADED,
    TargetState.DOWN,
)  # fmt: skip
"""A cell of the strip shows the last of these that was in it, however short, so that no outage hides."""

_MOST_INCIDENTS = 20


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider was in a window; see :mod:`failsafe.telemetry.views`."""

    target: Target
    uptime: Uptime
    budget: ErrorBudget | None
    counts: Counts
    latency: Latency
    faults: Mapping[str, int]
    incidents: Sequence[Incident]
    spans: Sequence[Span]


def lines(past: Past, cells: int, marks: Mapping[str, str]) -> Iterator[Text]:
    """*past* in lines, with a strip of so many *cells* drawn with *marks*."""
    uptime = past.uptime
    began, ended = uptime.began, uptime.ended
    yield Text.assemble((clean(past.target.name), "bold"), f" at {clean(past.target.base_url)}")
    yield Text(f"window    {stamp(began)} to {stamp(ended)} ({named(ended - began)})")
    yield Text(f"uptime    {_uptime(uptime)}")
    if past.budget is not None:
        yield Text(f"sla       {_budget(past.budget)}")
    yield Text(f"outcomes  {_counts(past.counts)}")
    yield Text(f"latency   {_latency(past.latency)}")
    if past.faults:
        yield Text("faults    " + ", ".join(f"{clean(fault)} {count:,}" for fault, count in past.faults.items()))
    yield Text()
    yield strip(past.spans, began, ended, cells, marks)
    yield _axis(began, ended, cells)
    yield Text("  ".join(f"{mark} {state}" for state, mark in marks.items()), "dim")
    yield Text()
    yield from _incidents(past.incidents, ended)


def _uptime(uptime: Uptime) -> str:
    spent = ", ".join(f"{state} {rough(seconds)}" for state, seconds in uptime.seconds.items() if seconds >= 1)
    if uptime.percentage is None:
        return f"not known: {share(uptime.coverage)} of the time was observed; {spent}"
    return f"{percent(uptime.percentage)} of the {share(uptime.coverage)} of the time that was observed; {spent}"


def _budget(budget: ErrorBudget) -> str:
    left = f"{rough(budget.left)} left" if budget.left >= 0 else f"broken by {rough(-budget.left)}"
    burning = "" if not budget.burn_rate else f", used up {budget.burn_rate:.3g} times as fast as that in the last hour"
    return f"{budget.sla:g} %: down {rough(budget.used)} of {rough(budget.allowed)} in 30 days, {left}{burning}"


def _counts(counts: Counts) -> str:
    parts = [f"{counts.answered:,} answered", f"{counts.failed:,} failed ({rate(counts.error_rate)})"]
    if counts.excused:
        parts.append(f"{counts.excused:,} failed for reasons of this side")
    if counts.other:
        parts.append(f"{counts.other:,} refused")
    if counts.slow:
        parts.append(f"{counts.slow:,} slow")
    return ", ".join(parts)


def _latency(latency: Latency) -> str:
    if not latency.count:
        return "-"
    figures = {"p50": latency.p50, "p90": latency.p90, "p95": latency.p95, "p99": latency.p99, "mean": latency.mean}
    return ", ".join(f"{name} {milliseconds(value)}" for name, value in figures.items())


def strip(spans: Sequence[Span], began: float, ended: float, cells: int, marks: Mapping[str, str]) -> Text:
    """The window in *cells* marks, each of the worst state within it."""
    worst = [0] * cells
    width = (ended - began) / cells
    for span in spans:
        first = int(max(0.0, span.began - began) / width)
        last = min(cells - 1, int(max(0.0, span.ended - began) / width - 1e-9))
        badness = _BADNESS.index(span.state)
        for cell in range(first, last + 1):
            worst[cell] = max(worst[cell], badness)
    runs = [(_BADNESS[badness], len(list(run))) for badness, run in groupby(worst)]
    return Text.assemble(*((marks[state] * length, STATE_STYLES.get(state, "dim")) for state, length in runs))


def _axis(began: float, ended: float, cells: int) -> Text:
    days = ended - began > 2 * 86_400
    first, middle, last = (
        f"{local(at):%Y-%m-%d}" if days else f"{local(at):%H:%M}" for at in (began, (began + ended) / 2, ended)
    )
    gap = cells - len(first) - len(middle) - len(last)
    if gap < 2:
        return Text(f"{first}{last:>{max(cells - len(first), len(last) + 1)}}", "dim")
    return Text(f"{first}{' ' * (gap // 2)}{middle}{' ' * (gap - gap // 2)}{last}", "dim")


def _incidents(incidents: Sequence[Incident], ended: float) -> Iterator[Text]:
    if not incidents:
        yield Text("no downtime in this window")
    for each in incidents[-_MOST_INCIDENTS:]:
        exact = sum(each.faults.values()) == each.failures  # else they are those of whole quarters of an hour
        faults = ", ".join(
            f"{clean(fault)} {count:,}" if exact else clean(fault) for fault, count in each.faults.items()
        )
        length = rough((ended if each.ended is None else each.ended) - each.began)
        goes_on = " and goes on" if each.ended is None else ""
        failures = f"{each.failures:,} failure{'' if each.failures == 1 else 's'}"
        yield Text.assemble(
            ("down", STATE_STYLES["down"]),
            f" from {stamp(each.began)} for {length}{goes_on}: {failures}{f' ({faults})' if faults else ''}",
        )
    if len(incidents) > _MOST_INCIDENTS:
        yield Text(f"and {len(incidents) - _MOST_INCIDENTS} earlier ones; --json has them all", "dim")
