"""
What the monitors of several programs know of each other, by way of the store: whose turn it is to probe a provider.

Each provider has a lease. Who holds it probes, for all; the others read what was seen. It ends by itself before the
third interval, so that a program that died holds nothing for long. Without a store each program probes for itself.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from failsafe.errors import StoreUnavailable
from failsafe.telemetry import leases
from failsafe.telemetry.views import LastOutcomes

if TYPE_CHECKING:
    import sqlite3

    from failsafe.telemetry.store import Store

LEASE = 2.5
"""Intervals for which one process has the right to probe a provider."""

_DAY = 86_400.0

WATCHED, PAUSED, MAINTENANCE = "watched", "paused", "maintenance"


class Watch(NamedTuple):
    """
    How a provider is watched.

    Attributes:
        state: ``watched``, ``paused`` or ``maintenance``.
        note: Why.
        since: Since when, seconds since 1970-01-01 UTC.
        until: Until when, if that ends by itself.
    """

    state: str = WATCHED
    note: str = ""
    since: float = -math.inf
    until: float | None = None


class Place(NamedTuple):
    """A provider at an address: what all programs that configure it so call by one name."""

    name: str
    base_url: str
    interval: float

    @property
    def lease(self) -> str:
        """The name of its lease."""
        return f"probe {self.name} {self.base_url}"


class Turn(NamedTuple):
    """
    What the store said of one provider.

    Attributes:
        mine: Whether this process is to probe it.
        watch: How it was last said to be watched, by whichever program; None: nobody said anything.
        others: How it did, as all programs have seen; None: that is not known.
    """

    mine: bool = True
    watch: Watch | None = None
    others: LastOutcomes | None = None


ALONE = Turn()
"""Without a store."""


def take(store: Store | None, place: Place, window: float, now: float) -> Turn:
    """
    Take or renew the lease on probing a provider, and read what others know. Waits a few seconds at most.

    Args:
        store: Where all programs record, or None.
        place: The provider.
        window: Seconds over which it is summed up how it did.
        now: Seconds since 1970-01-01 UTC.
    """
    if store is None:
        return ALONE
    try:
        mine, watch = store.transact(partial(_take, place, store.process_id, now))
        with store.reader() as reader:
            target = reader.target(place.name, place.base_url)
            others = None if target is None else reader.last_outcomes(target.id, window, now)
    except StoreUnavailable:
        return ALONE
    return Turn(mine, watch, others)


def give_back(store: Store | None, *places: Place) -> None:
    """Let other processes probe at once; one transaction for all, so that a locked store is waited for but once."""
    if store is not None and places:
        with suppress(StoreUnavailable):
            store.transact(partial(_give_back, places, store.process_id))


def is_offline(store: Store | None) -> bool:
    """Whether some program has noted that this machine has no network, and nobody yet that it has."""
    if store is None:
        return False
    with suppress(StoreUnavailable):
        return store.transact(_is_offline)
    return False


def _take(place: Place, process: int, now: float, connection: sqlite3.Connection) -> tuple[bool, Watch | None]:
    mine = leases.acquire(connection, place.lease, process, min(LEASE * place.interval, _DAY), now)
    row = connection.execute(
        "SELECT watch.state, watch.note, watch.began, watch.ended FROM watch JOIN targets ON targets.id = watch.target "
        "WHERE targets.name = ? AND targets.base_url = ? ORDER BY watch.began DESC, watch.id DESC LIMIT 1",
        (place.name, place.base_url),
    ).fetchone()
    if row is None or row[0] not in (PAUSED, MAINTENANCE):
        return mine, None
    state, note, began, ended = row
    return mine, Watch(state, note, began) if ended is None else Watch(since=began)


def _give_back(places: tuple[Place, ...], process: int, connection: sqlite3.Connection) -> None:
    for place in places:
        leases.release(connection, place.lease, process)


def _is_offline(connection: sqlite3.Connection) -> bool:
    found = connection.execute("SELECT 1 FROM watch WHERE state = 'offline' AND ended IS NULL").fetchone()
    return found is not None
