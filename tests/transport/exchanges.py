"""What the tests of the transport share: one exchange with the usual limits, timed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from failsafe.deadline import CancelToken, Deadline
from failsafe.models import Failure
from failsafe.secret import Secret
from failsafe.transport.base import Limits, RawAnswer
from failsafe.transport.requests_transport import RequestsTransport

KEY = "sk-test-MARKED-0123456789"
BODY = b'{"model":"m","messages":[]}'
DEADLINE = 0.2
CAP = 3 * DEADLINE


def exchange(
    transport: RequestsTransport,
    *,
    timeout: float = 5.0,
    body: bytes | None = BODY,
    cancel: CancelToken | None = None,
    **limits: Any,
) -> RawAnswer | Failure:
    """Send one request with the marked key."""
    bounds = Limits(deadline=Deadline.after(timeout), cancel=cancel, **limits)
    return transport.send("POST" if body is not None else "GET", "/chat", body, Secret(KEY), bounds)


def answered(outcome: RawAnswer | Failure) -> RawAnswer:
    """*outcome*, which has to be an answer."""
    assert isinstance(outcome, RawAnswer), outcome
    return outcome


def failed(outcome: RawAnswer | Failure) -> Failure:
    """*outcome*, which has to be a failure without the key in it."""
    assert isinstance(outcome, Failure), outcome
    assert "MARKED" not in repr(outcome)
    assert len(outcome.message) < 200
    return outcome


def late(transport: RequestsTransport, **limits: Any) -> Failure:
    """The failure of an exchange that runs into its deadline, and returns when it should."""
    started = time.monotonic()  # noqa: TID251 -- measures real sockets
    failure = failed(exchange(transport, timeout=limits.pop("timeout", DEADLINE), **limits))
    elapsed = time.monotonic() - started  # noqa: TID251
    assert DEADLINE * 0.9 <= elapsed <= CAP
    return failure


def cancelled(transport: RequestsTransport, when: threading.Event, **limits: Any) -> Failure:
    """The failure of an exchange that another thread cancels once *when* is set."""
    token = CancelToken()
    ended: list[float] = []

    def cancel() -> None:
        assert when.wait(5)
        ended.append(time.monotonic())  # noqa: TID251
        token.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    failure = failed(exchange(transport, cancel=token, **limits))
    canceller.join()
    assert time.monotonic() - ended[0] < CAP  # noqa: TID251
    return failure


@contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener whose queue is full, so that connecting to it hangs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.settimeout(0)
            filler.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()
