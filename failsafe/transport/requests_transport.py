"""The transport: requests sessions and urllib3 pools, held to a deadline."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlencode, urlsplit

import requests
from urllib3.util import Timeout

from failsafe import forking
from failsafe.checks import whole
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.config import ProviderConfig
from failsafe.errors import ConfigError
from failsafe.models import Failure
from failsafe.secret import Secret
from failsafe.transport import mapping, tls
from failsafe.transport.adapter import DeadlineAdapter, Headers, ReadyRequest
from failsafe.transport.base import Limits, RawAnswer
from failsafe.transport.body import read_body, read_refusal
from failsafe.transport.exchange import Exchange, current
from failsafe.transport.open_answer import OpenBody
from failsafe.transport.proxies import choose_proxy
from failsafe.transport.sockets import spelled

_PORTS = {"http": 80, "https": 443}
_REFUSAL_WAIT = 2.0  # seconds for the body of an answer that is no success: its status has said enough to go on
_SOCKETS_DECIDE: Any = Timeout(connect=None, read=None)


class RequestsTransport:
    """
    Sends requests to one server through one requests session. Thread-safe.

    Everything the environment can change is decided here, once: proxy, ``NO_PROXY``, CA bundle. Cookies are
    neither kept nor sent, ``.netrc`` is not read, redirects are not followed, TLS is always verified, and a
    connection of a forked child is never its parent's.

    Args:
        base_url: ``http://`` or ``https://``, host, and maybe port and path; the paths sent to go below it.
        headers: Sent with every request; they win over the transport's own.
        query: Parameters appended to every URL. Never a key: URLs end up in logs.
        auth_header: The header that carries the key.
        auth_prefix: What stands before the key in it.
        pool_size: Idle connections that are kept; more threads than that may send at once.
        ca_bundle: File or folder of CA certificates; None takes the environment's, else certifi's.
        client_cert: A PEM file with certificate and key, or one file for each.
        proxy: ``http://`` or ``https://`` proxy; None takes the environment's.
        clock: Waits for the look-up of names.
        environ: The environment; None takes the process's.

    Raises:
        ConfigError: The base URL is no HTTP URL, a file does not exist, or the proxy cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        auth_header: str = "Authorization",
        auth_prefix: str = "Bearer ",
        pool_size: int = 64,
        ca_bundle: str | None = None,
        client_cert: tls.ClientCertificate = None,
        proxy: str | None = None,
        clock: Clock = SYSTEM_CLOCK,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        environ = os.environ if environ is None else environ
        parts = _parse(base_url)
        self._origin = (parts.scheme, parts.hostname or "", parts.port or _PORTS[parts.scheme])
        self._site = f"{parts.scheme}://{parts.netloc}"
        self._base_path = parts.path.rstrip("/")
        self._peer = spelled(*self._origin[1:])
        self._query = urlencode(query or {})
        self._headers = _merged(headers or {}, auth_header)
        self._auth_header = auth_header
        self._auth_prefix = auth_prefix
        self._pool_size = whole("pool_size", pool_size, least=1)
        self._proxy = choose_proxy(base_url, proxy, environ)
        self._bundle = tls.choose_bundle(ca_bundle, environ if self._uses_tls() else {})
        self._client_cert = tls.check_certificate(client_cert)
        self._clock = clock
        self._start()
        forking.register(self)

    @classmethod
    def for_provider(cls, config: ProviderConfig) -> RequestsTransport:
        """The transport that *config* asks for."""
        return cls(
            config.base_url,
            headers=config.headers,
            query=config.query,
            auth_header=config.auth_header,
            auth_prefix=config.auth_prefix,
            pool_size=config.pool_size,
            ca_bundle=config.ca_bundle,
            client_cert=config.client_cert,
            proxy=config.proxy,
        )

    def _start(self) -> None:
        """Begin with a session and a pool that nobody else has."""
        self._adapter = DeadlineAdapter(self._origin, self._proxy, self._pool_size, self._tls_context)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)

    def send(
        self, method: str, path: str, body: bytes | None, key: Secret | None, limits: Limits
    ) -> RawAnswer | Failure:
        """
        Send one request and read the whole answer.

        Args:
            method: ``"POST"``, ``"GET"``, ...
            path: Below the base URL, beginning with ``/``, already quoted.
            body: JSON, or None.
            key: Sent in the authentication header; None sends none.
            limits: Deadline, connect limit, largest body, cancellation.

        Returns:
            The answer, whatever its status; or the failure, never an exception, whatever the network does.

        Raises:
            BaseException: ``KeyboardInterrupt`` or whatever else a signal handler raised that is no ``Exception``; its
                traceback ends here.
        """
        with Exchange(limits, self._clock) as exchange:
            try:
                exchange.check()
                return self._whole(self._answer_to(self._request(method, path, body, key), exchange), exchange)
            except Exception as error:  # noqa: BLE001 -- foreign exceptions carry the request and its key: they end here
                failure = mapping.failure(error, exchange, self._peer)
            except BaseException as interruption:  # noqa: BLE001 -- raised again, without the frames that hold the key
                interruption.__context__ = None
                raise interruption.with_traceback(None) from None
        return failure

    def open(
        self, method: str, path: str, body: bytes | None, key: Secret | None, limits: Limits
    ) -> OpenBody | RawAnswer | Failure:
        """
        Send one request and read the head of the answer; one that is no success is read whole.

        See :meth:`send` for what it takes and raises, and :class:`failsafe.transport.base.Transport`.
        """
        exchange = Exchange(limits, self._clock)
        opened: OpenBody | None = None
        try:
            exchange.begin()
            exchange.resume()
            exchange.check()
            request = self._request(method, path, body, key)
            request.headers["Accept-Encoding"] = (
                "identity"  # what is packed may be held back until it is worth a packet
            )
            response = self._answer_to(request, exchange)
            if 200 <= response.status_code < 300:
                opened = OpenBody(response, exchange, self._peer)
                return opened
            return self._whole(response, exchange)
        except Exception as error:  # noqa: BLE001 -- as in send
            failure = mapping.failure(error, exchange, self._peer)
        except BaseException as interruption:  # noqa: BLE001 -- as in send
            interruption.__context__ = None
            raise interruption.with_traceback(None) from None
        finally:
            exchange.pause()
            if opened is None:
                exchange.end()
        return failure

    def connect(self, limits: Limits) -> Failure | None:
        """
        Make a connection as a request would, TLS and proxy included, and close it; nothing is asked on it.

        See :meth:`send` for what it raises, and :class:`failsafe.transport.base.Transport`.
        """
        with Exchange(limits, self._clock) as exchange:
            try:
                exchange.check()
                self._adapter.connect()
                exchange.check()  # a connection that was shut down may look like one that was made
                return None
            except Exception as error:  # noqa: BLE001 -- as in send
                failure = mapping.failure(error, exchange, self._peer)
            except BaseException as interruption:  # noqa: BLE001 -- as in send
                interruption.__context__ = None
                raise interruption.with_traceback(None) from None
        return failure

    def _request(self, method: str, path: str, body: bytes | None, key: Secret | None) -> ReadyRequest:
        headers = Headers(self._headers)
        if body is None:
            headers.pop("Content-Type", None)
        else:
            headers["Content-Length"] = str(len(body))
        if key is not None:
            headers[self._auth_header] = self._auth_prefix + key.reveal()
        target = self._base_path + path
        if self._query:
            target += ("&" if "?" in path else "?") + self._query
        return ReadyRequest(method, self._site + target, target, headers, body)

    def _answer_to(self, request: ReadyRequest, exchange: Exchange) -> requests.Response:
        adapter = self._session.get_adapter(self._site)
        response = adapter.send(request, stream=True, timeout=_SOCKETS_DECIDE)
        exchange.answer = response.raw
        return response

    def _whole(self, response: requests.Response, exchange: Exchange) -> RawAnswer:
        body = self._body(response, exchange)
        exchange.check()  # a cancelled read may look like the end of the answer
        return RawAnswer(status=response.status_code, headers=response.headers, body=body)

    def _body(self, response: requests.Response, exchange: Exchange) -> bytes:
        if 200 <= response.status_code < 300:
            return read_body(response.raw, exchange.limits.max_bytes)
        exchange.limit = exchange.limit.sooner(_REFUSAL_WAIT)
        return read_refusal(response.raw, exchange.limits.max_bytes)

    def _tls_context(self) -> ssl.SSLContext:
        try:
            return tls.contexts.get(self._bundle, self._client_cert)
        except OSError:
            current().blame = f"the CA bundle {self._bundle} or client_cert cannot be loaded; PEM files are needed"
            raise

    def _uses_tls(self) -> bool:
        return self._origin[0] == "https" or (self._proxy or "").lower().startswith("https:")

    def close(self) -> None:
        """Close idle connections; exchanges under way end on their own. Closing again does nothing."""
        self._session.close()

    def _after_fork(self) -> None:
        """Leave the parent's connections alone: the child makes its own."""
        self._start()

    def __repr__(self) -> str:
        return f"<RequestsTransport {self._site}{self._base_path}>"


def _parse(base_url: str) -> SplitResult:
    """
    The parts of *base_url*.

    Raises:
        ConfigError: It is not the URL of an HTTP server.
    """
    try:
        parts = urlsplit(base_url)
        usable = bool(parts.scheme in _PORTS and parts.hostname and parts.port != 0)
    except ValueError:
        usable = False
    if not usable or parts.username is not None or parts.query or parts.fragment:
        # The value is not shown: it may hold a password.
        raise ConfigError(
            "base_url is not the URL of an HTTP server; http:// or https://, a host, and maybe a port and a path "
            "are needed, without user, password, ? and #"
        )
    return parts


def _merged(headers: Mapping[str, str], auth_header: str) -> dict[str, str]:
    """The headers of every request; one that *headers* spells differently replaces ours all the same."""
    from failsafe import __version__

    ours = {
        "User-Agent": f"failsafe-llm/{__version__}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
        "Content-Type": "application/json",
    }
    spelling = {name.lower(): name for name in (*ours, auth_header)}
    return ours | {spelling.get(name.lower(), name): value for name, value in headers.items()}
