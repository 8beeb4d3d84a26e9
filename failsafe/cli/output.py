"""How commands write: for a person at a terminal, for a pipe, as JSON."""

from __future__ import annotations

import os
import re
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
import msgspec

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""What every command has that prints something."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+|[\ud800-\udfff]")
"""Control characters, what turns the direction of writing, and halves of characters."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def in_terminal() -> bool:
    """Whether a person reads standard output as it comes."""
    return sys.stdout is not None and sys.stdout.isatty()


def can_redraw() -> bool:
    """Whether a picture can be drawn over the last one; rich alone would also say so of a log with forced colours."""
    from rich.console import Console

    return in_terminal() and not Console().is_dumb_terminal


def console() -> Console:
    """A terminal that shows every text as it is: in a tag or a model's name, ``[red]`` and ``:cat:`` mean nothing."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def clean(text: str) -> str:
    """*text* without what could move a terminal's cursor or write over what is shown: others have written it."""
    return _CONTROLS.sub(" ", str(text))  # SQLite holds anything in any column


def print_json(value: Any) -> None:
    """Print *value* as one line of JSON; exact decimals are numbers."""
    click.echo(_ENCODER.encode(value))


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Shows how far something has come, on a line of standard error that goes away; only if that is a terminal."""
    shows = sys.stderr is not None and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def tell(text: str) -> None:
        if shows:
            click.echo(f"\r\x1b[K{text}", nl=False, err=True)

    try:
        yield tell
    finally:
        tell("")


def flush() -> None:
    """Let what was printed reach whoever reads it, also through a pipe."""
    if sys.stdout is not None:
        sys.stdout.flush()


def let_readers_go_on() -> None:
    """End standard output where it is a pipe or a file, or ``$(...)`` would wait for it as long as this runs."""
    if sys.stdout is not None and not sys.stdout.isatty():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def has_reader() -> bool:
    """Whether somebody still reads standard output; a command that waits for news would not notice by itself."""
    if sys.stdout is None or not hasattr(select, "poll"):
        return True
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)  # a closed pipe is always told
        return not poll.poll(0)
    except (OSError, ValueError):  # no file at all, as in tests
        return True
