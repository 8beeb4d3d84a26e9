"""A fake provider: a real server on loopback that behaves as it is told."""

from __future__ import annotations

import math
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Self

from failsafe import checks
from failsafe.clock import SYSTEM_CLOCK, Clock, Random, new_random
from failsafe.errors import ConfigError
from failsafe.sim.behaviour import HEALTHY, PLAIN_STREAM, Behaviour
from failsafe.sim.connection import Connection
from failsafe.sim.deliveries import BreakTls, NeverRead, RefuseConnections
from failsafe.sim.exchange import DIALECTS, Exchange, Profile
from failsafe.sim.faults import deliver, greet
from failsafe.sim.plan import Plan, Step
from failsafe.sim.record import BODY_KEPT, ReceivedRequest, Record
from failsafe.sim.respond import not_http, respond
from failsafe.sim.server import Server
from failsafe.sim.vendors import VENDORS, base_path
from failsafe.sim.wire import BadRequest, Head, Request, Response, from_json, merged

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CLOSING = (("Connection", "close"),)
_OF_CONNECTIONS = (NeverRead, BreakTls)


class FakeProvider:
    """
    A server on 127.0.0.1 that speaks a provider's dialect, healthy or with any fault. Thread-safe.

    A new behaviour holds from the next request on; requests in progress end as they began. Pauses on the wire are
    real time, whatever *clock* is.

    Args:
        name: Its name; its answers say it.
        dialect: ``openai``, ``anthropic`` or ``gemini``; None: the vendor's.
        vendor: Whose errors, headers and rules it has, one of :data:`VENDORS`; None: *name* where that is one,
            else the dialect's own (``generic`` for ``openai``).
        key: The key it takes, or several; None: it takes any request. "" (default): one made of *name*.
        models: The models it knows; empty: any name is one.
        behaviour: What it does from the start.
        port: The port; 0 takes a free one.
        clock: What schedules, flapping and the times of the record go by.
        random: Decides jitter and probabilities.
        tls: Makes it speak TLS with this server-side context.

    Raises:
        ConfigError: An argument is none of these.
    """

    def __init__(
        self,
        name: str = "sim",
        *,
        dialect: str | None = None,
        vendor: str | None = None,
        key: str | Sequence[str] | None = "",
        models: Sequence[str] = (),
        behaviour: Behaviour = HEALTHY,
        port: int = 0,
        clock: Clock = SYSTEM_CLOCK,
        random: Random | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = checks.text("name", name)
        self.vendor = _vendor(name, dialect, vendor)
        """Whose errors, headers and rules it has."""
        self.dialect = checks.one_of("dialect", dialect or _dialect_of(self.vendor), DIALECTS)
        """The name of its wire format."""
        self.keys = _keys(name, key)
        """The keys it takes."""
        self.models = tuple(models)
        """The models it knows."""
        self._profile = Profile(
            name=name,
            vendor=self.vendor,
            dialect=DIALECTS[self.dialect],
            dialect_name=self.dialect,
            keys=frozenset(self.keys),
            models=self.models,
        )
        self._clock = clock
        self._random = random or new_random()
        self._tls = tls
        self._record = Record()
        self._numbers = count(1)
        self._lock = threading.Lock()
        self._port = checks.whole("port", port, most=65535)  # guarded by _lock
        self._server: Server | None = None  # guarded by _lock
        self._steps: Sequence[Step] = [(0.0, behaviour)]  # guarded by _lock
        self._plan = self._new_plan()  # replaced as a whole

    def __repr__(self) -> str:
        where = self.base_url if self._server is not None else "stopped"
        return f"<FakeProvider {self.name} [{self.vendor}, {self.dialect}] {where}>"

    @property
    def key(self) -> str:
        """The first key it takes, or ""."""
        return self.keys[0] if self.keys else ""

    @property
    def port(self) -> int:
        """Its port; 0 before the first :meth:`start` unless one was given."""
        return self._port

    @property
    def base_url(self) -> str:
        """The base URL a client is to be given, ``http://127.0.0.1:PORT/v1`` for the OpenAI dialect."""
        return self._url("http" if self._tls is None else "https")

    @property
    def https_base_url(self) -> str:
        """The same with ``https``, for a provider that breaks TLS."""
        return self._url("https")

    def _url(self, scheme: str) -> str:
        if not self._port:
            raise ConfigError(f"provider {self.name!r} has no port yet: start() it, or give one")
        return f"{scheme}://127.0.0.1:{self._port}{base_path(self.vendor, self.dialect)}"

    def start(self) -> Self:
        """
        Begin to listen. A provider that was stopped may be started again and keeps its port.

        Raises:
            ConfigError: It is running already.
            OSError: The port is taken.
        """
        with self._lock:
            if self._server is not None:
                raise ConfigError(f"provider {self.name!r} is running already, on port {self._port}")
            self._plan = self._new_plan()
            server = Server(self.name, self._port, self._record, self._serve, self._refuses)
            server.follows_time = self._plan.follows_time
            self._port = server.port
            self._server = server
            server.start()
        server.look_again()
        return self

    def stop(self) -> None:
        """Close every socket and join every thread, whatever is in progress. Does nothing when not running."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.stop()

    def __enter__(self) -> Self:
        return self if self._server is not None else self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def behave(self, behaviour: Behaviour) -> None:
        """From now on do this. When it returns, the port is open or closed accordingly."""
        self.schedule([(0.0, behaviour)])

    def schedule(self, steps: Sequence[Step]) -> None:
        """
        From now on go through *steps*.

        Args:
            steps: ``(seconds, behaviour)`` in ascending order; the seconds count from this call, or from
                :meth:`start` where that comes later. Healthy before the first.

        Raises:
            ConfigError: The steps are not in order.
        """
        with self._lock:
            self._steps = list(steps)
            self._plan = self._new_plan()
            server = self._server
            if server is not None:
                server.follows_time = self._plan.follows_time
        self.look_again(server)

    def look_again(self, server: Server | None = None) -> None:
        """
        Open or close the port as the schedule says at this moment, and return when that is done.

        Only needed after a fake clock was moved; with a real one it happens within 10 ms by itself.
        """
        server = server or self._server
        if server is not None:
            server.look_again()

    def _new_plan(self) -> Plan:
        return Plan(self._steps, self._clock.monotonic(), self._random)

    @property
    def requests(self) -> list[ReceivedRequest]:
        """The latest requests, oldest first (at most 8,192, and 64 MiB of bodies)."""
        return self._record.requests()

    def count(self, path: str | None = None, matching: Callable[[ReceivedRequest], bool] | None = None) -> int:
        """
        How many requests came in.

        Args:
            path: Only those whose path ends so (``/chat/completions``); looked for among :attr:`requests`.
            matching: Only those for which this is true; likewise.
        """
        if path is None and matching is None:
            return self._record.count()
        return sum(
            request.path.endswith(path or "") and (matching is None or matching(request))
            for request in self._record.requests()
        )

    @property
    def connections(self) -> int:
        """How many connections were made so far."""
        return self._record.connections()

    @property
    def open_connections(self) -> int:
        """How many connections are open now."""
        server = self._server
        return 0 if server is None else server.open_connections()

    @property
    def bytes_received(self) -> bytes:
        """The first 16 MiB that reached it, of all connections (under TLS decrypted; long bodies: their first MiB)."""
        return self._record.raw()

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> bool:
        """Block until *count* requests have come in all, at most *timeout* seconds; True if they have."""
        return self._record.wait_for_requests(count, timeout)

    def wait_for_connections(self, count: int, timeout: float = 5.0) -> bool:
        """Block until *count* connections have come in all, at most *timeout* seconds; True if they have."""
        return self._record.wait_for_connections(count, timeout)

    def _refuses(self) -> bool:
        return isinstance(self._plan.now_at(self._clock.monotonic()).delivery, RefuseConnections)

    def _serve(self, connection: Connection) -> None:
        """One connection from its first byte to its last; runs in the connection's thread."""
        now = self._clock.monotonic()
        if isinstance(self._plan.now_at(now).delivery, _OF_CONNECTIONS):
            greet(self._plan.decide(now).delivery, connection)
        if connection.is_open and self._tls is not None:
            connection.start_tls(self._tls)
        while connection.is_open and self._exchange(connection):
            pass

    def _exchange(self, connection: Connection) -> bool:
        """One request and its answer; False when there is to be no other."""
        try:
            head = connection.read_head()
            if head is None:
                return False
            body = self._read_body(connection, head)
        except BadRequest as error:
            deliver(HEALTHY.delivery, connection, _closing(not_http(str(error))))
            return False
        request = Request(head, body, from_json(body))
        self._keep(connection, request)
        self._answer(connection, request)
        return head.keep_alive

    def _read_body(self, connection: Connection, head: Head) -> bytes:
        if isinstance(self._plan.now_at(self._clock.monotonic()).delivery, NeverRead):
            connection.pause(math.inf)
        if head.expects_continue():
            connection.send(_CONTINUE)
        return connection.read_body(head)

    def _keep(self, connection: Connection, request: Request) -> None:
        head = request.head
        received = ReceivedRequest(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            body=request.body[:BODY_KEPT],
            decoded=request.decoded,
            received_at=self._clock.monotonic(),
            connection=connection.number,
        )
        self._record.add_request(received)

    def _answer(self, connection: Connection, request: Request) -> None:
        exchange = Exchange(
            profile=self._profile,
            request=request,
            number=next(self._numbers),
            now=self._clock.time(),
            shape=PLAIN_STREAM,
        )
        behaviour = self._plan.decide(self._clock.monotonic(), exchange.concerns)
        delay = behaviour.latency
        if behaviour.latency_jitter:
            delay += behaviour.latency_jitter * self._random.random()
        connection.pause(delay)
        response = respond(behaviour.answer, replace(exchange, now=self._clock.time(), shape=behaviour.stream))
        deliver(behaviour.delivery, connection, response if request.head.keep_alive else _closing(response))


def _vendor(name: str, dialect: str | None, vendor: str | None) -> str:
    if vendor is not None:
        return checks.one_of("vendor", vendor, VENDORS)
    if name in VENDORS and dialect in (None, _dialect_of(name)):
        return name
    return dialect if dialect in ("anthropic", "gemini") else "generic"


def _dialect_of(vendor: str) -> str:
    return vendor if vendor in DIALECTS else "openai"


def _keys(name: str, key: str | Sequence[str] | None) -> tuple[str, ...]:
    if key is None:
        return ()
    if isinstance(key, str):
        return (key or f"sk-sim-{name}-7f3a9c52e1d84b60",)
    return tuple(key)


def _closing(response: Response) -> Response:
    """The same answer, which announces the end of the connection."""
    return replace(response, headers=merged(response.headers, _CLOSING))
