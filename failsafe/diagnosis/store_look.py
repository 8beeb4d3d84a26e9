"""Looks into the store, and at the place it is in. Changes nothing, and makes none."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.diagnosis.store import StoreFacts
from failsafe.errors import ConfigError, StoreUnavailable
from failsafe.monitoring_config import StoreConfig
from failsafe.telemetry.database import BESIDE
from failsafe.telemetry.location import explain, network_file_system
from failsafe.telemetry.reader import StoreReader

_LATELY = 7200.0
"""Seconds for which what was put off is looked for; nothing is put off for longer, but for empty accounts."""


def look(config: StoreConfig, environ: Mapping[str, str], clock: Clock = SYSTEM_CLOCK) -> StoreFacts:
    """What is known of the store that *config* and the variables name. Never raises."""
    try:
        location = explain(config, environ)
    except ConfigError as error:
        return StoreFacts(problem=str(error), origin="FAILSAFE_STORE")
    if location.path is None:
        return StoreFacts(origin=location.origin)
    path = location.path
    facts = StoreFacts(
        path=str(path),
        origin=location.origin,
        exists=path.exists(),
        unwritable=_unwritable(path),
        network=network_file_system(_existing(path)) or "",
        bytes=sum(map(_size, (path, *(Path(f"{path}{suffix}") for suffix in BESIDE)))),
        max_bytes=config.max_bytes,
        free=_free(path),
        readable_by_others=_readable_by_others(path),
        damaged=tuple(str(each) for each in sorted(path.parent.glob(f"{path.name}.damaged-*T??????"))),
    )
    return _read(facts, path, clock) if facts.exists and not facts.network else facts


def _read(facts: StoreFacts, path: Path, clock: Clock) -> StoreFacts:
    try:
        with StoreReader.open(path, clock=clock) as reader:
            return msgspec.structs.replace(
                facts,
                processes=tuple(reader.processes()),
                breakers=tuple(reader.breakers(alive_only=True)),
                put_off=tuple(reader.events(began=clock.time() - _LATELY, kinds=("PutOff",), newest=True)),
            )
    except StoreUnavailable as error:
        return msgspec.structs.replace(facts, problem=str(error))


def _existing(path: Path) -> Path:
    """The nearest folder above *path* that is there."""
    return next((folder for folder in path.parents if folder.is_dir()), Path("/"))


def _unwritable(path: Path) -> str:
    target = path if path.exists() else _existing(path)
    return "" if os.access(target, os.W_OK) and os.access(_existing(path), os.W_OK) else str(target)


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _free(path: Path) -> int | None:
    with suppress(OSError):
        return shutil.disk_usage(_existing(path)).free
    return None


def _readable_by_others(path: Path) -> bool:
    if os.name != "posix":  # elsewhere modes say nothing
        return False
    with suppress(OSError):
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IRGRP))
    return False
