"""What ``failsafe demo`` shows: a picture of now, and the account at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import ConsoleDimensions, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from failsafe.cli.demo_scenario import DEADLINE
from failsafe.cli.demo_traffic import Call, Client
from failsafe.router import Router

_STATUS_STYLES = {"healthy": "green", "degraded": "yellow", "down": "red", "unknown": "dim"}
_BREAKER_STYLES = {"closed": "green", "half_open": "yellow", "open": "red"}
_ROWS_BESIDE_CALLS = 15
_WIDE = 100


def picture(head: Text, router: Router, guarded: Client, plain: Client, size: ConsoleDimensions) -> RenderableType:
    """The whole screen at one moment, below the line *head*; it fits terminals of 80 by 24 and up."""
    head.no_wrap, head.overflow = True, "ellipsis"
    rows = max(1, min(8, size.height - _ROWS_BESIDE_CALLS))
    gap = (0, 2 if size.width >= _WIDE else 1, 0, 0)
    return Group(
        Panel(head),
        _providers(router, gap),
        _calls(guarded.recent()[-rows:], rows, gap),
        _score(guarded, plain),
        Text(),  # where the terminal may write ^C without moving the picture
    )


def _providers(router: Router, gap: tuple[int, int, int, int]) -> Table:
    table = Table(expand=True, box=None, pad_edge=False, padding=gap)
    table.add_column("provider", width=9, no_wrap=True)
    table.add_column("status", width=8, no_wrap=True)
    table.add_column("breaker", width=17, no_wrap=True)  # as wide as its longest text, or the picture would jump
    table.add_column("answered", justify="right", width=8)
    table.add_column("failed", justify="right", width=6)
    table.add_column("p95", justify="right", width=7)
    table.add_column("last fault", ratio=1, no_wrap=True, overflow="ellipsis")
    for name, stats in router.stats().items():
        breaker = stats["breaker"]
        table.add_row(
            name,
            Text(stats["status"], _STATUS_STYLES[stats["status"]]),
            Text(_breaker(breaker.state, breaker.retry_after), _BREAKER_STYLES.get(breaker.state, "")),
            str(stats["successes"]),
            str(stats["failures"]),
            "-" if stats["p95_ms"] is None else f"{stats['p95_ms']:.0f} ms",
            Text(stats["last_fault"] or "-", "dim"),
        )
    return table


def _breaker(state: str, retry_after: float | None) -> str:
    if state != "open":
        return state.replace("_", " ")
    return f"open, probe {retry_after:.1f} s" if retry_after else "open, probe due"


def _calls(calls: Sequence[Call], rows: int, gap: tuple[int, int, int, int]) -> Panel:
    table = Table(expand=True, box=None, pad_edge=False, padding=gap, show_header=False)
    table.add_column(justify="right", width=4, no_wrap=True)
    table.add_column(justify="right", width=7, no_wrap=True)
    table.add_column(width=49, no_wrap=True, overflow="ellipsis")  # two failed attempts mostly fit
    table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
    for call in calls:
        table.add_row(str(call.number), f"{call.seconds * 1000:.0f} ms", _path(call), Text(call.prompt, "dim"))
    for _ in range(rows - len(calls)):
        table.add_row("")
    return Panel(table, title="latest calls", title_align="left")


def _path(call: Call) -> Text:
    """Who answered, and who was tried before."""
    tried = [f"{attempt.provider} {attempt.fault}" for attempt in call.attempts if attempt.fault]
    who = (call.provider, "green") if call.provider else ("LOST", "bold red")
    return Text.assemble(who, (f" after {', '.join(tried)}" if tried else "", "yellow"))


def _score(guarded: Client, plain: Client) -> Table:
    table = Table(expand=True, box=None, pad_edge=False)
    table.add_column("", ratio=1, no_wrap=True)
    for name in ("answered", "lost", "slowest"):
        table.add_column(name, justify="right", width=12)
    for name, client in (("with failsafe", guarded), ("plain requests to openai", plain)):
        score = client.score()
        lost = Text(str(score.lost), "red" if score.lost else "green")
        table.add_row(name, f"{score.answered} of {score.sent}", lost, f"{score.slowest:.2f} s")
    return table


def standing(guarded: Client, plain: Client) -> str:
    """The score so far in one line."""
    ours, theirs = guarded.score(), plain.score()
    return (
        f"so far {ours.answered} of {ours.sent} answered and {ours.lost} lost; "
        f"the plain client: {theirs.answered} and {theirs.lost} lost"
    )


def figures(router: Router, guarded: Client, plain: Client) -> dict[str, Any]:
    """The account at the end in figures, for programs."""
    return {
        "with_failsafe": _figures(guarded),
        "without": _figures(plain),
        "deadline": DEADLINE,
        "opened": {name: stats.opened for name, stats in router.breakers.stats().items()},
    }


def _figures(client: Client) -> dict[str, Any]:
    score = client.score()
    return {
        "sent": score.sent,
        "answered": score.answered,
        "lost": score.lost,
        "slowest": round(score.slowest, 3),
        "failed": [
            {"call": call.number, "seconds": round(call.seconds, 3), "error": call.error or "late"}
            for call in score.failed
        ],
    }


def account(router: Router, guarded: Client, plain: Client) -> str:
    """The account at the end, in plain words."""
    ours, theirs = guarded.score(), plain.score()
    opened = ", ".join(f"{name} {stats.opened}x" for name, stats in router.breakers.stats().items())
    lines = [
        f"with failsafe: {ours.answered} of {ours.sent} calls answered, {ours.lost} lost;",
        f"               the slowest took {ours.slowest:.2f} s, the deadline is {DEADLINE:g} s",
        f"without:       {theirs.answered} of {theirs.sent} answered, {theirs.lost} lost (plain requests to openai);",
        f"               the slowest took {theirs.slowest:.2f} s",
        f"breakers:      opened {opened}",
    ]
    lines += [f"\ncall {call.number} ended after {call.seconds:.2f} s: {call.error or 'late'}" for call in ours.failed]
    return "\n".join(lines)
