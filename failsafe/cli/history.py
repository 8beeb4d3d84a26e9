"""``failsafe history``: how a provider was over a time."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from failsafe.checks import close_names
from failsafe.cli.history_view import BLOCKS, LETTERS, Past, lines
from failsafe.cli.names import complete_provider
from failsafe.cli.output import console, in_terminal, json_option, print_json
from failsafe.cli.store_access import Followed, file_of, store_options
from failsafe.cli.times import LENGTH, MOMENT
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.views import Target

_CELLS = 72
"""Of the strip where nobody can see how wide it may be."""
_FEWEST_CELLS, _MOST_CELLS = 10, 144


@click.command(short_help="Show how a provider was: uptime, incidents, errors.")
@click.argument("provider", shell_complete=complete_provider)
@store_options
@click.option("--window", type=LENGTH, default="24h", show_default=True, metavar="LENGTH",
              help="How far to look back: 90s, 15m, 24h, 7d, 2w.")  # fmt: skip
@click.option("--until", type=MOMENT, default="now", show_default=True, metavar="TIME",
              help="The window's end: 2026-11-24T12:30 (local), or 2h (ago).")  # fmt: skip
@json_option
def history(
    provider: str, path: Path | None, store_path: Path | None, window: float, until: float, as_json: bool
) -> None:
    """
    Show how PROVIDER was in the last 24 hours, or in another window: uptime, a strip of its states, the times in
    which it was down, latencies, and its failures by kind. Times are local.

    One name at several addresses is shown once for each.
    """
    with Followed(file_of(path, store_path)) as store:
        pasts = store.read(lambda reader: _pasts(reader, provider, until - window, until))
    if as_json:
        print_json(pasts)
        return
    for number, past in enumerate(pasts):
        if number:
            click.echo()
        _show(past)


def _pasts(reader: StoreReader, provider: str, began: float, ended: float) -> list[Past]:
    targets = reader.targets()
    meant = [target for target in targets if target.name == provider]
    if not meant:
        close = close_names(provider, {target.name for target in targets}, most=3)
        guess = f"; did you mean {' or '.join(close)}?" if close else ""
        raise click.UsageError(f"nothing is recorded of a provider {provider!r}{guess}")
    return [_past(reader, target, began, ended) for target in meant]


def _past(reader: StoreReader, target: Target, began: float, ended: float) -> Past:
    return Past(
        target=target,
        uptime=reader.uptime(target.id, began, ended),
        budget=reader.error_budget(target.id, ended),
        counts=reader.counts(target.id, began, ended),
        latency=reader.latency(target.id, began, ended),
        faults=reader.faults(target.id, began, ended),
        incidents=reader.incidents(began, ended, targets=[target.id]),
        spans=reader.spans(target.id, began, ended),
    )


def _show(past: Past) -> None:
    if not in_terminal():
        for line in lines(past, _CELLS, LETTERS):
            click.echo(line.plain)
        return
    terminal = console()
    marks = BLOCKS if _can_show("".join(BLOCKS.values())) else LETTERS
    for line in lines(past, max(_FEWEST_CELLS, min(terminal.width, _MOST_CELLS)), marks):
        terminal.print(line)


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
