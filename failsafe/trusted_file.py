"""
Read a configuration file that nobody else could have written.

What such a file says decides where API keys are sent, so it and its folder must belong to the user
(or root) and be writable by nobody else, and no folder above may let everybody exchange what is in it.
The checks of the file look at the opened one, not at its name, so that it cannot be exchanged between
the check and the reading.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

from failsafe.errors import ConfigError

LARGEST = 1024 * 1024

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_OTHERS_READ = stat.S_IRGRP | stat.S_IROTH
_FLAGS = sum(getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"))  # where they exist
_HAS_OWNERS = os.name == "posix"  # elsewhere modes and owners say nothing


class TrustedText(NamedTuple):
    """The text of a file, and whether other users can read it too."""

    text: str
    readable_by_others: bool


def read(path: Path) -> TrustedText:
    """
    Read the file at *path*.

    Raises:
        ConfigError: It cannot be read, is not a regular file, is larger than 1 MiB, is not UTF-8,
            belongs to another user, or it or its folder can be written by others.
    """
    try:
        status, content = _opened(path)
        _check_folders(path)
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is not valid"
    else:
        return _text(path, status, content)
    raise ConfigError(f"{path}: the file cannot be read ({reason}); check the path and its permissions")


def _opened(path: Path) -> tuple[os.stat_result, bytes]:
    """Status and content of one and the same file; opened without waiting, as a named pipe would block."""
    descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        status = os.fstat(descriptor)
        _check_kind(path, status)
        _check_owner(path, status)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return status, file.read(LARGEST + 1)
    finally:
        os.close(descriptor)


def _text(path: Path, status: os.stat_result, content: bytes) -> TrustedText:
    if len(content) > LARGEST:
        raise ConfigError(f"{path}: the file is larger than 1 MiB; that is no configuration of failsafe")
    return TrustedText(_decoded(path, content), _HAS_OWNERS and bool(status.st_mode & _OTHERS_READ))


def _check_kind(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: this is not a regular file; name a TOML file")


def _check_owner(path: Path, status: os.stat_result) -> None:
    if not _HAS_OWNERS:
        return
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{path}: the file belongs to another user, who could send your keys anywhere; copy it")
    if status.st_mode & _OTHERS_WRITE:
        raise ConfigError(f"{path}: others can write the file and send your keys anywhere; run: chmod go-w {path}")


def _check_folders(path: Path) -> None:
    """The folders of the name and, behind a symbolic link, those of the file."""
    for folder in dict.fromkeys((path.absolute().parent, path.resolve().parent)) if _HAS_OWNERS else ():
        status = folder.stat()
        if status.st_uid not in (os.geteuid(), 0):
            raise ConfigError(f"{path}: its folder {folder} belongs to another user, who could exchange the file in it")
        _check_exchange(path, folder, status.st_mode, _OTHERS_WRITE)
        for above in folder.parents:
            _check_exchange(path, above, above.stat().st_mode, stat.S_IWOTH)


def _check_exchange(path: Path, folder: Path, mode: int, writers: int) -> None:
    if mode & writers and not mode & stat.S_ISVTX:  # sticky: only owners replace their files
        raise ConfigError(f"{path}: others can write the folder and exchange the file in it; run: chmod go-w {folder}")


def _decoded(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    raise ConfigError(f"{path}: line {line} is not UTF-8; save the file as UTF-8")
