"""What ``failsafe status`` shows: tables for a terminal, a line a thing for everything else."""

from __future__ import annotations

from collections.abc import Iterator

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
    wide = width >= _WIDE
    parts: list[RenderableType] = [_providers(standing, wide)] if standing.providers else [Text(NOTHING)]
    if not wide and any(_is_partly_seen(each) for each in standing.providers):
        parts.append(Text("* of the time that was observed, which is less than 99 % of it", "dim"))
    parts += [Text(), _processes(standing, wide)]
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


def _providers(standing: Standing, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
    table.add_column("provider", min_width=8, overflow="ellipsis", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for title in ("up 24h", "up 30d", "p50", "p95", "errors"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("breaker", no_wrap=True, overflow="ellipsis", min_width=6)
    table.add_column("seen", justify="right", no_wrap=True)
    names = [each.provider for each in standing.providers]
    for each in standing.providers:
        name = clean(each.provider)
        if names.count(each.provider) > 1:
            name += f" ({clean(each.base_url)})"
        table.add_row(
            name,
            Text(each.state, STATE_STYLES.get(each.state, "dim")),
            _uptime(each.uptime_24h, each.coverage_24h, wide),
            _uptime(each.uptime_30d, each.coverage_30d, wide),
            milliseconds(each.p50_ms),
            milliseconds(each.p95_ms),
            _errors(each),
            Text(breaker(each.breaker, standing.at), _style(each.breaker)),
            "-" if each.last_seen is None else rough(standing.at - each.last_seen),
        )
    return table


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


def _errors(each: ProviderStanding) -> str:
    return rate(each.error_rate)


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


def _processes(standing: Standing, wide: bool) -> RenderableType:
    processes = standing.processes
    if not processes:
        return Text("no program that records is running", "dim")
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
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
            f"p50 {window} {milliseconds(each.p50_ms)}",
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
