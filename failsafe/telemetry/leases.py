"""Who does what only one process at a time is to do."""

from __future__ import annotations

import sqlite3


def acquire(connection: sqlite3.Connection, name: str, holder: int, seconds: float, now: float) -> bool:
    """
    Take the lease *name*, or renew it, for *seconds*; whether *holder* has it now.

    One that has ended is anybody's, so that a process that died holds nothing. So is one that would last longer than
    a day from now: its holder's clock was wrong.

    Args:
        connection: Within a transaction that writes, or by itself.
        name: What is leased.
        holder: The process, by its id in the store.
        seconds: From now on.
        now: Seconds since 1970-01-01 UTC.
    """
    connection.execute(
        "INSERT INTO leases (name, holder, until) VALUES (:name, :holder, :until) "
        "ON CONFLICT (name) DO UPDATE SET holder = :holder, until = :until "
        "WHERE holder = :holder OR until <= :now OR until > :now + 86400",
        {"name": name, "holder": holder, "until": now + seconds, "now": now},
    )
    found = connection.execute("SELECT holder FROM leases WHERE name = ?", (name,)).fetchone()
    return found is not None and found[0] == holder


def release(connection: sqlite3.Connection, name: str, holder: int) -> None:
    """Give the lease *name* back, if *holder* has it."""
    connection.execute("DELETE FROM leases WHERE name = ? AND holder = ?", (name, holder))
