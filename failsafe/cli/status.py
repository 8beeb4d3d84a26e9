"""``failsafe status``: how every provider, breaker and program stands."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from failsafe.cli.changes import Changes
from failsafe.cli.keys import pressed_keys
from failsafe.cli.names import complete_provider
from failsafe.cli.output import can_redraw, clean, console, flush, has_reader, in_terminal, json_option, print_json
from failsafe.cli.signals import until_stopped
from failsafe.cli.standing import Choice, Standing, Watcher
from failsafe.cli.status_view import headline, lines, picture
from failsafe.cli.store_access import Followed, file_of, store_options
from failsafe.cli.times import LENGTH
from failsafe.clock import SYSTEM_CLOCK
from failsafe.errors import StoreUnavailable

_TURN = 1.0
"""Seconds between two pictures."""
_KEYS = 0.1
"""Seconds between two looks at the keyboard."""


@click.command(short_help="Show how every provider, breaker and program stands.")
@click.argument("providers", nargs=-1, metavar="[PROVIDER]...", shell_complete=complete_provider)
@store_options
@click.option("-w", "--watch", is_flag=True, help="Go on: draw it again every second, or print each change.")
@click.option("--window", type=LENGTH, default="1h", show_default=True, metavar="LENGTH",
              help="The time over which latencies and errors are counted.")  # fmt: skip
@click.option("-a", "--all", "old", is_flag=True, help="Show providers that were not observed for 30 days, too.")
@json_option
def status(
    providers: tuple[str, ...],
    path: Path | None,
    store_path: Path | None,
    watch: bool,
    window: float,
    old: bool,
    as_json: bool,
) -> None:
    """
    Show each PROVIDER (all of them by default) with its state, uptime, latency, errors and breaker, and the programs
    that run, as recorded by all programs of this user.

    Exits with 1 if a provider is down or degraded or a breaker keeps calls from it, with 2 if the store cannot be
    read. With --watch, q or Ctrl+C ends it, with 0.
    """
    file = file_of(path, store_path)
    watcher = Watcher(str(file), Choice(providers, old, window))
    with Followed(file) as store:
        if not watch:
            standing = store.read(lambda reader: watcher.look(reader, SYSTEM_CLOCK.time()))
            _refuse_unknown(providers, standing)
            _print(standing, as_json=as_json)
            sys.exit(standing.in_trouble)
        with until_stopped() as stopped:
            if can_redraw() and not as_json:
                _draw(store, watcher, stopped)
            else:
                _print_changes(store, watcher, stopped, as_json=as_json)


def _refuse_unknown(providers: tuple[str, ...], standing: Standing) -> None:
    known = {each.provider for each in standing.providers}
    unknown = [name for name in providers if name not in known]
    if unknown and not standing.hidden:
        raise click.UsageError(f"nothing is recorded of {', '.join(unknown)}; failsafe status names who is known")


def _print(standing: Standing, *, as_json: bool) -> None:
    if as_json:
        print_json(standing)
    elif in_terminal():
        terminal = console()
        terminal.print(picture(standing, terminal.width))
    else:
        for line in lines(standing):
            click.echo(line)


def _look(store: Followed, watcher: Watcher) -> Standing | str:
    """How everything stands, or why nobody can tell."""
    try:
        return store.read(lambda reader: watcher.look(reader, SYSTEM_CLOCK.time()))
    except StoreUnavailable as error:
        return str(error)


def _draw(store: Followed, watcher: Watcher, stopped: threading.Event) -> None:
    terminal = console()
    with pressed_keys() as keys, Live(console=terminal, screen=True, auto_refresh=False) as live:
        while not stopped.is_set():
            live.update(_screen(_look(store, watcher), terminal.width), refresh=True)
            _wait(stopped, keys)


def _screen(seen: Standing | str, width: int) -> RenderableType:
    if isinstance(seen, str):
        return Group(Text(clean(seen), "bold red"), Text("q quits", "dim"))
    return Group(headline(seen), Text(), picture(seen, width))


def _wait(stopped: threading.Event, keys: Callable[[], str]) -> None:
    """Wait for the next turn; ``q`` sets *stopped*."""
    end = SYSTEM_CLOCK.monotonic() + _TURN
    while not stopped.is_set() and SYSTEM_CLOCK.monotonic() < end:
        SYSTEM_CLOCK.wait(stopped, _KEYS)
        if "q" in keys().lower():
            stopped.set()


def _print_changes(store: Followed, watcher: Watcher, stopped: threading.Event, *, as_json: bool) -> None:
    """Print how everything is, then a line for each change; ends when nobody reads on."""
    changes = Changes()
    while not stopped.is_set() and has_reader():
        for change in changes.since(_look(store, watcher), SYSTEM_CLOCK.time()):
            if as_json:
                print_json(change)
            else:
                click.echo(change.line())
        flush()
        SYSTEM_CLOCK.wait(stopped, _TURN)
