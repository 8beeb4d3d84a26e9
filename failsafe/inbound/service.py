"""
Answers one HTTP request of a client that speaks a provider's format.

The shells around it (a requests adapter, the HTTP client of an SDK, a WSGI application) only carry bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from failsafe import checks
from failsafe.chunks import OnInterrupt
from failsafe.deadline import CancelToken, Deadline
from failsafe.errors import FailsafeError, InvalidRequest
from failsafe.inbound.base import Format, Question, StreamWriter
from failsafe.inbound.statuses import retry_after, status_of
from failsafe.models import Reply
from failsafe.request import build_request
from failsafe.router import Router
from failsafe.stream import Stream

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"


class HttpAnswer(NamedTuple):
    """
    An HTTP answer.

    Attributes:
        status: The status.
        headers: The headers; none of them frames the body.
        body: The whole body, or the pieces of a stream as they come; whoever stops reading closes those.
    """

    status: int
    headers: dict[str, str]
    body: bytes | EventStream


class EventStream:
    """
    The body of a streamed answer, piece by piece. Not thread-safe, but for :meth:`close`.

    Whoever stops reading closes it; so does the garbage collector.
    """

    def __init__(self, stream: Stream, writer: StreamWriter) -> None:
        self._stream = stream
        self._pieces = _events(stream, writer)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        """Give up the rest: the provider's socket is closed at once."""
        self._stream.close()


def _events(stream: Stream, writer: StreamWriter) -> Iterator[bytes]:
    try:
        for chunk in stream:
            piece = writer.chunk(chunk)
            if piece:
                yield piece
        yield writer.end(stream.response)
    except FailsafeError as error:
        # The head has left with its status: the format's own error event is all that can still be said.
        yield writer.error(status_of(error), error)
    finally:
        stream.close()


class Service:
    """
    Answers requests in one format through a router. Thread-safe.

    Args:
        router: Who asks the providers.
        form: The format.
        on_interrupt: What happens to a stream that breaks off: ``raise`` (the client is sent the format's error
            event) or ``continue`` (the next provider goes on, and the seam is not marked: no format can).

    Raises:
        ConfigError: *on_interrupt* is neither; no format can tell a client to drop what it has.
    """

    def __init__(self, router: Router, form: Format, *, on_interrupt: OnInterrupt = "raise") -> None:
        checks.one_of("on_interrupt", on_interrupt, ("raise", "continue"))
        self._router = router
        self._format = form
        self._on_interrupt = on_interrupt
        self._dialects = {provider.name: provider.dialect for provider in router.config.providers}

    def answer(
        self, path: str, body: bytes, *, timeout: float | Deadline | None = None, cancel: CancelToken | None = None
    ) -> HttpAnswer:
        """
        The answer to a chat request; never raises an ``Exception``: an error is an answer too.

        Args:
            path: Where it was sent to.
            body: Its body, JSON.
            timeout: Seconds for the whole call, streams included; None: as the router is told.
            cancel: Ends the call from another thread.
        """
        try:
            question = self._format.read(_decoded(body), path)
            return (
                self._streamed(question, timeout, cancel) if question.stream else self._whole(question, timeout, cancel)
            )
        except Exception as error:  # noqa: BLE001 -- whatever happened, a client is owed an answer in its own format
            return self.refusal(status_of(error), error)

    def refusal(self, status: int, error: Exception) -> HttpAnswer:
        """The error answer that says *error* in the client's format."""
        headers = {"Content-Type": JSON, "x-should-retry": "false"}  # it has been retried enough; SDKs heed this
        wait = retry_after(error)
        if wait is not None:
            headers["Retry-After"] = str(wait)
        shown = error if isinstance(error, FailsafeError) else _InternalError()
        return HttpAnswer(status, headers, msgspec.json.encode(self._format.error(status, shown)))

    def _whole(self, question: Question, timeout: float | Deadline | None, cancel: CancelToken | None) -> HttpAnswer:
        reply = self._router.ask(self._request(question), cancel=cancel, **_timeout(timeout))
        headers = {"Content-Type": JSON, **self._receipt(reply.provider, reply.request_id)}
        return HttpAnswer(200, headers, _encoded(self._body(reply, question)))

    def _body(self, reply: Reply, question: Question) -> Any:
        """The provider's own body where it speaks the client's format, so that nothing in it is lost."""
        if self._dialects.get(reply.provider) == self._format.name and isinstance(reply.raw, Mapping):
            return reply.raw
        return self._format.write(reply, question)

    def _streamed(self, question: Question, timeout: float | Deadline | None, cancel: CancelToken | None) -> HttpAnswer:
        stream = self._router.ask_stream(
            self._request(question), cancel=cancel, on_interrupt=self._on_interrupt, **_timeout(timeout)
        )
        headers = {
            "Content-Type": EVENT_STREAM,
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            **self._receipt(stream.provider, None),
        }
        return HttpAnswer(200, headers, EventStream(stream, self._format.writer(question)))

    def _request(self, question: Question) -> Any:
        return build_request(
            question.messages, question.model, question.parameters, question.extra, extra_for=self._format.name
        )

    def _receipt(self, provider: str, request_id: str | None) -> dict[str, str]:
        headers = {"x-failsafe-provider": provider}
        if request_id:
            headers[self._format.request_id_header] = request_id
        return headers


class _InternalError(Exception):
    """Stands in for a foreign exception, whose text may hold anything."""

    def __init__(self) -> None:
        super().__init__("failsafe failed to handle the request; its log has the details")


def _timeout(timeout: float | Deadline | None) -> dict[str, Any]:
    return {} if timeout is None else {"timeout": timeout}


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    raise InvalidRequest("the request's body is not JSON; send a JSON object")


def _encoded(body: Any) -> bytes:
    return msgspec.json.encode(body)
