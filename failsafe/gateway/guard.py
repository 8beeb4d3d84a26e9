"""
Who is let in, and with what.

Whoever reaches the gateway can spend its owner's money, and any page in the owner's browser can reach a port on this
machine. So a request needs the token, must be addressed to a host that is ours (a name that an attacker's DNS points
here is not), must come from no foreign page, and must be JSON, which no form can send.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Collection, Mapping
from typing import Any

from failsafe import addresses, checks
from failsafe.addresses import host_matches, is_loopback
from failsafe.errors import ConfigError, FailsafeError
from failsafe.secret import Secret

_SHORTEST_TOKEN = 16
"""Characters; guesses are not counted, and whoever sits on this machine makes thousands a second."""

Environ = Mapping[str, Any]
"""Of WSGI: one request."""


class Refused(FailsafeError):
    """
    A request was not let in; nothing was sent to anybody.

    Args:
        status: The HTTP status of the answer.
        message: Why, and what to do.
        headers: Of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


class Guard:
    """
    Checks requests. Thread-safe.

    Args:
        token: What a request must show.
        hosts: Names, addresses and ``*.suffix`` patterns by which this server may be called, beside loopback's.
        any_address: Whether it may be called by any IP address, which no DNS can forge.
        most: The largest body, bytes.

    Raises:
        ConfigError: The token cannot be sent in a header or can be guessed, or a host is none.
    """

    def __init__(self, token: str, hosts: Collection[str], *, any_address: bool, most: int) -> None:
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
            raise ConfigError("token: a text of printable ASCII characters without spaces is needed (it is not shown)")
        if len(token) < _SHORTEST_TOKEN:
            raise ConfigError(
                f"token: at least {_SHORTEST_TOKEN} characters are needed, or others guess it and spend your money; "
                'python -c "import secrets; print(secrets.token_urlsafe())" makes one'
            )
        self.token = Secret(token)
        self._hosts = addresses.host_patterns("hosts", list(hosts))
        self._any_address = checks.flag("any_address", any_address)
        self._most = checks.whole("max_body", most, least=1024)

    def check_place(self, environ: Environ) -> None:
        """
        Refuse a request that is addressed to somebody else, or that a foreign web page has made.

        Raises:
            Refused: 403.
        """
        called = environ.get("HTTP_HOST", "")
        host = _host(called)
        if host is None or not self._is_ours(host):
            raise Refused(
                403,
                "this gateway is not called by that name (the Host header); call it by its address, "
                "or start it with --allow-host NAME",
            )
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin.lower() not in (f"http://{called}".lower(), f"https://{called}".lower()):
            raise Refused(403, "web pages may not use this gateway (the Origin header)")

    def _is_ours(self, host: str) -> bool:
        return is_loopback(host) or host_matches(host, self._hosts) or (self._any_address and _is_address(host))

    def check_token(self, environ: Environ) -> None:
        """
        Refuse a request without the token, in ``Authorization: Bearer`` or in ``x-api-key``.

        Raises:
            Refused: 401.
        """
        scheme, _, bearer = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        shown = [environ.get("HTTP_X_API_KEY", ""), bearer.strip() if scheme.lower() == "bearer" else ""]
        if not any(Secret(each) == self.token for each in shown):  # Secret compares in constant time
            raise Refused(
                401,
                "this gateway's token is needed as the API key (Authorization: Bearer, or x-api-key); "
                "it was printed when the gateway started",
                {"WWW-Authenticate": "Bearer"},
            )

    def body(self, environ: Environ) -> bytes:
        """
        The body of a request that has to be JSON.

        Raises:
            Refused: 415, 413, 411 or 400.
        """
        kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refused(415, "the Content-Type has to be application/json")
        if environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower() not in ("", "identity"):
            raise Refused(415, "a body without Content-Encoding is needed")
        length = self._length(environ)
        read: Callable[[int], bytes] = environ["wsgi.input"].read
        body = read(self._most + 1 if length is None else length)
        if len(body) > self._most:
            raise self._too_large()
        if length is not None and len(body) < length:
            raise Refused(400, "the body ended before its Content-Length")
        return body

    def _length(self, environ: Environ) -> int | None:
        """The length that is announced; None where the server knows the end of the body by itself."""
        text = environ.get("CONTENT_LENGTH", "")
        if not text:
            if environ.get("wsgi.input_terminated"):
                return None
            raise Refused(411, "a Content-Length is needed")
        if not (text.isascii() and text.isdigit()):
            raise Refused(400, "the Content-Length is no number")
        if len(text) > 18 or int(text) > self._most:
            raise self._too_large()
        return int(text)

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._most:,} bytes (max_request_bytes in the settings)")


def _host(called: str) -> str | None:
    """The host in a ``Host`` header, in lower case and bare of brackets and port; None if it is none."""
    if called.startswith("["):
        host, closed, port = called[1:].partition("]")
        port = port.removeprefix(":")
        if not closed or not _is_address(host):
            return None
    else:
        host, _, port = called.partition(":")
    return host.lower() if host and (not port or (port.isascii() and port.isdigit())) else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
