"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import click

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


@contextmanager
def new_file(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """
    A file to write, which gets the name *path* when the block ends well, and is removed when it does not.

    Its owner alone can read it. A device or a pipe of that name is written directly.

    Args:
        path: Its name.
        replace: Whether a file that has that name may lose it.

    Raises:
        click.UsageError: There is one, and it may not.
        OSError: The file cannot be written.
    """
    if _is_special(path):
        with path.open("wb") as special:
            yield special
        return
    if not replace and os.path.lexists(path):
        _refuse(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with _made(temporary, path) as file:
            yield file
        _rename(temporary, path, replace=replace)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _made(temporary: Path, path: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(temporary, _NEW, 0o600), "wb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None  # a name that its reader knows


def _is_special(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _rename(temporary: Path, path: Path, *, replace: bool) -> None:
    if not replace:
        try:
            os.link(temporary, path)  # unlike a renaming, this never takes the name from another file
        except FileExistsError:
            _refuse(path)
        except OSError:  # a file system without links
            if os.path.lexists(path):
                _refuse(path)
        else:
            temporary.unlink()
            return
    temporary.replace(path)


def _refuse(path: Path) -> None:
    raise click.UsageError(f"{path} is there already; --force replaces it")
