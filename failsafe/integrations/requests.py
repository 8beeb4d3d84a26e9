"""
Answers what a ``requests`` session posts to a provider's URL for chats or embeddings through a router.

The guide is ``docs/drop-ins.md``.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Mapping
from http.client import responses
from io import BytesIO
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.exceptions import InvalidSchema
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse, Timeout

from failsafe import addresses, checks
from failsafe.catalog import catalog
from failsafe.chunks import OnInterrupt
from failsafe.inbound.anthropic import AnthropicFormat
from failsafe.inbound.base import Format
from failsafe.inbound.gemini import GeminiFormat
from failsafe.inbound.openai import OpenAIFormat
from failsafe.inbound.service import EventStream, HttpAnswer, Service
from failsafe.router import Router

_FORMATS: Mapping[str, type[Format]] = {
    "openai": OpenAIFormat,
    "anthropic": AnthropicFormat,
    "gemini": GeminiFormat,
}
_PATHS: Mapping[str, tuple[str, ...]] = {
    "openai": ("/chat/completions", "/embeddings"),
    "anthropic": ("/v1/messages",),
    "gemini": ("/models/",),
}
"""Where below a base URL of each dialect lies what is answered."""

_REST = {
    "openai": re.compile("/?"),
    "anthropic": re.compile("/?"),
    "gemini": re.compile("[^/]+:(?:generateContent|streamGenerateContent)"),
}
"""What of the path follows that in such a URL."""

# Addresses that the vendors document beside those of the catalogue: api-docs.deepseek.com "Your First API Call" and
# "Anthropic API"; platform.claude.com "OpenAI SDK compatibility"; ai.google.dev "OpenAI compatibility" and
# "API versions explained"; docs.together.ai.
_ALSO = {
    "https://api.deepseek.com/v1": "openai",
    "https://api.deepseek.com/anthropic": "anthropic",
    "https://api.anthropic.com/v1": "openai",
    "https://generativelanguage.googleapis.com/v1beta/openai": "openai",
    "https://generativelanguage.googleapis.com/v1": "gemini",
    "https://api.together.ai/v1": "openai",
}
_LOOPBACK = ("://127.0.0.1", "://localhost")


def mount(
    session: requests.Session,
    router: Router,
    *,
    on_interrupt: OnInterrupt = "raise",
    urls: Mapping[str, str] | None = None,
) -> None:
    """
    Let *router* answer what *session* posts to a chat URL, or to OpenAI's for embeddings, in the format of that URL.

    These URLs are those of every provider of the router, of every provider in the catalogue, and below *urls*. All
    other requests go where they went before. Mounting again replaces what was mounted; :func:`unmount` takes it
    away. Safe while other threads use the session: each request sees all of it or nothing.

    The ``timeout`` of a request (of a pair, the second) is the deadline of the whole call, streams and failovers
    included; without one it is the router's. Keys, proxies, certificates and ``verify`` of the session and its
    requests are not used for these calls: the router has its own. The router is not closed with the session.

    Args:
        session: The session.
        router: Who answers.
        on_interrupt: What happens to a stream that breaks off: ``raise`` (an error event in the stream, as the vendor
            writes it) or ``continue`` (the next provider goes on).
        urls: Further base URLs, each with its dialect (``openai``, ``anthropic`` or ``gemini``): what stands
            before ``/chat/completions``, ``/embeddings``, ``/v1/messages`` and ``/models/MODEL:generateContent``.

    Raises:
        ConfigError: *urls* or *on_interrupt* holds what it must not.
    """
    services = {name: Service(router, form(), on_interrupt=on_interrupt) for name, form in _FORMATS.items()}
    prefixes = dict(_prefixes(router, urls or {}))
    adapters = _without_ours(session)
    mounted: OrderedDict[str, BaseAdapter] = OrderedDict(adapters)
    for prefix, dialect in prefixes.items():
        mounted[prefix] = _Adapter(prefix, dialect, services[dialect], mounted, adapters.get(prefix))
    _put(session, mounted)


def unmount(session: requests.Session) -> None:
    """Let *session* send everything itself again; nothing happens where nothing is mounted."""
    _put(session, _without_ours(session))


def _without_ours(session: requests.Session) -> OrderedDict[str, BaseAdapter]:
    """The adapters of *session* as they would be had nothing been mounted here."""
    own = ((prefix, _beneath(adapter)) for prefix, adapter in list(session.adapters.items()))
    return OrderedDict((prefix, adapter) for prefix, adapter in own if adapter is not None)


def _beneath(adapter: BaseAdapter) -> BaseAdapter | None:
    """*adapter*, or what it has replaced if it is one of ours."""
    return adapter.replaced if isinstance(adapter, _Adapter) else adapter


def _put(session: requests.Session, adapters: OrderedDict[str, BaseAdapter]) -> None:
    """Give *session* its *adapters*, the longest prefix first, as it looks them up."""
    for prefix in sorted(adapters, key=len, reverse=True):
        adapters.move_to_end(prefix)
    session.adapters = adapters


def _prefixes(router: Router, urls: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each prefix to mount at, with its dialect; what the caller says comes last, and so wins."""
    for base, dialect in _bases(router, urls):
        for spelling in _spellings(base):
            for path in _PATHS[dialect]:
                yield spelling + path, dialect


def _bases(router: Router, urls: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for preset in catalog().presets.values():
        if "{" not in preset.base_url:
            yield preset.base_url, preset.dialect
    yield from _ALSO.items()
    for provider in router.config.providers:
        yield provider.base_url, provider.dialect
    for base, dialect in urls.items():
        yield str(addresses.parse("a key of urls", base)), checks.one_of(f"urls[{base!r}]", dialect, _FORMATS)


def _spellings(base: str) -> Iterable[str]:
    """*base* under both names of this machine."""
    numeric, named = _LOOPBACK
    return {base, base.replace(numeric, named), base.replace(named, numeric)}


class _Adapter(BaseAdapter):
    """
    Answers requests whose URL begins with one prefix. Thread-safe.

    Args:
        prefix: Where it is mounted.
        dialect: What is spoken there.
        service: Answers it.
        adapters: All adapters of the session, by prefix.
        replaced: The adapter that had been mounted at the very same prefix.
    """

    def __init__(
        self,
        prefix: str,
        dialect: str,
        service: Service,
        adapters: Mapping[str, BaseAdapter],
        replaced: BaseAdapter | None,
    ) -> None:
        super().__init__()
        self._prefix = prefix
        self._rest = _REST[dialect]
        self._service = service
        self._adapters = adapters
        self.replaced = replaced

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """The answer to *request*, of the router if it is one for it, else of the adapter that would have had it."""
        if not self._is_ours(request):
            return self._other(request.url or "").send(
                request, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies
            )
        answer = self._service.answer(_path(request), _body(request), timeout=_seconds(timeout))
        return _response(answer, request, self)

    def close(self) -> None:
        """Close the adapter that this one hides, as the session would; the router stays open."""
        if self.replaced is not None:
            self.replaced.close()

    def _is_ours(self, request: requests.PreparedRequest) -> bool:
        address = (request.url or "").partition("?")[0].partition("#")[0]
        return request.method == "POST" and self._rest.fullmatch(address[len(self._prefix) :]) is not None

    def _other(self, url: str) -> BaseAdapter:
        """What the session would send *url* with, had nothing been mounted here."""
        for prefix, adapter in list(self._adapters.items()):
            beneath = _beneath(adapter)
            if beneath is not None and url.lower().startswith(prefix.lower()):
                return beneath
        raise InvalidSchema(f"No connection adapters were found for {url!r}")


def _path(request: requests.PreparedRequest) -> str:
    """The path of *request*; of its query, which may hold a key, only how the answer is to travel."""
    parts = urlsplit(request.url or "")
    wants_events = parse_qs(parts.query).get("alt") == ["sse"]
    return f"{parts.path}?alt=sse" if wants_events else parts.path


def _body(request: requests.PreparedRequest) -> bytes:
    body = request.body
    if body is None or isinstance(body, bytes | bytearray | memoryview):
        return bytes(body or b"")
    if isinstance(body, str):
        return body.encode()
    read = getattr(body, "read", None)
    pieces = [read()] if read is not None else body
    return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)


def _seconds(timeout: object) -> float | None:
    """
    The deadline that *timeout*, in any form that requests takes, stands for; whether it is one, the router says.

    Raises:
        ValueError: It is of no such form; requests raises the same.
    """
    if isinstance(timeout, Timeout):
        timeout = timeout.total if isinstance(timeout.total, int | float) else timeout.read_timeout
    if isinstance(timeout, tuple):
        if len(timeout) != 2:
            raise ValueError(f"timeout={timeout!r}: a number of seconds, or a pair (connect, read) of them, is needed")
        timeout = timeout[1]
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise ValueError(f"timeout={timeout!r}: a number of seconds above 0 is needed; None leaves it to the router")
    return timeout


def _response(answer: HttpAnswer, request: requests.PreparedRequest, adapter: BaseAdapter) -> requests.Response:
    response = requests.Response()
    response.status_code = answer.status
    response.reason = responses.get(answer.status, "")
    response.headers = CaseInsensitiveDict(answer.headers)
    if isinstance(answer.body, bytes):
        response.headers["Content-Length"] = str(len(answer.body))
    response.encoding = "utf-8"
    response.raw = _RawAnswer(answer, response.headers)
    response.url = request.url or ""
    response.request = request
    response.connection = adapter  # type: ignore[assignment]  # any adapter, whatever the annotation says
    return response


class _RawAnswer(HTTPResponse):
    """The answer as urllib3 would have given it, but that pieces are handed on as they come."""

    def __init__(self, answer: HttpAnswer, headers: Mapping[str, str]) -> None:
        body = BytesIO(answer.body) if isinstance(answer.body, bytes) else _Pieces(answer.body)
        super().__init__(
            body=body,  # type: ignore[arg-type]  # it needs no more of a file than _Pieces has
            headers=headers,
            status=answer.status,
            reason=responses.get(answer.status, ""),
            version=11,
            version_string="HTTP/1.1",
            preload_content=False,
            request_method="POST",
        )

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Generator[bytes]:
        """The pieces as they come, none longer than *amt*: to wait for more, as urllib3 does, would delay each."""
        while piece := self.read1(amt, decode_content):
            yield piece

    def __del__(self) -> None:
        """Nothing: an answer that was left lying is given up by its stream, which knows when it may take a lock."""


class _Pieces:
    """A stream as the file that urllib3 reads. Not thread-safe, but for :meth:`close`."""

    def __init__(self, stream: EventStream) -> None:
        self.closed = False
        self._stream = stream
        self._pieces = iter(stream)
        self._piece = b""
        self._at = 0  # how much of the piece was read

    def read(self, size: int = -1) -> bytes:
        """The next *size* bytes, all that is left if it is negative; fewer at the end only."""
        read = bytearray()
        while size < 0 or len(read) < size:
            piece = self.read1(size - len(read) if size >= 0 else -1)
            if not piece:
                break
            read += piece
        return bytes(read)

    def read1(self, size: int = -1) -> bytes:
        """What comes next, at most *size* bytes of it; b"" at the end."""
        if self._at == len(self._piece) and not self.closed:
            self._piece, self._at = next(self._pieces, b""), 0
        start = self._at
        self._at = len(self._piece) if size < 0 else min(len(self._piece), start + size)
        return self._piece[start : self._at]

    def close(self) -> None:
        """Give up the rest; the provider's socket is closed at once."""
        self.closed = True
        self._stream.close()
