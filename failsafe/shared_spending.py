"""What all programs that share a store have spent on the providers of one router."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from failsafe.errors import StoreUnavailable
from failsafe.spending import ALL, Totals
from failsafe.telemetry.store import Store

_PATIENCE = 2.0
"""Seconds that are waited for what this process has still to write."""


class SharedTotals:
    """
    Looks up what was spent, for :meth:`failsafe.spending.Spending.read_from`; takes its time. Thread-safe.

    Args:
        store: Where all programs record.
        addresses: The router's providers, each with its address: another server of the same name is another account.
    """

    def __init__(self, store: Store, addresses: Mapping[str, str]) -> None:
        self._store = store
        self._addresses = dict(addresses)

    def __call__(self, day: str, month: str) -> Totals | None:
        """The totals, or None while the store cannot be read."""
        with suppress(StoreUnavailable):
            self._store.flush(_PATIENCE)
            return self._read(day, month)
        return None

    def _read(self, day: str, month: str) -> Totals:
        totals: dict[str, tuple[int, int]] = {}
        with self._store.reader() as reader:
            for name, address in self._addresses.items():
                target = reader.target(name, address)
                totals[name] = (0, 0) if target is None else reader.spent(day, month, target.id)
        return {**totals, ALL: (sum(each for each, _ in totals.values()), sum(each for _, each in totals.values()))}
