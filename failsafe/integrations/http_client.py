"""
The HTTP client that an SDK is given so that a router answers it: what :mod:`failsafe.integrations.openai` and
:mod:`failsafe.integrations.anthropic` share.

The SDK stays as it is and only believes that it sends. Of what it would send, the body of a request is read, and
nothing else: its key and its base URL go nowhere.
"""

from __future__ import annotations

import math
from importlib import import_module
from types import TracebackType, new_class
from typing import TYPE_CHECKING, Any, Self

from failsafe.chunks import OnInterrupt
from failsafe.errors import ConfigError, InvalidRequest
from failsafe.inbound.base import Format
from failsafe.inbound.service import EventStream, HttpAnswer, Service
from failsafe.router import Router

if TYPE_CHECKING:
    import httpx2

_LIBRARIES = ("httpx2", "httpx")
"""Both have one interface. An SDK takes a client of the one that it is built on."""


def sdk_client(
    router: Router,
    form: Format,
    *,
    sdk: str,
    chat_path: str,
    on_interrupt: OnInterrupt,
    other_requests: httpx2.BaseTransport | None,
) -> httpx2.Client:
    """
    A client in which *router* answers an SDK's requests for chats, and those for embeddings where it has some.

    Args:
        router: Who asks the providers. It is not closed with the client.
        form: What the SDK speaks.
        sdk: The SDK's name, which is also that of the extra that installs it.
        chat_path: How the path of a chat request ends.
        on_interrupt: As for :class:`failsafe.inbound.service.Service`.
        other_requests: What every other request is sent through; it is closed with the client. None: such a request
            is refused with 404, and nothing is sent.

    Raises:
        ConfigError: The SDK is not installed, or *on_interrupt* is wrong.
    """
    library = _library_of(sdk)
    paths = (chat_path,) if form.embeddings is None else (chat_path, form.embeddings.path)
    transport = _Transport(Service(router, form, on_interrupt=on_interrupt), library, paths, other_requests)
    client: httpx2.Client = library.Client(transport=transport, trust_env=False, follow_redirects=True)
    return client


def _library_of(sdk: str) -> Any:
    """The HTTP library that *sdk* is built on: the one whose ``Timeout`` is the SDK's own."""
    try:
        timeout = import_module(sdk).Timeout
    except ModuleNotFoundError as error:
        missing = error.name
    else:
        for name in _LIBRARIES:
            try:
                library = import_module(name)
            except ModuleNotFoundError:
                continue
            if library.Timeout is timeout:
                return library
        missing = " or ".join(_LIBRARIES)
    raise ConfigError(f"failsafe.integrations.{sdk} needs {missing}; pip install 'failsafe-llm[{sdk}]'")


class _Transport:
    """Answers requests of one HTTP client: its transport, by the methods that one has. Thread-safe."""

    def __init__(
        self, service: Service, library: Any, paths: tuple[str, ...], other_requests: httpx2.BaseTransport | None
    ) -> None:
        self._service = service
        self._response = library.Response
        self._whole = library.ByteStream
        # The client insists on a stream of its own library, which alone it closes.
        self._streamed = new_class("StreamedBody", (_StreamedBody, library.SyncByteStream))
        self._paths = paths
        self._other_requests = other_requests

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The answer to *request*; raises nothing for one that the router answers."""
        path = request.url.path
        if request.method != "POST" or not path.endswith(self._paths):
            return self._other(request)
        return self._answered(self._service.answer(path, request.read(), timeout=_timeout(request)))

    def _other(self, request: httpx2.Request) -> httpx2.Response:
        if self._other_requests is not None:
            return self._other_requests.handle_request(request)
        answered = " and ".join(f"POST ...{path}" for path in self._paths)
        return self._answered(
            self._service.refusal(
                404,
                InvalidRequest(
                    f"{request.method} {request.url.path} is not answered, only {answered}; "
                    "nothing was sent; give client(router, other_requests=...) a transport to send it through, "
                    "or use a client without failsafe for it"
                ),
            )
        )

    def _answered(self, answer: HttpAnswer) -> httpx2.Response:
        headers, body = answer.headers, answer.body
        if isinstance(body, bytes):
            # Not as content, which counts as read: the client would never learn how long the call took.
            headers = {**headers, "Content-Length": str(len(body))}
            stream = self._whole(body)
        else:
            stream = self._streamed(body)
        response: httpx2.Response = self._response(answer.status, headers=headers, stream=stream)
        return response

    def close(self) -> None:
        """Close what other requests go through; the router stays open."""
        if self._other_requests is not None:
            self._other_requests.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class _StreamedBody:
    """The body of a streamed answer, as far as it does not depend on the HTTP library."""

    def __init__(self, events: EventStream) -> None:
        self._events = events

    def __iter__(self) -> EventStream:
        return self._events

    def close(self) -> None:
        """Give up the rest: the provider's socket is closed at once."""
        self._events.close()


def _timeout(request: httpx2.Request) -> float | None:
    """Seconds for the whole call: those for which the client would wait for a byte; None: as the router is told."""
    limits = request.extensions.get("timeout") or {}
    seconds = limits.get("read")
    return None if seconds is None or seconds == math.inf else float(seconds)
