"""The numbers that one database has given to targets and models."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from failsafe.telemetry.records import Target

OTHER = "(other)"
"""What a model is called that is one too many."""
MOST_MODELS = 10_000
"""Names of models in one store: callers of a gateway may make them up, and none is ever forgotten."""
MOST_CLAIMED = 1000
"""Of those, after how many no name is added that a provider alone has used: it may claim another one each time."""


class Numbers:
    """
    What targets and models are called within one transaction; those that are new are written down.

    It is remembered no longer: a transaction that is undone takes its numbers back, and another database has others.

    Args:
        connection: To the store, within a transaction that writes.
        targets: All that will be asked for.
    """

    def __init__(self, connection: sqlite3.Connection, targets: Iterable[Target]) -> None:
        self._connection = connection
        self._models: dict[str, int] = {}
        self._targets: dict[Target | None, int | None] = {None: None}
        self._by_identity: dict[tuple[str, str], int] = {}
        for target in targets:
            number = self._by_identity.get(target.identity)
            if number is None:
                number = self._by_identity[target.identity] = self._number_of(target)
            self._targets[target] = number

    def target(self, target: Target | None) -> int | None:
        """The number of *target*; None for none."""
        return self._targets[target]

    def identity(self, identity: tuple[str, str]) -> int:
        """The number of the target of this name at this address."""
        return self._by_identity[identity]

    def model(self, name: str, most: int = MOST_MODELS) -> int:
        """The number of the model called *name*; where there are *most* already, that of all others together."""
        number = self._models.get(name)
        if number is None:
            number = self._models[name] = self._number_of_model(name, most)
        return number

    def _number_of(self, target: Target) -> int:
        execute, info = self._connection.execute, target.info
        limits = info.interval, info.latency_limit, info.sla
        row = execute(_FIND_TARGET, target.identity).fetchone()
        if row is None:
            return execute(_NEW_TARGET, (*target.identity, *limits)).lastrowid or 0
        number = int(row[0])
        if row[1:] != limits:
            execute(_CHANGE_TARGET, (*limits, number))
        return number

    def _number_of_model(self, name: str, most: int) -> int:
        execute = self._connection.execute
        row = execute(_FIND_MODEL, (name,)).fetchone()
        if row is not None:
            return int(row[0])
        if name != OTHER and execute(_LAST_MODEL).fetchone()[0] >= most:
            return self.model(OTHER)
        return execute(_NEW_MODEL, (name,)).lastrowid or 0


_FIND_TARGET = "SELECT id, interval, latency_limit, sla FROM targets WHERE name = ? AND base_url = ?"
_NEW_TARGET = "INSERT INTO targets (name, base_url, interval, latency_limit, sla) VALUES (?, ?, ?, ?, ?)"
_CHANGE_TARGET = "UPDATE targets SET interval = ?, latency_limit = ?, sla = ? WHERE id = ?"
_FIND_MODEL = "SELECT id FROM models WHERE name = ?"
_LAST_MODEL = "SELECT coalesce(max(id), 0) FROM models"
_NEW_MODEL = "INSERT INTO models (name) VALUES (?)"
