"""The requests adapter: the documented hooks of ``HTTPAdapter``, answered from what was decided beforehand."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from urllib3 import HTTPConnectionPool, PoolManager, Retry

from failsafe.transport.connections import DeadlinePool, DeadlineTLSPool, IdleConnections

CONNECT_ONCE_MORE = Retry(
    total=None, connect=1, read=False, redirect=False, status=0, other=0,
    respect_retry_after_header=False, raise_on_status=False,
)  # fmt: skip
"""One more try to connect, nothing else; it waits for nothing, and the connect limit spans both tries."""

_POOL_CLASSES = {"http": DeadlinePool, "https": DeadlineTLSPool}


class Headers(dict[str, str]):
    """
    Request headers whose look-ups ignore case.

    Setting does not: whoever builds them spells each name one way. Far cheaper to copy than requests'
    ``CaseInsensitiveDict``, and enough for those who look at a request (``responses``' matchers).
    """

    def __missing__(self, name: str) -> str:
        for key, value in self.items():
            if key.lower() == name.lower():
                return value
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (
            isinstance(name, str) and any(key.lower() == name.lower() for key in self)
        )

    def get(self, name: str, default: Any = None) -> Any:
        """The value of the header *name*, or *default*."""
        try:
            return self[name]
        except KeyError:
            return default


class ReadyRequest(requests.PreparedRequest):
    """A request whose parts are set as they are sent."""

    def __init__(self, method: str, url: str, target: str, headers: Headers, body: bytes | None) -> None:
        super().__init__()
        self.method = method
        self.url = url
        self.headers = headers  # type: ignore[assignment]
        self.body = body
        self.target = target

    @property
    def path_url(self) -> str:
        """Path and query."""
        return self.target


class BareResponse(requests.Response):
    """A response without the parts that cost time and that nobody asks for: its cookie jar is made on demand."""

    def __init__(self, request: requests.PreparedRequest, raw: Any, adapter: HTTPAdapter) -> None:
        self._content = False  # type: ignore[assignment] # requests' own mark of "not read"; the stubs lack it
        self._content_consumed = False
        self._next = None
        self.status_code = raw.status
        self.headers = raw.headers
        self.raw = raw
        self.url = request.url or ""
        self.encoding = None
        self.history = []
        self.reason = raw.reason
        self.request = request
        self.connection = adapter

    @cached_property
    def cookies(self) -> RequestsCookieJar:  # type: ignore[override] # an attribute there, and as good as one here
        """Always empty: cookies are not kept."""
        return RequestsCookieJar()


class DeadlineAdapter(HTTPAdapter):
    """
    Sends to one server, through one pool.

    ``send`` is requests' own, so that whatever replaces ``HTTPAdapter.send`` (the ``responses`` library)
    sees these requests too. Thread-safe.

    Args:
        origin: Scheme, host and port of the server.
        proxy: The proxy's URL, or None.
        pool_size: Idle connections that are kept.
        make_context: Gives the TLS settings; called at most once, when they are needed.
    """

    def __init__(
        self,
        origin: tuple[str, str, int],
        proxy: str | None,
        pool_size: int,
        make_context: Callable[[], ssl.SSLContext],
    ) -> None:
        super().__init__(pool_connections=1, pool_maxsize=pool_size, max_retries=CONNECT_ONCE_MORE)
        self._scheme, self._host, self._port = origin
        self._proxy = proxy
        self._make_context = make_context
        self._forwarded = proxy is not None and self._scheme == "http"
        self._lock = threading.RLock()  # a signal handler may close while this thread holds it
        self._closed = False  # guarded by _lock
        self._pool: HTTPConnectionPool | None = None  # set under _lock

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> HTTPConnectionPool:
        """The one pool."""
        return self._pool or self.open_pool()

    def connect(self) -> None:
        """
        Make one connection and close it, for the :func:`failsafe.transport.exchange.current` exchange.

        Raises:
            OSError: As :meth:`open_pool`; or there is no connection, as is a ``urllib3.exceptions.HTTPError``.
        """
        pool: Any = self._pool or self.open_pool()
        pool.connect_once(tunnel=self._proxy is not None and not self._forwarded)

    def open_pool(self) -> HTTPConnectionPool:
        """
        Make the pool, or return the one there is.

        Raises:
            OSError: The TLS settings cannot be loaded.
        """
        with self._lock:
            pool = self._pool
            if pool is None:
                pool = self._make_pool()
                if self._closed:  # what is still under way may go on, and keeps nothing for later
                    pool.pool = IdleConnections(0)  # type: ignore[assignment] # as for QueueCls
                self._pool = pool
        return pool

    def _make_pool(self) -> HTTPConnectionPool:
        manager: PoolManager = self.poolmanager
        tls: dict[str, Any] = {}
        if self._scheme == "https" or (self._proxy or "").startswith("https"):
            tls = {"ssl_context": self._make_context()}
        if self._proxy is not None:
            manager = self.proxy_manager_for(self._proxy, proxy_ssl_context=tls.get("ssl_context"))
        manager.pool_classes_by_scheme = _POOL_CLASSES
        return manager.connection_from_host(self._host, self._port, self._scheme, pool_kwargs=tls)

    def close(self) -> None:
        """Close the idle connections; those in use, or made from now on, are closed when their exchange ends."""
        super().close()  # forgets the pool, and would leave closing to the garbage collector
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Nothing to do: the pool's TLS settings verify, and nothing can turn that off."""

    def request_url(self, request: requests.PreparedRequest, proxies: Mapping[str, str] | None) -> str:  # noqa: ARG002
        """What the request line names: the whole URL for a proxy that forwards, else path and query."""
        return (request.url or "") if self._forwarded else request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:
        """The response, without its cookies."""
        return BareResponse(req, resp, self)
