"""What ``failsafe demo`` shows: a picture of now, and the account at the end."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from failsafe.cli.demo_scenario import DEADLINE
from failsafe.cli.demo_traffic import Call, Client
from failsafe.router import Router

_STATUS_STYLES = {"healthy": "green", "degraded": "yellow", "down": "red", "unknown": "dim"}
_BREAKER_STYLES = {"closed": "green", "half_open": "yellow", "open": "red"}


def picture(
    title: str, elapsed: float, seconds: float, router: Router, guarded: Client, plain: Client
) -> RenderableType:
    """The whole screen at one moment."""
    head = Text.assemble((f"{elapsed:5.1f} s of {seconds:g} s  ", "bold"), title)
    return Group(Panel(head), _providers(router), _calls(guarded.recent()), _score(guarded, plain))


def _providers(router: Router) -> Table:
    table = Table(expand=True, box=None, pad_edge=False)
    table.add_column("provider", width=9)
    table.add_column("status", width=8)
    table.add_column("breaker", width=20)  # as wide as its longest text, so that the picture does not jump
    for name in ("answered", "failed", "p95"):
        table.add_column(name, justify="right", width=8)
    table.add_column("last fault", ratio=1, no_wrap=True)
    for name, stats in router.stats().items():
        breaker = stats["breaker"]
        table.add_row(
            name,
            Text(stats["status"], _STATUS_STYLES[stats["status"]]),
            Text(_breaker(breaker.state, breaker.retry_after), _BREAKER_STYLES.get(breaker.state, "")),
            str(stats["successes"]),
            str(stats["failures"]),
            "-" if stats["p95_ms"] is None else f"{stats['p95_ms']:.0f} ms",
            Text(stats["last_fault"] or "-", "dim", overflow="ellipsis"),
        )
    return table


def _breaker(state: str, retry_after: float | None) -> str:
    words = state.replace("_", " ")
    return f"{words}, probe in {retry_after:.1f} s" if state == "open" and retry_after else words


def _calls(calls: list[Call]) -> Panel:
    lines = [Text(call_line(call), overflow="ellipsis", no_wrap=True) for call in calls]
    lines += [Text()] * (8 - len(lines))
    return Panel(Group(*lines), title="latest calls", title_align="left")


def call_line(call: Call) -> str:
    """One call in one line: who answered, in what time, and who was tried before."""
    tried = [f"{attempt.provider} {attempt.fault}" for attempt in call.attempts if attempt.fault]
    before = f"  after {', '.join(tried)}" if tried else ""
    return f"{call.number:>4}  {call.seconds * 1000:>5.0f} ms  {call.provider or 'LOST':<10} {call.prompt}{before}"


def _score(guarded: Client, plain: Client) -> Table:
    table = Table(expand=True, box=None, pad_edge=False)
    table.add_column("", ratio=1)
    for name in ("answered", "lost", "slowest"):
        table.add_column(name, justify="right", width=12)
    for name, client in (("with failsafe", guarded), ("plain requests to openai", plain)):
        lost = Text(str(client.lost), "red" if client.lost else "green")
        table.add_row(name, f"{client.answered} of {client.sent}", lost, f"{client.slowest:.2f} s")
    return table


def account(router: Router, guarded: Client, plain: Client) -> str:
    """The account at the end, in plain words."""
    opened = ", ".join(f"{name} {stats.opened}x" for name, stats in router.breakers.stats().items())
    lines = (
        f"with failsafe: {guarded.answered} of {guarded.sent} calls answered, {guarded.lost} lost;",
        f"               the slowest took {guarded.slowest:.2f} s, the deadline is {DEADLINE:g} s",
        f"without:       {plain.answered} of {plain.sent} answered, {plain.lost} lost (plain requests to openai);",
        f"               the slowest took {plain.slowest:.2f} s",
        f"breakers:      opened {opened}",
    )
    return "\n".join(("", *lines))
