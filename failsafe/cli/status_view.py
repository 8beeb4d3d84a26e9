"""What ``failsafe status`` shows: tables for a terminal, a line a thing for everything else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from failsafe.cli.output import clean
from failsafe.cli.standing import BreakerStanding, ProviderStanding, Standing
from failsafe.cli.times import named, rough, shown
from failsafe.telemetry.views import ProcessRow

STATE_STYLES = {"up": "green", "degraded": "yellow", "down": "bold red"}
BREAKER_STYLES = {"closed": "green", "half_open": "yellow", "open": "bold red", "forced_open": "bold red"}

_WIDE = 110
_WHOLE = 0.99
"""The share of a window from which on it counts as seen."""
_PROCESSES = 10
"""Processes that are shown one by one."""

NOTHING = "nothing is recorded yet: no program that uses failsafe has made a call"


def picture(standing: Standing, width: int) -> RenderableType:
    """Everything, for a terminal of *width* columns."""
    parts: list[RenderableType] = [_providers(standing, width)] if standing.providers else [Text(NOTHING)]
    if width < _WIDE and any(_is_partly_seen(each) for each in standing.providers):
        parts.append(Text("* of the time that was observed, which is less than 99 % of all", "dim"))
    parts += [Text(), _processes(standing, width)]
    if standing.hidden:
        parts.append(Text(hidden(standing), "dim"))
    return Group(*parts)


def hidden(standing: Standing) -> str:
    """How many providers are left out, in words."""
    noun = "provider was" if standing.hidden == 1 else "providers were"
    return f"{standing.hidden} {noun} not observed for 30 days; --all shows them too"


def headline(standing: Standing) -> Text:
    """One line for the top of a picture that is drawn again and again."""
    bad = sum(each.in_trouble for each in standing.providers)
    state = (f"{bad} of {len(standing.providers)} in trouble", "bold red") if bad else ("all is well", "green")
    if not standing.providers:
        state = ("nothing recorded", "dim")
    return Text.assemble((f"{shown(standing.at, standing.at)}  ", "bold"), state, ("   q quits", "dim"))


class _Column(NamedTuple):
    """A column of the table of providers, and how wide a terminal must be for it."""

    title: str
    least: int
    cell: Callable[[ProviderStanding], str | Text]
    justify: Literal["left", "right"] = "right"


def _providers(standing: Standing, width: int) -> Table:
    wide = width >= _WIDE
    window = f" {named(standing.window)}" if wide else ""
    names = Counter(each.provider for each in standing.providers)
    columns = (
        _Column("provider", 0, lambda each: _name(each, alone=names[each.provider] == 1), "left"),
        _Column("state", 0, lambda each: Text(each.state, STATE_STYLES.get(each.state, "dim")), "left"),
        _Column("up 24h", 40, lambda each: _uptime(each.uptime_24h, each.coverage_24h, wide)),
        _Column("up 30d", 72, lambda each: _uptime(each.uptime_30d, each.coverage_30d, wide)),
        _Column(f"p50{window}", 78, lambda each: milliseconds(each.p50_ms)),
        _Column(f"p95{window}", 60, lambda each: milliseconds(each.p95_ms)),
        _Column(f"errors{window}", 50, lambda each: rate(each.error_rate)),
        _Column("breaker", 0, lambda each: _breaker_cell(each.breaker, standing.at, wide), "left"),
        _Column("seen", 100, lambda each: "-" if each.last_seen is None else rough(standing.at - each.last_seen)),
    )
    shown_columns = [column for column in columns if width >= column.least]
    table = _table(width)
    for column in shown_columns:
        first = column.least == 0 and column.title == "provider"
        table.add_column(column.title, justify=column.justify, no_wrap=True, overflow="ellipsis",
                         min_width=None if first else len(column.title))  # fmt: skip
    for each in standing.providers:
        table.add_row(*(column.cell(each) for column in shown_columns))
    return table


def _table(width: int) -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2 if width >= _WIDE else 1, 0, 0))


def _name(each: ProviderStanding, *, alone: bool) -> str:
    name = clean(each.provider)
    return name if alone else f"{name} ({clean(each.base_url).partition('://')[2]})"


def _breaker_cell(worst: BreakerStanding | None, now: float, wide: bool) -> Text:
    return Text((breaker if wide else _short)(worst, now), _style(worst))


def _short(worst: BreakerStanding | None, now: float) -> str:
    """As :func:`breaker`, in a few columns: ``open, 12 s (2/4)``."""
    return breaker(worst, now).replace("probe in ", "").replace(" of ", "/")


def _style(breaker: BreakerStanding | None) -> str:
    return "dim" if breaker is None else BREAKER_STYLES.get(breaker.state, "")


def _is_partly_seen(each: ProviderStanding) -> bool:
    return any(
        percentage is not None and coverage < _WHOLE
        for percentage, coverage in ((each.uptime_24h, each.coverage_24h), (each.uptime_30d, each.coverage_30d))
    )


def _uptime(percentage: float | None, coverage: float, wide: bool) -> str:
    if percentage is None:
        return "-"
    if coverage >= _WHOLE:
        return f"{percent(percentage)}{'' if wide else ' '}"
    return f"{percent(percentage)} of {share(coverage)}" if wide else f"{percent(percentage)}*"


def percent(percentage: float | None) -> str:
    """An uptime, which is rounded down already: ``99.98 %``."""
    return "-" if percentage is None else f"{percentage:.4g} %" if percentage == 100 else f"{percentage:.2f} %"


def share(coverage: float) -> str:
    """A share of 1 in per cent, in which neither little is nothing nor much is all: ``<1 %``, ``43 %``."""
    whole = int(coverage * 100)
    return "<1 %" if coverage > 0 and whole == 0 else f"{whole} %"


def milliseconds(value: float | None) -> str:
    """A latency: ``85 ms``, ``2.35 s``."""
    if value is None:
        return "-"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.3g} s"


def rate(error_rate: float | None) -> str:
    """A share of failures: ``0 %``, ``0.4 %``, ``25 %``."""
    if error_rate is None:
        return "-"
    whole = error_rate * 100
    return f"{whole:.0f} %" if whole >= 9.95 or whole == 0 else "<0.1 %" if whole < 0.05 else f"{whole:.1f} %"


def breaker(worst: BreakerStanding | None, now: float) -> str:
    """The worst breaker of a provider in words: ``closed``, ``closed 3/5``, ``open, probe in 12 s (2 of 4)``."""
    if worst is None:
        return "-"
    text = state_of_breaker(worst.state, worst.streak, worst.threshold, worst.retry_at, now)
    return f"{text} ({worst.barred} of {worst.count})" if worst.barred > 0 and worst.count > 1 else text


def state_of_breaker(state: str, streak: int, threshold: int | None, retry_at: float | None, now: float) -> str:
    """A breaker's state with what is to come: ``closed 3/5``, ``open, probe in 12 s``."""
    words = clean(state).replace("_", " ")
    if state == "closed" and streak and threshold:
        return f"{words} {streak}/{threshold}"
    if state == "open" and retry_at is not None:
        left = retry_at - now
        return f"{words}, probe in {rough(left)}" if left >= 1 else f"{words}, probe due"
    return words


def _processes(standing: Standing, width: int) -> RenderableType:
    processes = standing.processes
    if not processes:
        return Text("no program that records is running", "dim")
    table = _table(width)
    table.add_column("process", justify="right", no_wrap=True)
    table.add_column("program", no_wrap=True, overflow="ellipsis")
    table.add_column("host", no_wrap=True, overflow="ellipsis")
    table.add_column("running", justify="right", no_wrap=True)
    table.add_column("dropped", justify="right", no_wrap=True)
    for each in processes[:_PROCESSES]:
        dropped = Text(f"{each.dropped:,}", "yellow" if each.dropped else "dim")
        running = rough(standing.at - each.started_at)
        table.add_row(str(each.pid), clean(each.program), clean(each.host), running, dropped)
    more = len(processes) - _PROCESSES
    return Group(table, Text(f"and {more} more", "dim")) if more > 0 else table


def lines(standing: Standing) -> Iterator[str]:
    """Everything, a line a thing."""
    for provider in standing.providers:
        yield provider_line(provider, standing)
    if not standing.providers:
        yield NOTHING
    for process in standing.processes:
        yield process_line(process, standing.at)
    if not standing.processes:
        yield "no program that records is running"
    if standing.hidden:
        yield hidden(standing)


def provider_line(each: ProviderStanding, standing: Standing) -> str:
    """One provider in one line."""
    seen = "never" if each.last_seen is None else f"{rough(standing.at - each.last_seen)} ago"
    window = named(standing.window)
    return "; ".join(
        (
            f"provider {clean(each.provider)} at {clean(each.base_url)}: {each.state}",
            f"uptime 24h {percent(each.uptime_24h)} of {share(each.coverage_24h)}",
            f"30d {percent(each.uptime_30d)} of {share(each.coverage_30d)}",
            f"in {window} p50 {milliseconds(each.p50_ms)}",
            f"p95 {milliseconds(each.p95_ms)}",
            f"errors {rate(each.error_rate)} ({each.failed} of {each.failed + each.answered})",
            f"breaker {breaker(each.breaker, standing.at)}",
            f"seen {seen}",
        )
    )


def process_line(each: ProcessRow, now: float) -> str:
    """One process in one line."""
    return (
        f"process {each.pid} {clean(each.program)} on {clean(each.host)}: running {rough(now - each.started_at)}; "
        f"dropped {each.dropped}"
    )
