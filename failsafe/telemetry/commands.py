"""Commands to the programs that are running: written into the store, carried out by whoever they name."""

from __future__ import annotations

import getpass
import json
import os
import socket
import sqlite3
from collections.abc import Mapping
from typing import NamedTuple

from failsafe import checks
from failsafe.masking import mask, shorten

ACTIONS = ("reset", "force_open", "disable", "drain", "resume")
"""What a program can be told to do with a provider."""

VALID_FOR = 30.0
"""Seconds; nobody carries a command out later."""

_AT_ONCE = 100
_LONGEST = 200
"""Characters of a sender's name."""

NOT_HERE = "no such provider here"
"""What a process makes of a command that concerns none of its routers."""


class Command(NamedTuple):
    """
    One command.

    Attributes:
        id: Its number in the store.
        target: The provider's name, or ``*`` for all.
        base_url: The provider's address; None: wherever it is.
        action: One of :data:`ACTIONS`.
        origin: Who sent it.
    """

    id: int
    target: str
    base_url: str | None
    action: str
    origin: str

    def concerns(self, provider: str, base_url: str) -> bool:
        """Whether it is meant for this provider."""
        return self.target in ("*", provider) and self.base_url in (None, base_url)


def origin() -> str:
    """Who is asking: user, machine and process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = str(os.getuid()) if hasattr(os, "getuid") else "?"
    return f"{user}@{socket.gethostname()}, process {os.getpid()}"


def send(
    connection: sqlite3.Connection,
    *,
    target: str,
    action: str,
    now: float,
    process: int | None = None,
    base_url: str | None = None,
    sender: str | None = None,
) -> int:
    """
    Write a command down; its number, for :func:`outcomes`.

    Args:
        connection: To the store.
        target: The provider's name, or ``*`` for all.
        action: One of :data:`ACTIONS`.
        now: Seconds since 1970-01-01 UTC.
        process: The one process that is meant, by its id in the store; None: all of them.
        base_url: The provider's address; None: wherever it is.
        sender: Who sends it; None: :func:`origin`.

    Raises:
        ConfigError: *target* or *action* is wrong.
    """
    checks.text("target", target)
    checks.one_of("action", action, ACTIONS)
    written = connection.execute(
        "INSERT INTO commands (at, until, process, target, base_url, action, origin) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (now, now + VALID_FOR, process, target, base_url, action, sender or origin()),
    )
    return int(written.lastrowid or 0)


def pending(connection: sqlite3.Connection, process: int, now: float) -> list[Command]:
    """
    The commands that *process* has not carried out and that are still valid, in order, so many at a time.

    Others may have written them, where several users share a store: what is none of :data:`ACTIONS` is passed over,
    and the name of the sender is fit for a log.
    """
    rows = connection.execute(
        "SELECT id, target, base_url, action, origin FROM commands c "
        "WHERE at <= :now + :valid AND until > :now AND until <= :now + 2 * :valid "
        "AND (process IS NULL OR process = :process) "
        "AND NOT EXISTS (SELECT 1 FROM outcomes o WHERE o.command = c.id AND o.process = :process) "
        "AND action IN (SELECT value FROM json_each(:actions)) AND typeof(origin) = 'text' ORDER BY id LIMIT :most",
        {"process": process, "now": now, "valid": VALID_FOR, "actions": json.dumps(ACTIONS), "most": _AT_ONCE},
    )
    return [
        Command(number, target, base_url, action, shorten(mask(sender[: 5 * _LONGEST]), _LONGEST))
        for number, target, base_url, action, sender in rows
    ]


def note(connection: sqlite3.Connection, command: int, process: int, now: float, outcome: str) -> None:
    """Write down what *process* made of a command."""
    connection.execute(
        "INSERT OR REPLACE INTO outcomes (command, process, at, outcome) VALUES (?, ?, ?, ?)",
        (command, process, now, outcome),
    )


def outcomes(connection: sqlite3.Connection, command: int) -> Mapping[int, str]:
    """What each process that has seen a command made of it, by the process's id."""
    rows = connection.execute("SELECT process, outcome FROM outcomes WHERE command = ? ORDER BY at", (command,))
    return dict(rows.fetchall())
