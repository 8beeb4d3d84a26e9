"""``failsafe store``: where what is recorded lies, how large it is, and how it is looked after."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec
from rich.table import Table

from failsafe.cli.groups import WithDefault
from failsafe.cli.output import console, in_terminal, json_option, print_json, progress
from failsafe.cli.signals import until_stopped
from failsafe.cli.store_access import Followed, file_of, located, readable, store_options, why
from failsafe.cli.store_file import condition_of, migrated, rewritten, shrunk, size_of
from failsafe.cli.times import stamp
from failsafe.clock import SYSTEM_CLOCK
from failsafe.telemetry.views import StoreSize


@click.group(cls=WithDefault, short_help="Say where the store is; look after it.")
def store() -> None:
    """Say where the file is into which all programs of this user record, how large it is, and look after it."""


@store.command("path", short_help="Where it is and why (also what `failsafe store` alone does).")
@click.option("--check", is_flag=True, help="Read the whole file to see whether it is sound.")
@store_options
@json_option
def path_(path: Path | None, store_path: Path | None, check: bool, as_json: bool) -> None:
    """
    Print where the store is on standard output; on standard error why it is there, how it is, and what is wrong.

    Exits with 1 if something is wrong: it is damaged, of another version, read-only, or on a network file system.
    """
    found = located(path, store_path)
    condition = condition_of(found, whole=check)
    if as_json:
        print_json(condition)
        sys.exit(bool(condition.problems))
    click.echo(condition.path or "off")
    about = "not there yet" if not condition.exists else megabytes(condition.bytes)
    about += "" if condition.version is None else f", version {condition.version}"
    click.echo(why(found) if condition.path is None else f"{why(found)}; {about}", err=True)
    for problem in condition.problems:
        click.echo(f"problem: {problem}", err=True)
    sys.exit(bool(condition.problems))


def megabytes(count: int) -> str:
    """A number of bytes: ``4.1 kB``, ``12.3 MB``."""
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"


@store.command(short_help="How large it is, and how many rows it has.")
@store_options
@json_option
def size(path: Path | None, store_path: Path | None, as_json: bool) -> None:
    """Print how large the file is, what of that is free, and how many rows each table has."""
    with Followed(file_of(path, store_path)) as followed:
        found = followed.read(lambda reader: reader.size())
    if as_json:
        print_json(found)
        return
    oldest = "nothing is in it yet" if found.oldest is None else f"it goes back to {stamp(found.oldest)}"
    head = (
        f"{megabytes(found.bytes)}, of which {megabytes(found.free_bytes)} are free; version {found.version}; {oldest}"
    )
    click.echo(f"{found.path}\n{head}")
    _show_rows(found)


def _show_rows(found: StoreSize) -> None:
    if not in_terminal():
        for name, count in found.rows.items():
            click.echo(f"rows {name}: {count}")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    for name, count in found.rows.items():
        table.add_row(name, f"{count:,}")
    console().print(table)


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the file before and after."""

    path: str
    before: int
    after: int


@store.command(short_help="Give back what is free within it.")
@click.option("--full", is_flag=True,
              help="Write the whole file anew: smaller still, but no program can record meanwhile.")  # fmt: skip
@store_options
@json_option
def compact(path: Path | None, store_path: Path | None, full: bool, as_json: bool) -> None:
    """Give what is free within the file back to the disk, step by step, while programs go on recording."""
    file = file_of(path, store_path)
    before = size_of(file)
    with until_stopped() as stopped, readable(file), progress() as tell:
        (rewritten if full else shrunk)(file, tell, stopped)
    if stopped.is_set():
        raise KeyboardInterrupt
    done = Compacted(path=str(file), before=before, after=size_of(file))
    if as_json:
        print_json(done)
    else:
        click.echo(f"{file}: {megabytes(done.before)} before, {megabytes(done.after)} now")


class Migrated(msgspec.Struct, frozen=True, kw_only=True):
    """The versions before and after, and where the file of before is kept; None where nothing was to be done."""

    path: str
    before: int
    after: int
    copy: str | None


@store.command(short_help="Bring it to the version of this program.")
@store_options
@json_option
def migrate(path: Path | None, store_path: Path | None, as_json: bool) -> None:
    """
    Bring the tables of an older version to that of this program. The file as it was is kept beside it.

    Programs that record do the same by themselves, without a copy.
    """
    file = file_of(path, store_path)
    with readable(file), progress() as tell:
        before, after, copy = migrated(file, SYSTEM_CLOCK.time(), tell)
    if as_json:
        print_json(Migrated(path=str(file), before=before, after=after, copy=None if copy is None else str(copy)))
    elif copy is None:
        click.echo(f"{file} has version {after}, which is this program's: nothing to do")
    else:
        click.echo(f"{file} had version {before}, and has version {after} now; as it was, it is kept as {copy}")
