"""
Answers one HTTP request of a client that speaks a provider's format.

The shells around it (a requests adapter, the HTTP client of an SDK, a WSGI application) only carry bytes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from traceback import extract_tb
from typing import Any, NamedTuple, Self

import msgspec

from failsafe import checks
from failsafe.chunks import OnInterrupt
from failsafe.deadline import CancelToken, Deadline
from failsafe.embeddings import EmbedReply
from failsafe.encoding import refuse
from failsafe.errors import Cancelled, FailsafeError, InvalidRequest, ProviderFault
from failsafe.inbound.base import EmbedFormat, Format, Question, StreamWriter
from failsafe.inbound.statuses import retry_after, status_of
from failsafe.inbound.wire import to_json
from failsafe.models import ChatRequest, Message, Reply
from failsafe.request import build_request
from failsafe.router import Router
from failsafe.stream import Stream

JSON = "application/json"
EVENT_STREAM = "text/event-stream; charset=utf-8"
PROVIDER_HEADER = "x-failsafe-provider"
"""The header that names who answered."""

_IMITATED = frozenset({"openai"})
"""Formats that many servers speak, each in its own way: what of their bodies a client can read, the format decides."""

_SHOWN_PLACES = 4
_logger = logging.getLogger("failsafe.inbound")


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

    Whoever stops reading closes it; so does the garbage collector. It raises no ``Exception``: what breaks off ends
    with the format's own error event, all that can still be said once the head has left with its status.
    """

    # No generator and no cycle: dropping it drops the stream, which then closes the provider's socket at once.
    __slots__ = ("_over", "_stream", "_writer")

    def __init__(self, stream: Stream, writer: StreamWriter) -> None:
        self._stream = stream
        self._writer = writer
        self._over = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        """The next piece, never an empty one; it is waited for as long as the router's limits allow."""
        while not self._over:
            piece = self._piece()
            if piece:
                return piece
        raise StopIteration

    def close(self) -> None:
        """Give up the rest: the provider's socket is closed at once. Closing again does nothing."""
        self._over = True
        self._stream.close()

    def _piece(self) -> bytes:
        try:
            chunk = next(self._stream, None)
            if chunk is not None:
                return self._writer.chunk(chunk)
            if self._over:  # closed by another thread
                return b""
            self._over = True
            return self._writer.end(self._stream.response)
        except Exception as error:  # noqa: BLE001 -- whatever happened, the client is owed an end in its own format
            unread = self._over and isinstance(error, Cancelled)  # closed by another thread, which nobody need be told
            self.close()
            return b"" if unread else self._writer.error(status_of(error), _shown(error))
        except BaseException:
            self.close()
            raise


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
        self._own = frozenset(each.name for each in router.config.providers if each.dialect == form.name)

    def answer(
        self, path: str, body: bytes, *, timeout: float | Deadline | None = None, cancel: CancelToken | None = None
    ) -> HttpAnswer:
        """
        The answer to a request for a chat or, where the format has them and *path* asks for them, embeddings.

        Never raises an ``Exception``: an error is an answer too.

        Args:
            path: Where it was sent to.
            body: Its body, JSON.
            timeout: Seconds for the whole call, streams included; None: as the router is told.
            cancel: Ends the call from another thread.
        """
        try:
            limits = _limits(timeout, cancel)
            asked = _decoded(body)
            embeddings = self._embeddings_at(path)
            if embeddings is not None:
                return self._embedded(embeddings, asked, limits)
            question = self._format.read(asked, path)
            return self._streamed(question, limits) if question.stream else self._whole(question, limits)
        except Exception as error:  # noqa: BLE001 -- whatever happened, a client is owed an answer in its own format
            return self.refusal(status_of(error), error)

    def refusal(self, status: int, error: Exception) -> HttpAnswer:
        """
        The error answer that says *error* in the client's format.

        What is no :class:`failsafe.FailsafeError` is logged by its kind and place and not shown.
        """
        headers = {"Content-Type": JSON, "x-should-retry": "false"}  # it has been retried enough; SDKs heed this
        wait = retry_after(error)
        if wait is not None:
            headers["Retry-After"] = str(wait)
        if isinstance(error, ProviderFault):
            headers |= self._receipt(error.provider, error.request_id)
        return HttpAnswer(status, headers, to_json(self._format.error(status, _shown(error))))

    def _embeddings_at(self, path: str) -> EmbedFormat | None:
        """What reads a request sent to *path*, if it is one for embeddings."""
        embeddings = self._format.embeddings
        asked = embeddings is not None and path.partition("?")[0].rstrip("/").endswith(embeddings.path)
        return embeddings if asked else None

    def _embedded(self, embeddings: EmbedFormat, body: Any, limits: Mapping[str, Any]) -> HttpAnswer:
        question = embeddings.read(body)
        reply = self._router.ask_embed(question.request, **limits)
        return self._ok(reply, embeddings.write(reply, question))

    def _whole(self, question: Question, limits: Mapping[str, Any]) -> HttpAnswer:
        reply = self._router.ask(self._request(question), **limits)
        return self._ok(reply, self._body(reply, question))

    def _ok(self, reply: Reply | EmbedReply, body: Mapping[str, Any]) -> HttpAnswer:
        headers = {"Content-Type": JSON, **self._receipt(reply.provider, reply.request_id)}
        return HttpAnswer(200, headers, to_json(body))

    def _body(self, reply: Reply, question: Question) -> Mapping[str, Any]:
        """The provider's own body where it speaks the client's format, so that nothing in it is lost."""
        own = reply.provider in self._own and isinstance(reply.raw, Mapping)
        return reply.raw if own and self._format.name not in _IMITATED else self._format.write(reply, question)

    def _streamed(self, question: Question, limits: Mapping[str, Any]) -> HttpAnswer:
        writer = self._format.writer(question)
        stream = self._router.ask_stream(self._request(question), on_interrupt=self._on_interrupt, **limits)
        headers = {
            "Content-Type": EVENT_STREAM,
            "Cache-Control": "no-cache",
            "X-Accel-Buffering": "no",
            **self._receipt(stream.provider, stream.request_id),
        }
        return HttpAnswer(200, headers, EventStream(stream, writer))

    def _request(self, question: Question) -> ChatRequest:
        messages = self._claimed(question) if any(map(_is_unclaimed, question.messages)) else question.messages
        return build_request(messages, question.model, question.parameters, question.extra, extra_for=self._format.name)

    def _claimed(self, question: Question) -> Sequence[Message]:
        """
        The messages of *question*, in which what a model wants back is that of the model behind the name asked for.

        A vendor's own format has no place to say who answered, and needs none where there is no alias. Whose it was
        cannot be told where several of that vendor's models are behind it; then it fits none and is left out.
        """
        routes = self._router.config.targets(question.model)
        models = {each for route in routes if route.provider.dialect == self._format.name for each in route.models}
        if len(models) != 1:
            return question.messages
        model = models.pop()
        return [_given_by(model, each) if _is_unclaimed(each) else each for each in question.messages]

    def _receipt(self, provider: str | None, request_id: str | None) -> dict[str, str]:
        """Who answered; what a foreign server calls its answer is left out where no header can say it."""
        named = {PROVIDER_HEADER: provider, self._format.request_id_header: request_id}
        return {name: value for name, value in named.items() if value and value.isascii() and value.isprintable()}


def _is_unclaimed(message: Any) -> bool:
    """Whether *message* holds what a model wants back, and not whose it is."""
    packed = message.get("provider_data") if isinstance(message, Mapping) else None
    return isinstance(packed, Mapping) and "provider" not in packed


def _given_by(model: str, message: Message) -> Message:
    return {**message, "provider_data": {**message["provider_data"], "model": model}}


class _InternalError(Exception):
    """Stands in for a foreign exception, whose text may hold anything."""

    def __init__(self) -> None:
        super().__init__("failsafe failed to handle the request; its log has the details")


def _shown(error: Exception) -> Exception:
    """What a client is told of *error*: an error of failsafe, which holds no key, as it is."""
    if isinstance(error, FailsafeError):
        return error
    # Neither its text nor the values around it: a foreign exception may carry the whole request, keys included.
    places = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
    _logger.error("a request failed with %s at %s", type(error).__name__, " > ".join(places[-_SHOWN_PLACES:]))
    return _InternalError()


def _limits(timeout: float | Deadline | None, cancel: CancelToken | None) -> dict[str, Any]:
    """What ends a call, as the router is told; a timeout is the client's own, and so is the mistake in it."""
    if timeout is None:
        return {"cancel": cancel}
    if not isinstance(timeout, Deadline) and not 0 < timeout < math.inf:
        refuse("timeout", timeout, "a number of seconds above 0 is needed; None leaves it to the router")
    return {"cancel": cancel, "timeout": timeout}


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    raise InvalidRequest("the request's body is not JSON; send a JSON object")
