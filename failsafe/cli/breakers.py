"""``failsafe breakers``: the circuit breakers of every running program, and what they can be told."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import click
import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from failsafe.checks import close_names
from failsafe.cli.groups import WithDefault
from failsafe.cli.names import complete_provider
from failsafe.cli.output import clean, console, in_terminal, json_option, print_json
from failsafe.cli.signals import pause
from failsafe.cli.standing import severity
from failsafe.cli.status_view import BREAKER_STYLES, state_of_breaker
from failsafe.cli.store_access import Followed, file_of, readable, store_options
from failsafe.cli.times import LENGTH, rough, stamp
from failsafe.clock import SYSTEM_CLOCK
from failsafe.events import CircuitState
from failsafe.telemetry import commands, database
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.views import BreakerRow, ProcessRow

_WIDE = 100
_TURN = 0.1
"""Seconds between two looks for answers."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What one running process made of a command; ``outcome`` is None as long as it has not answered."""

    process: int
    pid: int
    program: str
    outcome: str | None
    done: bool
    """Whether it has carried it out: it has answered, and has such a provider."""


@click.group(cls=WithDefault, short_help="List the breakers of running programs, or act on them.")
def breakers() -> None:
    """
    List the circuit breakers of all running programs, or tell those programs what to do with theirs.

    What acts is written into the store, and carried out within a second or two by each program that is running and
    concerned; each says what came of it. Who has not done so after 30 seconds never will.
    """


@breakers.command("list", short_help="List every breaker (also what `failsafe breakers` alone does).")
@click.argument("providers", nargs=-1, metavar="[PROVIDER]...", shell_complete=complete_provider)
@store_options
@json_option
def list_breakers(providers: tuple[str, ...], path: Path | None, store_path: Path | None, as_json: bool) -> None:
    """List the breakers of every running program: state, reason, and when the next probe is admitted."""
    with Followed(file_of(path, store_path)) as store:
        found = store.read(lambda reader: reader.breakers(alive_only=True))
    rows = [row for row in found if not providers or row.provider in providers]
    rows.sort(key=lambda row: (-severity(row.state), row.name, row.pid, row.router))
    now = SYSTEM_CLOCK.time()
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("no breaker of such a name is in a running program" if found else "no running program has a breaker")
    elif in_terminal():
        terminal = console()
        terminal.print(_picture(rows, now, terminal.width))
    else:
        for row in rows:
            click.echo(_line(row, now))


def _picture(rows: Sequence[BreakerRow], now: float, width: int) -> RenderableType:
    """A table; where there is no room for reasons, they follow it."""
    wide = width >= _WIDE
    told = [] if wide else [row for row in rows if row.reason and row.state != CircuitState.CLOSED]
    reasons = [Text(f"{clean(row.name)} of {row.pid}: {clean(row.reason)}", "dim") for row in told]
    return Group(_table(rows, now, wide=wide), *reasons)


def _table(rows: Sequence[BreakerRow], now: float, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("breaker", no_wrap=True, overflow="ellipsis")
    table.add_column("state", no_wrap=True)
    table.add_column("for", justify="right", no_wrap=True)
    table.add_column("opened", justify="right", no_wrap=True)
    table.add_column("process", no_wrap=True, overflow="ellipsis")
    if wide:
        table.add_column("reason", overflow="fold", ratio=1)
    for row in rows:
        state = state_of_breaker(row.state, row.streak, row.threshold, row.retry_at, now)
        table.add_row(
            clean(row.name),
            Text(state, BREAKER_STYLES.get(row.state, "")),
            rough(now - row.changed_at),
            f"{row.opened}x",
            f"{row.pid} {clean(row.program)}",
            *((Text(clean(row.reason), "dim"),) if wide else ()),
        )
    return table


def _line(row: BreakerRow, now: float) -> str:
    state = state_of_breaker(row.state, row.streak, row.threshold, row.retry_at, now)
    reason = f" ({clean(row.reason)})" if row.reason else ""
    return (
        f"breaker {clean(row.name)} of {row.pid} {clean(row.program)}, router {row.router}: {state}{reason}; "
        f"since {stamp(row.changed_at)}; opened {row.opened}x"
    )


def _acting(name: str, action: str, summary: str, text: str) -> None:
    """Add the command *name*, which has the running programs do *action*."""

    @breakers.command(name, short_help=summary, help=text)
    @click.argument("provider", required=False, shell_complete=complete_provider)
    @click.option("--all", "everyone", is_flag=True, help="Every provider, in place of PROVIDER.")
    @click.option("--process", "pid", type=click.IntRange(min=1), metavar="PID", help="That program alone.")
    @click.option("--wait", type=LENGTH, default="5s", show_default=True, metavar="LENGTH",
                  help="How long to wait for answers.")  # fmt: skip
    @store_options
    @json_option
    def act(
        provider: str | None,
        everyone: bool,
        pid: int | None,
        wait: float,
        path: Path | None,
        store_path: Path | None,
        as_json: bool,
    ) -> None:
        if (provider is None) is not everyone:
            raise click.UsageError("name a PROVIDER, or --all; not both")
        with Followed(file_of(path, store_path)) as store:
            processes = store.read(lambda reader: _concerned(reader, provider, pid))
            answers = _told(store, processes, provider or "*", action, pid, wait) if processes else []
        _report(answers, pid, as_json=as_json)
        sys.exit(not any(answer.done for answer in answers))


def _concerned(reader: StoreReader, provider: str | None, pid: int | None) -> list[ProcessRow]:
    """The running processes that are meant."""
    if provider is not None:
        known = {target.name for target in reader.targets()} | {
            row.provider for row in reader.breakers(alive_only=True)
        }
        if provider not in known:
            close = close_names(provider, known, most=3)
            guess = f"did you mean {' or '.join(close)}?" if close else "failsafe status names who is known"
            raise click.UsageError(f"no program has recorded a provider {provider!r}: {guess}")
    return [each for each in reader.processes(alive_only=True) if pid in (None, each.pid)]


def _told(
    store: Followed, processes: Sequence[ProcessRow], target: str, action: str, pid: int | None, wait: float
) -> list[Answer]:
    """Send the command, and wait for what the processes make of it."""
    with readable(store.file), closing(database.connect(store.file)) as connection:
        now = SYSTEM_CLOCK.time()
        with database.transaction(connection):
            sent = {
                process: commands.send(connection, target=target, action=action, now=now, process=process)
                for process in ([each.id for each in processes] if pid is not None else [None])
            }
        end = SYSTEM_CLOCK.monotonic() + wait
        while True:
            outcomes = {
                who: said for each in sent.values() for who, said in commands.outcomes(connection, each).items()
            }
            if all(each.id in outcomes for each in processes) or SYSTEM_CLOCK.monotonic() >= end:
                return [_answer(each, outcomes.get(each.id)) for each in processes]
            pause(_TURN)


def _answer(process: ProcessRow, outcome: str | None) -> Answer:
    return Answer(
        process=process.id,
        pid=process.pid,
        program=process.program,
        outcome=outcome,
        done=outcome is not None and outcome != commands.NOT_HERE,
    )


def _report(answers: Sequence[Answer], pid: int | None, *, as_json: bool) -> None:
    if as_json:
        print_json(answers)
        return
    if not answers:
        who = "no program that records is running" if pid is None else f"no program with the number {pid} is running"
        click.echo(f"{who}: nothing was done", err=True)
    for answer in answers:
        said = "has not answered yet" if answer.outcome is None else clean(answer.outcome)
        click.echo(f"{answer.pid} {clean(answer.program)}: {said}")
    if answers and not any(answer.done for answer in answers):
        click.echo("nobody has done it", err=True)


_acting("reset", "reset", "Close breakers and forget their failures.",
        "Close the breakers of PROVIDER and forget its failures, and let rejected keys be tried again.")  # fmt: skip
_acting("force-open", "force_open", "Let no call through to a provider.",
        "Open the breakers of PROVIDER until they are reset: no call is sent to it.")  # fmt: skip
_acting("disable", "disable", "Let every call through, whatever fails.",
        "Switch the breakers of PROVIDER off until they are reset: every call is let through.")  # fmt: skip
_acting("drain", "drain", "Send no new calls to a provider.",
        "Send no new calls to PROVIDER until it is resumed; those under way end.")  # fmt: skip
_acting("resume", "resume", "Send calls to a drained provider again.",
        "Send calls to PROVIDER again after it was drained.")  # fmt: skip
