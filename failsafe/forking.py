"""
Locks and random sources that survive ``os.fork``.

A forked child gets a copy of every lock in the state it had, held by threads that do not exist
there, and of every random source, which would then give each child the same numbers. Objects
registered here put that right in the child before any other code runs.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet


class ForkAware(Protocol):
    """An object that has something to put right in a forked child; hashable and weakly referenceable."""

    def _after_fork(self) -> None:
        """Make new locks and forget what only other threads could finish. Runs in the child; must not raise."""


_registered: WeakSet[ForkAware] = WeakSet()


def register(obj: ForkAware) -> None:
    """
    Have ``obj._after_fork()`` run in every child forked from now on, as long as *obj* lives.

    Holds *obj* weakly. Thread-safe. Does nothing on platforms without ``fork``.
    """
    _registered.add(obj)


class RenewedLock:
    """A plain lock that is a new one in a forked child, for what a module keeps for all: ``with`` it."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._after_fork()
        register(self)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_raised: object) -> None:
        self._lock.release()


def _put_right() -> None:
    for obj in list(_registered):
        obj._after_fork()  # noqa: SLF001 -- the method is the private half of the protocol above


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_put_right)
