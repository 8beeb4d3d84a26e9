"""How the commands find and open the store."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import click

from failsafe import loader
from failsafe.cli.settings import config_option
from failsafe.errors import StoreUnavailable
from failsafe.telemetry import database
from failsafe.telemetry.location import Location, explain
from failsafe.telemetry.reader import StoreReader

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_store_option = click.option(
    "--store",
    "store_path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The store; else that of the settings, else $FAILSAFE_STORE, else the one in the user's state folder.",
)


def store_options(command: F) -> F:
    """The options ``--config`` and ``--store``, for a command that takes ``path`` and ``store_path``."""
    return config_option(_store_option(command))


def located(path: Path | None, store_path: Path | None) -> Location:
    """
    Where the store is, and who has said so: ``--store``, ``setting``, ``FAILSAFE_STORE`` or ``default``.

    Needs no key: of the settings, only those of the store are read.

    Raises:
        ConfigError: The settings cannot be read.
    """
    if store_path is not None:
        return Location(store_path.absolute(), "--store")
    return explain(loader.load_store(path))


def file_of(path: Path | None, store_path: Path | None) -> Path:
    """
    The store's file.

    Raises:
        ConfigError: As :func:`located`.
        StoreUnavailable: It is turned off.
    """
    found = located(path, store_path)
    if found.path is None:
        raise StoreUnavailable(f"the store is turned off ({why(found)}); --store FILE reads another")
    return found.path


def why(found: Location) -> str:
    """Who has said where the store is, in words."""
    return {
        "--store": "by --store",
        "setting": "by store in the settings",
        "FAILSAFE_STORE": "by the variable FAILSAFE_STORE",
        "default": "by default",
    }[found.origin]


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Tell in words what SQLite refuses while the block reads *file*."""
    problem = ""
    try:
        yield
        return
    except sqlite3.Error as error:
        problem = f"the store {file} cannot be used ({error})"
        problem += "; failsafe store path says more" if database.is_damage(error) else ""
    raise StoreUnavailable(problem)


class Followed:
    """
    A store that is read again and again, and may come, go and be replaced meanwhile. Not thread-safe.

    Args:
        file: Where it is.

    Attributes:
        opened: How many files have had the name so far.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.opened = 0
        self._reader: StoreReader | None = None
        self._identity: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def read(self, look: Callable[[StoreReader], T]) -> T:
        """
        What *look* reads from the file that has the name now.

        Raises:
            StoreUnavailable: There is none, or it cannot be read; later it may.
        """
        identity = database.identity(self.file)
        if self._reader is None:
            with readable(self.file):
                self._reader = StoreReader.open(self.file)
        if identity != self._identity:
            self._identity = identity
            self.opened += 1
        return look(self._reader)  # which itself opens a file that has taken the name
