"""Whether failures are this machine's own: when nobody at all can be reached, no provider is to blame."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from failsafe import addresses, forking
from failsafe.events import ProbeFinished
from failsafe.faults import Fault
from failsafe.workers import Workers

Reach = Callable[[str], bool]
"""Whether what is named takes a connection; bounded in time, never raises."""

_SILENT = frozenset({Fault.NETWORK, Fault.CONNECT_TIMEOUT, Fault.TIMEOUT, Fault.DISCONNECTED})
_WITNESSES = 2
"""Providers that are connected to before all are: mostly one is at fault, and the others can be reached."""


def silent(probed: ProbeFinished) -> bool:
    """Whether a probe failed before a byte was answered."""
    return probed.fault in _SILENT and probed.status is None


def host_of(base_url: str) -> str | None:
    """The host that a provider is at; None for this machine, which is there without a network, too."""
    host = urlsplit(base_url).hostname or ""
    return None if addresses.is_loopback(host) else host


class NetworkGuard:
    """
    Judges failures in which nothing was answered. Thread-safe; one thread looks into it, the others wait for it.

    Args:
        hosts: The host of each provider, None for this machine.
        addresses: ``host:port`` of which one must take a connection when no provider does.
        reach_provider: Whether the provider of a name takes a connection.
        reach_address: Whether an address does.
        timeout: Seconds for each of three looks.
        most: Connections that are made at once.

    Attributes:
        up: Whether there is a network, as far as is known.
    """

    def __init__(
        self,
        hosts: Mapping[str, str | None],
        addresses: Sequence[str],
        reach_provider: Reach,
        reach_address: Reach,
        *,
        timeout: float,
        most: int = 8,
    ) -> None:
        self.up = True
        self._hosts = dict(hosts)
        self._addresses = tuple(addresses)
        self._reach_provider = reach_provider
        self._reach_address = reach_address
        self._timeout = timeout
        self._heard_at: dict[str, float] = {}  # by host; single operations, atomic under the GIL
        self._most = most
        self._start_afresh()
        forking.register(self)

    def _start_afresh(self) -> None:
        self._lock = threading.RLock()  # a signal handler may make a call while this thread holds it
        self._look: _Look | None = None  # guarded by _lock

    _after_fork = _start_afresh

    def heard(self, provider: str, steady: float) -> bool:
        """Note that *provider* has answered; whether that is news: the network is back."""
        host = self._hosts.get(provider)
        if host is None:
            return False
        self._heard_at[host] = steady
        with self._lock:
            back, self.up = not self.up, True
        return back

    def is_own_failure(self, provider: str, began: float) -> bool:
        """
        Whether a failure of *provider*, which began at *began* (monotonic) and saw no answer, is this machine's.

        Blocks for at most three times the timeout, while connections are made.
        """
        host = self._hosts.get(provider)
        if host is None:
            return False
        if not self.up:
            return True
        if any(at >= began for other, at in list(self._heard_at.items()) if other != host):
            return False
        return self._looked_into(host)

    def note_down(self) -> bool:
        """Take it that there is no network; whether that is news."""
        with self._lock:
            news, self.up = self.up, False
        return news

    def _looked_into(self, host: str) -> bool:
        with self._lock:
            look = self._look
            mine = look is None
            if look is None:
                look = self._look = _Look()
        if not mine:
            look.done.wait(4 * self._timeout)
            return look.verdict
        try:
            look.verdict = self._nobody_answers(host)
        finally:
            with self._lock:
                self._look = None
            look.done.set()
        return look.verdict

    def _nobody_answers(self, host: str) -> bool:
        others = list({other: name for name, other in self._hosts.items() if other not in (None, host)}.values())
        if not others and not self._addresses:
            return False  # with one host alone, nobody can tell
        if self._any(self._reach_provider, others[:_WITNESSES]) or self._any(self._reach_provider, others[_WITNESSES:]):
            return False
        return not self._any(self._reach_address, self._addresses)

    def _any(self, reach: Reach, names: Sequence[str]) -> bool:
        """Whether one of *names* can be reached; all are tried at once."""
        if not names:
            return False
        tries = _Tries(len(names))
        workers = Workers("failsafe-monitor-network", self._most)
        try:
            for name in names:
                workers.later(0.0, partial(tries.make, reach, name))
            tries.over.wait(self._timeout)
        finally:
            workers.close(0.0)  # each thread ends with its connection, which is bounded, too
        return tries.reached


class _Look:
    """One look into whether there is a network, and what came of it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.verdict = False


class _Tries:
    """Some connections that are made at once; over with the first that succeeds, or with the last."""

    def __init__(self, count: int) -> None:
        self._left = count  # guarded by _lock
        self._lock = threading.Lock()
        self.reached = False
        self.over = threading.Event()

    def make(self, reach: Reach, name: str) -> None:
        """Make one of them."""
        reached = False
        with suppress(Exception):  # whoever waits for it must hear of its end
            reached = reach(name)
        with self._lock:
            self._left -= 1
            self.reached = self.reached or reached
            if self.reached or not self._left:
                self.over.set()
