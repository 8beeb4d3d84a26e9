"""``failsafe export``: what is recorded, for other programs."""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO

import click

from failsafe.cli.export_formats import FORMATS, Format
from failsafe.cli.new_file import new_file
from failsafe.cli.output import progress
from failsafe.cli.signals import until_stopped
from failsafe.cli.store_access import file_of, readable, store_options
from failsafe.cli.times import MOMENT
from failsafe.telemetry import database, extracts
from failsafe.telemetry.extracts import Extract

_WIDTHS = {"10s": 10, "1m": 60, "15m": 900, "1d": 86_400}


@click.command(short_help="Write what is recorded as CSV, JSON or Parquet.")
@click.argument("what", type=click.Choice(extracts.NAMES))
@store_options
@click.option("--format", "form", type=click.Choice([*FORMATS]), help="Else by the ending of FILE, else csv.")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--from", "began", type=MOMENT, metavar="TIME",
              help="From this time on: 2026-11-24, 2026-11-24T12:30 (local), 24h (ago).")  # fmt: skip
@click.option("--to", "ended", type=MOMENT, metavar="TIME", help="Before this time.")
@click.option("--every", type=click.Choice([*_WIDTHS]), default="15m", show_default=True,
              help="For rollups: the length of each.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE",
              help="Where to; else to standard output.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def export(
    what: str,
    path: Path | None,
    store_path: Path | None,
    form: str | None,
    as_json: bool,
    began: float | None,
    ended: float | None,
    every: str,
    output: Path | None,
    force: bool,
) -> None:
    """
    Write all recorded attempts, calls, probes, events, rollups (counts and latencies), costs or spans (times of each
    state), row by row: millions take no more memory than one.

    Times are UTC. FILE is readable by you alone, and there only when it is complete.
    """
    target = None if output is None or str(output) == "-" else output
    chosen = _format(form, target, as_json=as_json)
    if chosen == "parquet" and target is None and sys.stdout is not None and sys.stdout.isatty():
        raise click.UsageError("Parquet is nothing for a terminal; name a file with -o")
    if began is not None and ended is not None and began >= ended:
        raise click.UsageError("--from is not before --to, so that there is nothing between them")
    file = file_of(path, store_path)
    wanted = extracts.extract(what, _WIDTHS[every])
    with readable(file), closing(database.connect(file, read_only=True)) as store, _opened(target, force) as out:
        rows = _written(store, wanted, _span(wanted, began, ended), chosen, out)
    if target is not None:
        click.echo(f"{rows:,} row{'' if rows == 1 else 's'} of {what} in {target}", err=True)


def _format(form: str | None, output: Path | None, *, as_json: bool) -> str:
    if as_json:
        if form not in (None, "json"):
            raise click.UsageError(f"--json and --format {form} contradict each other")
        return "json"
    ending = output.suffix.lower().removeprefix(".") if output is not None else ""
    return form or (ending if ending in FORMATS else "csv")


def _span(wanted: Extract, began: float | None, ended: float | None) -> tuple[object, object]:
    if not wanted.by_day:
        return -math.inf if began is None else began, math.inf if ended is None else ended
    first = "" if began is None else f"{datetime.fromtimestamp(began, UTC):%Y-%m-%d}"
    if ended is None:
        return first, "a"  # after every number
    last = datetime.fromtimestamp(ended, UTC) - timedelta(microseconds=1)
    return first, f"{last + timedelta(days=1):%Y-%m-%d}"  # a day that has begun belongs to it


@contextmanager
def _opened(output: Path | None, force: bool) -> Iterator[IO[bytes]]:
    if output is None:
        yield sys.stdout.buffer
        return
    with new_file(output, replace=force) as file:
        yield file


def _written(store: sqlite3.Connection, wanted: Extract, span: tuple[object, object], form: str, out: IO[bytes]) -> int:
    """Write the rows, and return how many; a signal ends it between two pages."""
    count = 0
    with until_stopped() as stopped, progress() as tell, _finished(FORMATS[form](out, wanted.columns)) as writer:
        for rows in extracts.pages(store, wanted, *span):
            writer.write(rows)
            count += len(rows)
            if not out.isatty():
                tell(f"{count:,} rows")
            if stopped.is_set():
                raise KeyboardInterrupt
    out.flush()
    return count


@contextmanager
def _finished(writer: Format) -> Iterator[Format]:
    try:
        yield writer
        writer.finish()
    except BaseException:
        writer.abandon()
        raise
