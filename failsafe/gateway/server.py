"""The gateway on a port: waitress, taught to notice that a client is gone and to end in order."""

from __future__ import annotations

import math
import socket
import threading
from collections.abc import Callable
from functools import partial
from io import BytesIO
from types import TracebackType
from typing import Any, Self

from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import create_server
from waitress.task import WSGITask

from failsafe.clock import SYSTEM_CLOCK
from failsafe.deadline import CancelToken
from failsafe.gateway.app import CANCEL, Gateway

_CONNECTIONS = 1000
"""Most connections open at once; further ones wait to be accepted."""
_IN_MEMORY = 2**31
"""Bytes beyond which waitress would put a request or an answer into a file: what people say stays off the disk."""
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - to be recognised
"""Where a server that listens everywhere is found on this machine; the addresses themselves are none to call."""
_LOOK = 1.0
"""Seconds after which the loop looks at its connections even if nothing happens."""
_CALLED_OFF = 2.0
"""Seconds for calls that are cancelled to end; they take 0.05."""
_FLUSHING = 2.0
"""Seconds for clients to take what is left of their answers."""


class GatewayServer:
    """
    Serves a gateway on a port from now until :meth:`stop`, a thread for each request under way. Thread-safe.

    A client that goes away ends its call, in whatever state that is.

    Args:
        gateway: What to serve.
        host: The address to listen on.
        port: The port; 0 takes a free one.
        threads: How many requests are answered at once; others wait for their turn.

    Raises:
        OSError: The port is taken, or there is no such address.
    """

    def __init__(self, gateway: Gateway, *, host: str = "127.0.0.1", port: int = 0, threads: int = 32) -> None:
        listening = socket.create_server((host, port), family=_family(host))
        self.host, self.port = listening.getsockname()[:2]
        """Where it listens."""
        self._token = CancelToken()
        self._map: dict[int, Any] = {}
        self._ends_at = math.inf
        self._stopping = threading.Lock()
        self._stopped = False  # guarded by _stopping
        self._draining = False
        self._server = create_server(
            gateway,
            map=self._map,
            sockets=[listening],
            threads=threads,
            connection_limit=_CONNECTIONS,
            max_request_body_size=gateway.max_body + 1,  # the first size that it refuses
            inbuf_overflow=_IN_MEMORY,
            outbuf_overflow=_IN_MEMORY,
            channel_request_lookahead=1,  # read on while a request is answered: so the end of the connection is seen
            asyncore_use_poll=True,  # select() knows no descriptors beyond 1,023
            log_socket_errors=False,
            ident=None,
        )
        self._server.channel_class = partial(_Channel, parent=self._token, parser=partial(_Parser, gateway=gateway))
        self._loop = threading.Thread(target=self._run, name="failsafe-gateway", daemon=True)
        self._loop.start()

    @property
    def url(self) -> str:
        """Its address for clients on this machine, without a path."""
        host = _HERE.get(self.host, self.host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}"

    @property
    def is_alive(self) -> bool:
        """Whether it serves; false after :meth:`stop`, or if something broke it."""
        return self._loop.is_alive()

    @property
    def under_way(self) -> int:
        """How many connections wait for an answer."""
        return sum(bool(channel.requests) for channel in list(self._server.active_channels.values()))

    def drain(self, seconds: float) -> bool:
        """Take no more requests, and say whether those under way have ended within *seconds*."""
        self._in_loop(self._refuse_new)
        return _ended_within(self._server.task_dispatcher, seconds)

    def cancel(self) -> None:
        """End every call under way, and every one that is still to come."""
        self._token.cancel()

    def stop(self, grace: float = 0.0) -> None:
        """
        Take no more requests, let those under way end within *grace* seconds, and cancel the others.

        Returns when all is closed: at most *grace* and four seconds later. Clients whose calls are cancelled are told
        so in their own format. Stopping again does nothing, or what was not done before a call ended that would not.
        """
        with self._stopping:
            self._stopped = self._stopped or self._stop(grace)

    def _stop(self, grace: float) -> bool:
        self.drain(grace)
        self.cancel()
        dispatcher = self._server.task_dispatcher
        if not _ended_within(dispatcher, _CALLED_OFF):
            return False  # a thread may still write to the loop's own descriptors, which must then stay open
        for channel in dispatcher.queue:  # those that nobody has begun to answer
            channel.cancel()
        self._ends_at = SYSTEM_CLOCK.monotonic() + _FLUSHING
        self._in_loop(self._hang_up)
        self._loop.join(2 * _FLUSHING)
        wasyncore.close_all(self._map)
        return True

    def _in_loop(self, action: Callable[[], None]) -> None:
        self._server.trigger.pull_trigger(action)

    def _refuse_new(self) -> None:
        wasyncore.dispatcher.close(self._server)  # the listening socket alone; its own close() ends the trigger, too

    def _hang_up(self) -> None:
        """Close every connection as soon as what it has to send is sent."""
        self._draining = True
        for channel in self._server.active_channels.values():
            channel.close_when_flushed = True

    def _run(self) -> None:
        while (left := self._left()) > 0.0:
            wasyncore.loop(min(left, _LOOK), use_poll=True, map=self._map, count=1)

    def _left(self) -> float:
        """Seconds for which the loop is to go on, so far."""
        flushed = self._draining and not self._server.active_channels
        return 0.0 if flushed else self._ends_at - SYSTEM_CLOCK.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


class _Task(WSGITask):  # type: ignore[misc] # waitress has no types
    """One request, which is told when its client is gone."""

    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[CANCEL] = self.channel.token
        return environ


class _Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads one request, and keeps the body of none that the gateway will refuse by its head."""

    def __init__(self, adj: Any, *, gateway: Gateway) -> None:
        super().__init__(adj)
        self._gateway = gateway

    def parse_header(self, header_plus: bytes) -> None:
        """
        Read the head.

        Raises:
            ParsingError: The body is framed in two ways. Waitress would heed one of them, and a server in front
                perhaps the other: what is a body to that one would be a request of its own here.
        """
        super().parse_header(header_plus)
        if self.chunked and "CONTENT_LENGTH" in self.headers:
            raise ParsingError("Transfer-Encoding and Content-Length exclude each other")
        if self.content_length > self._gateway.max_body:
            self._end_here()
        elif self.body_rcv is not None and not self._gateway.admits(self._environ()):
            self.body_rcv.buf = _Nowhere()

    def _end_here(self) -> None:
        """Let the gateway answer at once, in its client's format; what follows is not read, as no more ever is."""
        self.body_rcv, self.content_length, self.expect_continue = None, 0, False
        self.headers["CONNECTION"] = "close"

    def _environ(self) -> dict[str, Any]:
        return {f"HTTP_{name}": value for name, value in self.headers.items()}


class _Nowhere:
    """Takes a body and keeps nothing: whoever may not ask must not fill the memory either. Thread-safe."""

    def append(self, data: bytes) -> None:
        """Forget *data*."""

    def getfile(self) -> BytesIO:
        """The body that is left."""
        return BytesIO()

    def __len__(self) -> int:
        return 0

    def close(self) -> None:
        """Nothing, as nothing is held."""


class _Channel(HTTPChannel):  # type: ignore[misc]
    """One connection; its token is cancelled with it."""

    task_class = _Task

    def __init__(self, *args: Any, parent: CancelToken, parser: Callable[[Any], _Parser], **named: Any) -> None:
        self.token = parent.child()
        self.parser_class = parser
        super().__init__(*args, **named)

    def handle_close(self) -> None:
        """Close, and end the call that was to be answered here."""
        self.token.cancel()
        super().handle_close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _ended_within(dispatcher: Any, seconds: float) -> bool:
    """Whether every thread of *dispatcher*, which begins no further request, has ended within *seconds*."""
    dispatcher.set_thread_count(0)
    with dispatcher.lock:
        ended: bool = dispatcher.thread_exit_cv.wait_for(lambda: not dispatcher.threads, seconds)
    return ended
