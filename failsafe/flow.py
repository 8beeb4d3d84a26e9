"""One streamed answer on its way: bytes in, chunks out, and a whole answer at its end."""

from __future__ import annotations

import re
from collections import deque
from typing import NamedTuple

import msgspec

from failsafe.chunks import Chunk
from failsafe.config import ProviderConfig
from failsafe.deadline import Deadline
from failsafe.durations import in_words
from failsafe.faults import Fault
from failsafe.masking import mask
from failsafe.models import Answer, Failure
from failsafe.providers.answering_model import with_model_shown
from failsafe.providers.base import Dialect, StreamReader, Target
from failsafe.providers.request_ids import request_id
from failsafe.reading import Answered, read_answer
from failsafe.secret import Secret
from failsafe.sse import Event, EventParser, EventTooLarge
from failsafe.transport.base import OpenAnswer, RawAnswer

_LARGEST_EVENT = 16 * 1024 * 1024
_TRAILER_WAIT = 2.0
"""Seconds for usage and end marker once the answer has said how it ended: worth a moment, no attempt's failure."""
_END_WAIT = 0.02
"""Seconds for the end of the body after the end marker, so that the connection can be used again."""
_FRAME = 1024
"""Bytes of an event that may stand around the text it shows without counting as an answer of their own."""
_EVENT_STREAM = "text/event-stream"
_EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")
_LOOKED_AT = 64
"""Bytes at the beginning of a body by which a stream is known that calls itself something else."""


class Silence(NamedTuple):
    """
    How long nothing may be shown.

    Attributes:
        deadline: When the whole call must have ended.
        stall: Seconds between two pieces of content.
    """

    deadline: Deadline
    stall: float

    def begin(self) -> Deadline:
        """The limit on one that begins now; its ``timeout`` is how long it may last, whichever of the two ends it."""
        limit = self.deadline.sooner(self.stall)
        return limit.from_now() if limit is self.deadline else limit


class Flow:
    """
    Reads one streamed answer. One thread at a time.

    The limit on silence begins anew with each piece of content, and only while somebody waits for the next one: a slow
    reader is not the provider's fault. Comments, pings and empty pieces do not prolong it.

    What has said how it ended is whole, even if the connection breaks before its end marker; unless it went on after
    that, as with servers that say so in each piece. What follows an end marker is not looked at.

    Args:
        opened: The answer, its body unread.
        target: Who was asked.
        key: The key that was sent.
        config: The provider's settings.
        dialect: What reads the events.
        first: When the first content must be there.
        silence: How long nothing may be shown afterwards.
        now: Seconds since 1970-01-01 UTC.

    Attributes:
        limit: The limit on the wait that is under way, or that ended last.
        shown: Whether any content has been shown.
        first_content: Seconds from the request to the first content, as whoever began it has measured.
    """

    __slots__ = (
        "_beside", "_chunks", "_config", "_dialect", "_events", "_judged", "_key", "_now", "_opened", "_parser",
        "_reader", "_renews", "_silence", "_target", "_trailing", "_went_on", "first_content", "limit", "shown",
    )  # fmt: skip

    def __init__(
        self,
        opened: OpenAnswer,
        target: Target,
        key: Secret | None,
        *,
        config: ProviderConfig,
        dialect: Dialect,
        first: Deadline,
        silence: Silence,
        now: float,
    ) -> None:
        self._opened = opened
        self._target = target
        self._key = key
        self._config = config
        self._dialect = dialect
        self._silence = silence
        self._now = now
        self._parser = EventParser(min(_LARGEST_EVENT, config.max_answer_bytes))
        self._reader: StreamReader = dialect.stream(target)
        self._events: deque[Event] = deque()
        self._chunks: deque[Chunk] = deque()
        self._judged: Answered | Failure | None = None
        self._trailing = False
        self._went_on = False  # after it had said how it ended
        self._renews = False
        self._beside = 0  # bytes of events that bring more than text, or little for their size
        self.limit = first
        self.shown = False
        self.first_content = 0.0

    @property
    def bytes_received(self) -> int:
        """Bytes of the body read off the wire."""
        return self._opened.bytes_received

    @property
    def request_id(self) -> str | None:
        """The provider's id of the request."""
        return request_id(self._opened.headers, self._config.keys)

    def begin(self) -> Failure | None:
        """Wait for the first content; None: it is there, or the whole answer is, and :meth:`next` gives it."""
        outcome = self._first()
        if isinstance(outcome, Chunk):
            self._chunks.append(outcome)
            return None
        if isinstance(outcome, Failure):
            return outcome
        self._judged = outcome
        return None

    def _first(self) -> Chunk | Answered | Failure:
        if _EVENT_STREAM in self._opened.headers.get("content-type", _EVENT_STREAM).lower():
            return self._advance()
        return self._unstreamed()

    def next(self) -> Chunk | Answered | Failure:
        """The next piece; after the last one the whole answer; or why it broke off."""
        if self._chunks:
            return self._chunks.popleft()
        if self._judged is not None:
            return self._judged
        self._renews = True
        return self._advance()

    def close(self) -> None:
        """Give up the rest: the socket is closed at once. From any thread."""
        self._opened.close()

    def _advance(self) -> Chunk | Answered | Failure:
        """Read until something is shown, or the answer ends."""
        reader = self._reader
        while True:
            if self._events:
                shown = self._read_events()
                if shown is not None:
                    return shown
            if reader.done:
                self._take_leave()
                return self._whole()
            ended = self._receive()
            if ended is not None:
                return ended

    def _read_events(self) -> Chunk | Failure | None:
        """What the events that are there show first; None: nothing."""
        events, reader, most = self._events, self._reader, self._config.max_answer_bytes
        while events and not reader.done:
            name, data = events.popleft()
            said_all, kept = reader.finished, reader.kept
            try:
                shown = reader.read(name, data)
            except Exception as error:  # noqa: BLE001 -- an answer that nobody foresaw costs an attempt, not the call
                return self._failed(_unreadable("an event", error))
            if isinstance(shown, Failure):
                return self._failed(shown)
            size = len(data)
            if shown is None or reader.kept != kept:
                self._beside += size
            elif size > _FRAME:
                self._beside += size - _FRAME
            if reader.text_length > most or self._beside > most:
                return self._failed(self._too_large())
            if shown is not None:
                self.shown = True
                self._went_on = self._went_on or said_all
                return shown
        return None

    def _receive(self) -> Answered | Failure | None:
        """Take in what comes next; the outcome, if the body ends with it."""
        is_whole = self._reader.finished and not self._went_on
        if self._renews:
            self._renews, self.limit = False, self._silence.begin()
        if is_whole and not self._trailing:
            self._trailing, self.limit = True, self.limit.sooner(_TRAILER_WAIT)
        piece = self._opened.read(self.limit)
        if isinstance(piece, Failure):
            if not is_whole or piece.fault is Fault.CANCELLED:
                return self._failed(self._in_words(piece))
        elif piece:
            return self._parse(piece)
        rest = self._parser.close()
        if rest:
            self._events.extend(rest)
            return None  # comes back, and reads the same end again
        return self._whole()

    def _parse(self, piece: bytes) -> Failure | None:
        """The events of *piece* into those that are to be read."""
        try:
            self._events.extend(self._parser.feed(piece))
        except EventTooLarge as problem:
            return self._failed(Failure(fault=Fault.MALFORMED, message=str(problem), maybe_billed=True))
        return None

    def _take_leave(self) -> None:
        """Read the end of the body if it is about to come, so that the connection can be used again; else close it."""
        if self._opened.read(self._silence.deadline.sooner(_END_WAIT)) != b"":
            self._opened.close()

    def _whole(self) -> Answered | Failure:
        """The answer as a whole, judged as if it had come in one piece."""
        read = self._read()
        if isinstance(read, Failure):
            return self._failed(read)
        self._opened.close()
        self._judged = Answered(
            answer=with_model_shown(read, self._target.model, self._config.keys),
            status=self._opened.status,
            request_id=self.request_id,
            bytes_received=self._opened.bytes_received,
        )
        return self._judged

    def _read(self) -> Answer | Failure:
        try:
            body = self._reader.body()
            return body if isinstance(body, Failure) else self._dialect.read(body, self._target)
        except Exception as error:  # noqa: BLE001 -- as for an event
            return _unreadable("an answer", error)

    def _failed(self, failure: Failure) -> Failure:
        """*failure* with what only the HTTP answer around it tells; the rest of the body is given up."""
        self._opened.close()
        self._judged = msgspec.structs.replace(
            failure,
            message=mask(failure.message, self._config.keys),
            status=failure.status or self._opened.status,
            request_id=failure.request_id or self.request_id,
            bytes_received=self._opened.bytes_received,
        )
        return self._judged

    def _in_words(self, failure: Failure) -> Failure:
        """A time that was up, said as what it means for a stream."""
        if failure.fault is not Fault.TIMEOUT:
            return failure
        within = in_words(self.limit.timeout)
        said = f"the answer stalled: no content for {within}" if self.shown else f"no content within {within}"
        return msgspec.structs.replace(failure, message=f"{said} ({self._opened.bytes_received} bytes so far)")

    def _too_large(self) -> Failure:
        most = self._config.max_answer_bytes / 2**20
        return Failure(fault=Fault.MALFORMED, message=f"answer larger than {most:.3g} MiB", maybe_billed=True)

    def _unstreamed(self) -> Chunk | Answered | Failure:
        """The answer of a server that did not heed the wish for a stream, or of something in between."""
        body = bytearray()
        while len(body) <= self._config.max_answer_bytes:
            piece = self._opened.read(self.limit)
            if isinstance(piece, Failure):
                return self._failed(self._in_words(piece))
            if not piece:
                return self._judge_whole(bytes(body))
            may_be_events = len(body) < _LOOKED_AT
            body += piece
            if may_be_events and _EVENTS.match(body[:_LOOKED_AT]):
                return self._parse(bytes(body)) or self._advance()
        return self._failed(self._too_large())

    def _judge_whole(self, body: bytes) -> Answered | Failure:
        raw = RawAnswer(status=self._opened.status, headers=self._opened.headers, body=body)
        read = read_answer(raw, self._target, self._key, config=self._config, dialect=self._dialect, now=self._now)
        if isinstance(read, Failure):
            return self._failed(read)
        self._chunks.extend(_as_chunks(read.answer, self._target))
        self.shown = True
        return read


def _unreadable(what: str, error: Exception) -> Failure:
    message = f"{what} that could not be read ({type(error).__name__})"
    return Failure(fault=Fault.MALFORMED, message=message, maybe_billed=True)


def _as_chunks(answer: Answer, target: Target) -> list[Chunk]:
    """A whole answer as the one piece that shows it."""
    from failsafe.chunks import ToolCallDelta  # the usual stream has its own pieces

    calls = tuple(
        ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
        for index, call in enumerate(answer.tool_calls)
    )
    chunk = Chunk(
        provider=target.provider,
        model=target.model,
        text=answer.content,
        reasoning=answer.reasoning or "",
        refusal=answer.refusal or "",
        tool_calls=calls,
    )
    return [chunk] if chunk.text or chunk.reasoning or chunk.refusal or calls else []
