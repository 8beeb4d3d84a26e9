"""``failsafe tail``: what happens, as it happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click
from rich.text import Text

from failsafe.checks import suggestion
from failsafe.cli.event_lines import KINDS, described, word_of
from failsafe.cli.names import complete_provider
from failsafe.cli.output import clean, console, flush, has_reader, in_terminal, json_option, print_json
from failsafe.cli.signals import until_stopped
from failsafe.cli.store_access import Followed, file_of, store_options
from failsafe.cli.times import shown, stamp
from failsafe.clock import SYSTEM_CLOCK
from failsafe.errors import StoreUnavailable
from failsafe.telemetry.reader import Cursor, StoreReader
from failsafe.telemetry.views import EventRow

_TURN = 0.5
"""Seconds between two looks for news."""
_AT_ONCE = 1000
"""Rows that are read in one view of the store."""


@click.command(short_help="Show what happens, as it happens.")
@store_options
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens from now on, until Ctrl+C.")
@click.option("-n", "--lines", "count", type=click.IntRange(0, 1_000_000), default=50, show_default=True, metavar="N",
              help="How many of the last events to begin with.")  # fmt: skip
@click.option("-k", "--kind", "words", type=click.Choice([*KINDS]), multiple=True,
              metavar="KIND", help=f"Only these; may be repeated. Of {', '.join(KINDS)}.")  # fmt: skip
@click.option("-p", "--provider", metavar="NAME", shell_complete=complete_provider, help="Only those about this one.")
@json_option
def tail(
    path: Path | None,
    store_path: Path | None,
    follow: bool,
    count: int,
    words: tuple[str, ...],
    provider: str | None,
    as_json: bool,
) -> None:
    """
    Show the last events that any program of this user has recorded, one a line: attempts, calls, probes, moves of
    breakers, alerts and the rest. With -f, go on with what happens next, even if the store is deleted or replaced.
    """
    wanted = _Wanted(frozenset(KINDS[word] for word in words), provider)
    show = _as_json if as_json else _in_colours if in_terminal() else _in_lines
    with Followed(file_of(path, store_path)) as store:
        _warn_of_unknown(store, provider)
        if not follow:
            show(store.read(lambda reader: _last(reader, wanted, count)))
            return
        with until_stopped() as stopped:
            for rows in _Following(store, wanted, count).rows(stopped):
                show(rows)


def _warn_of_unknown(store: Followed, provider: str | None) -> None:
    if provider is None:
        return
    with suppress(StoreUnavailable):  # which is said where it is read
        known = {target.name for target in store.read(lambda reader: reader.targets())}
        if provider not in known:
            guess = suggestion(provider, known)
            click.echo(f"nothing is recorded of a provider {provider!r} so far{guess}", err=True)


class _Wanted(NamedTuple):
    kinds: frozenset[str]
    provider: str | None

    def has(self, row: EventRow) -> bool:
        return row.kind in (self.kinds or (row.kind,)) and self.provider in (None, row.provider)


def _last(reader: StoreReader, wanted: _Wanted, count: int) -> Sequence[EventRow]:
    if not count:
        return ()
    return reader.events(kinds=wanted.kinds, provider=wanted.provider, limit=count, newest=True)


class _Following:
    """What comes after the last rows; a file that takes the store's place is read from its begin. Not thread-safe."""

    def __init__(self, store: Followed, wanted: _Wanted, count: int) -> None:
        self._store = store
        self._wanted = wanted
        self._count = count
        self._cursor: Cursor | None = None
        self._opened = 0
        self._missing = False

    def rows(self, stopped: threading.Event) -> Iterator[Sequence[EventRow]]:
        """Rows as they come, until *stopped* is set or nobody reads on."""
        while not stopped.is_set() and has_reader():
            try:
                rows = self._begin() if self._cursor is None else self._go_on(self._cursor)
            except StoreUnavailable as error:
                self._say_missing(str(error))
                rows = ()
            yield [row for row in rows if self._wanted.has(row)]
            if len(rows) < _AT_ONCE:
                SYSTEM_CLOCK.wait(stopped, _TURN)

    def _begin(self) -> Sequence[EventRow]:
        if self._missing:  # all that a store holds which was not there is new
            return self._go_on(Cursor())
        seen = self._store.read(lambda reader: reader.cursor())
        rows = self._store.read(lambda reader: _last(reader, self._wanted, self._count))
        self._cursor, self._opened = seen, self._store.opened
        return [row for row in rows if row.id <= getattr(seen, _TABLES.get(row.kind, "events"))]

    def _go_on(self, cursor: Cursor) -> Sequence[EventRow]:
        rows, following = self._store.read(lambda reader: reader.news(cursor, _AT_ONCE))
        self._missing = False
        if self._cursor is not None and self._opened != self._store.opened:
            self._opened = self._store.opened
            click.echo("the store was replaced; what follows is in the new one", err=True)
            return self._go_on(Cursor())
        self._cursor, self._opened = following, self._store.opened
        return rows

    def _say_missing(self, problem: str) -> None:
        if not self._missing:
            click.echo(f"{problem}; waiting for it", err=True)
        self._missing = True


_TABLES = {"AttemptFinished": "attempts", "CallFinished": "calls", "ProbeFinished": "probes"}


def _as_json(rows: Sequence[EventRow]) -> None:
    for row in rows:
        print_json(row)
    flush()


def _in_lines(rows: Sequence[EventRow]) -> None:
    for row in rows:
        click.echo(f"{stamp(row.at)} {word_of(row.kind)} {clean(row.provider) or '-'}: {described(row)[0]}")
    flush()


def _in_colours(rows: Sequence[EventRow]) -> None:
    terminal = console()
    now = SYSTEM_CLOCK.time()
    for row in rows:
        text, style = described(row)
        head = Text.assemble(
            (shown(row.at, now), "dim"), f" {word_of(row.kind):<8} ", (clean(row.provider) or "-", "bold")
        )
        terminal.print(Text.assemble(head, " ", (text, style)), soft_wrap=True)
