"""A streamed answer in the hands of its reader. The guide is ``docs/streaming.md``."""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NamedTuple, NoReturn, Self

import msgspec

from failsafe import forking
from failsafe.attempts import Opened
from failsafe.chunks import Chunk, OnInterrupt, ToolCallDelta
from failsafe.collector import Collector
from failsafe.continuation import may_continue, repeated_space
from failsafe.deadline import ChildToken
from failsafe.durations import in_words
from failsafe.errors import AllProvidersFailed, Cancelled, DeadlineExceeded, ProviderFault, StreamInterrupted
from failsafe.events import CLOSED
from failsafe.failover import Failover
from failsafe.faults import Fault
from failsafe.manner import Streamed
from failsafe.models import Attempt, ChatRequest, Failure, Reply
from failsafe.reading import Answered

Ended = Callable[[Reply | None, str | None], None]
"""Told once when a stream is over: the whole answer, or in a word why there is none."""

_CLOSED_ELSEWHERE = "the stream was closed by another thread before its end"
_OURS = f"{__package__}."


class Passage(NamedTuple):
    """
    What a stream needs of the call that it belongs to.

    Attributes:
        call: Asks the providers.
        manner: How it asks.
        request: What is asked.
        on_interrupt: What is done about an answer that breaks off.
        token: Ends the call; cancelled with the caller's own.
        ended: Told when it is over; what comes after the first time is ignored.
        left_behind: Where what cannot be given back at once is left for the router's next step.
    """

    call: Failover
    manner: Streamed
    request: ChatRequest
    on_interrupt: OnInterrupt
    token: ChildToken
    ended: Ended
    left_behind: deque[LeftBehind]


class LeftBehind(NamedTuple):
    """
    What is still held for a stream that nobody reads any more.

    Attributes:
        passage: Its call.
        opened: The attempt under way, or None.
        why: What ended it, in a word.
    """

    passage: Passage
    opened: Opened | None
    why: str

    def settle(self) -> None:
        """Give it back, and let the call end. What was done is not done again, so that it may be called once more."""
        line: Attempt | None = None
        try:
            if self.opened is not None:
                line = self.passage.call.close(self.opened, None)
            else:
                line = self.passage.call.abandon()
        finally:
            _finish(self.passage, None, self.why, line)


class Stream:
    """
    The pieces of one answer, as they come: an iterator of :class:`failsafe.Chunk`, and a context manager.

    ``Router.stream`` gives one that has its first content already. Whatever ends it (the last chunk, an error,
    :meth:`close`, the garbage collector) closes the provider's socket or gives it back, and returns what was held.
    Between two pieces it holds no lock and no thread, and the limit on silence does not run; the call's deadline does.

    It is read by one thread at a time; :meth:`close` may be called from any. In a forked child it is closed, and the
    parent's goes on.

    Attributes:
        provider: The configured name of the provider that answers now.
        model: The model id it was asked for.
        request_id: Its id of the request, for its support desk; None where it gives none.
    """

    def __init__(self, passage: Passage, start: Opened | Reply) -> None:
        self._passage = passage
        self._collector = Collector()
        self._space = ""
        self._ready: deque[Chunk] = deque()  # of an answer that was never streamed
        self._response: Reply | None = None
        self._opened: Opened | None = None
        self._ended = True
        self._closer: int | None = None  # the thread that wants no more of it
        self._parents: tuple[Opened | None] | None = None  # in a forked child: what the parent goes on with
        if isinstance(start, Reply):  # the router's own last answer
            self._response = start
            self.provider, self.model, self.request_id = start.provider, start.model, start.request_id
            self._ready.extend((_as_chunk(start), self._last_chunk(start)))
        else:
            self.provider, self.model, self.request_id = _who(start)
        self._start_afresh()
        forking.register(self)
        if not isinstance(start, Reply):
            self._opened, self._ended = start, False  # from here on it is this stream that gives all back

    def _start_afresh(self) -> None:
        self._turn = threading.Lock()  # held while a piece is waited for, never between two

    def _after_fork(self) -> None:
        """Leave the socket, and all that is held for it, to the parent; nothing is closed here, which could block."""
        self._start_afresh()
        if not self._ended:
            self._parents, self._opened, self._ended = (self._opened,), None, True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Chunk:
        """
        Wait for the next piece.

        Raises:
            StreamInterrupted: The answer broke off, and nobody goes on with it.
            ContentFiltered: A content policy stopped it; ``partial`` has the text so far.
            Cancelled: The caller's token was cancelled, or another thread closed the stream.
            RuntimeError: Another thread is reading it.
        """
        if self._ready:
            with suppress(IndexError):  # closed in the meantime
                return self._ready.popleft()
        if not self._turn.acquire(blocking=False):
            raise self._out_of_turn()
        try:
            opened = self._opened or self._no_more()
            piece = opened.flow.next()
            if type(piece) is Chunk and not self._space:
                self._collector.add(piece)
                return piece
            return self._next(opened, piece)
        except StopIteration:
            raise
        except BaseException as error:
            self._end(type(error).__name__)
            raise
        finally:
            self._turn.release()
            if self._closer is not None and not self._ended:
                self._close()  # another thread wanted that while this one had its piece already

    def _out_of_turn(self) -> Exception:
        """Why another thread may not read at this moment."""
        if self._closer is not None:
            return self._cancelled(_CLOSED_ELSEWHERE)
        return RuntimeError("another thread is waiting for a piece of this stream; read it in one thread at a time")

    def _no_more(self) -> NoReturn:
        """Say why there is no further piece; an answer that somebody else has cut must not look like a whole one."""
        if self._parents is not None:
            raise RuntimeError("this stream belongs to the process that has opened it; a forked child cannot read it")
        if self._closer not in (None, threading.get_ident()) and self._response is None:
            raise self._cancelled(_CLOSED_ELSEWHERE)
        raise StopIteration

    def _cancelled(self, headline: str) -> Cancelled:
        call = self._passage.call
        return Cancelled(call.report(headline), attempts=call.attempts, skipped=call.skipped)

    def _next(self, opened: Opened, piece: Chunk | Answered | Failure) -> Chunk:
        while True:
            if isinstance(piece, Answered):
                return self._complete(opened, piece)
            if isinstance(piece, Failure):
                return self._interrupted(opened, piece)
            shown = self._without_repeated_space(piece) if self._space else piece
            if shown is not None:
                self._collector.add(shown)
                return shown
            piece = opened.flow.next()

    def _complete(self, opened: Opened, answered: Answered) -> Chunk:
        """Give the last chunk; the attempt is settled before anybody is told."""
        call = self._passage.call
        line = call.close(opened, answered)
        self._opened = None
        reply = call.reply(opened.course, opened.built, answered)
        assert isinstance(reply, Reply)  # noqa: S101 -- as the manner of streams makes it
        if self._collector.seams:
            # What a model wants back with its own answer does not fit one that another began.
            reply = msgspec.structs.replace(
                reply, content=self._collector.text, seams=self._collector.seams, provider_data=None
            )
        self._response = reply
        _finish(self._passage, reply, None, line)
        self._ended = True
        return self._last_chunk(reply)

    def _last_chunk(self, reply: Reply) -> Chunk:
        return Chunk(provider=self.provider, model=self.model, finish_reason=reply.finish_reason, usage=reply.usage)

    def _interrupted(self, opened: Opened, failure: Failure) -> Chunk:
        """Go on with the next provider, if the reader wants that and it can be done; else raise."""
        call = self._passage.call
        line = call.close(opened, failure)
        self._opened = None
        call.tell(line)
        if failure.fault is Fault.CANCELLED:
            raise self._cancelled("the stream was cancelled, or closed by another thread")
        if failure.fault is Fault.TIMEOUT and call.out_of_time:
            limit = in_words(call.timeout)
            self._raise(opened, None, f"the call's deadline of {limit} ended", "a longer timeout= leaves it more time")
        obstacle = self._obstacle()
        if obstacle is None:
            return self._with_the_next(opened, failure)
        return self._give_up(opened, failure, obstacle)

    def _obstacle(self) -> str | None:
        """Why no provider is asked to take over, in words."""
        wanted = self._passage.on_interrupt
        if wanted == "raise":
            return 'on_interrupt="restart" or "continue" lets the next provider take over'
        if wanted == "restart":
            return None
        why = may_continue(self._passage.request) if self._begun() else None
        if self._collector.calls_tools:
            why = "a tool call had begun"
        return None if why is None else f"it cannot be gone on with: {why}"

    def _begun(self) -> str:
        """The text that another provider is to go on with; "": it begins again."""
        if self._passage.on_interrupt != "continue":
            return ""
        text = self._collector.text
        return "" if text.isspace() else text

    def _with_the_next(self, opened: Opened, failure: Failure) -> Chunk:
        call, passage = self._passage.call, self._passage
        begun = passage.manner.begun = self._begun()
        try:
            call.goes_on_after(opened, failure)
        except ProviderFault:
            self._give_up(opened, failure, "no other provider would mend that")
        try:
            following = call.run()
        except (AllProvidersFailed, DeadlineExceeded, ProviderFault) as error:
            why = str(error).partition("\n")[0]
            self._raise(opened, failure.fault, failure.message, f"nobody else could take over: {why}")
        assert isinstance(following, Opened)  # noqa: S101 -- a call that asks for streams is given streams
        self._opened = following
        self.provider, self.model, self.request_id = _who(following)
        self._space = ""
        if not begun:
            self._collector.clear()
            return Chunk(provider=self.provider, model=self.model, event="restarted")
        self._collector.add_seam(self.provider, self.model)
        if passage.manner.prefilled:
            self._space = begun[len(begun.rstrip()) :]
        return Chunk(provider=self.provider, model=self.model, event="continued")

    def _without_repeated_space(self, chunk: Chunk) -> Chunk | None:
        """*chunk* without the white space that had to be left off before it was asked to go on; None: it is no more."""
        text, self._space = repeated_space(self._space, chunk.text)
        if text == chunk.text:
            return chunk
        chunk = msgspec.structs.replace(chunk, text=text)
        return chunk if text or chunk.reasoning or chunk.refusal or chunk.tool_calls else None

    def _give_up(self, opened: Opened, failure: Failure, advice: str) -> NoReturn:
        """Raise what says how the answer broke off."""
        if failure.fault is Fault.CONTENT_FILTER:
            filtered = msgspec.structs.replace(failure, partial=self._collector.text)
            raise filtered.error(self.provider, self._passage.call.attempts) from None
        self._raise(opened, failure.fault, failure.message, advice)

    def _raise(self, opened: Opened, fault: Fault | None, why: str, advice: str) -> NoReturn:
        call, received = self._passage.call, self._collector.partial()
        name = opened.course.endpoint.name
        headline = f"the answer of {name} broke off after {len(received.text)} characters: {why}; {advice}"
        raise StreamInterrupted(
            call.report(headline),
            partial=received, provider=name, fault=fault, attempts=call.attempts, skipped=call.skipped,
        ) from None  # fmt: skip

    @property
    def response(self) -> Reply:
        """
        The whole answer with its receipt, the same as a call without streaming would have given.

        Raises:
            RuntimeError: The stream was not read to its end.
        """
        if self._response is None or self._ready:
            raise RuntimeError("the stream was not read to its end, so there is no whole answer; read all its chunks")
        return self._response

    def close(self) -> None:
        """
        Give up the rest: the socket is closed at once, the permit returned. Closing again does nothing.

        From any thread; one that is waiting for a piece, or asks for a further one, gets :class:`failsafe.Cancelled`.
        A signal handler cancels the call's token instead: this takes locks that the code it interrupts may hold.
        """
        if self._closer is None and (self._ready or not self._ended):
            self._closer = threading.get_ident()
        self._close()

    def _close(self) -> None:
        if not self._turn.acquire(blocking=False):
            self._passage.token.cancel()  # whoever waits for a piece ends the stream
            return
        try:
            if self._ready:
                self._ready.clear()
                self._response = None
            self._end(CLOSED)
        finally:
            self._turn.release()

    def _end(self, why: str) -> None:
        """Settle what is still held, once."""
        if self._ended:
            return
        held = LeftBehind(self._passage, self._opened, why)
        self._ended, self._opened = True, None
        try:
            held.settle()
        except BaseException:  # interrupted: whatever is not done yet must be done all the same
            self._passage.left_behind.append(held)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_ended", True):
            return
        with suppress(Exception):  # at the end of the interpreter anything may be gone
            held = LeftBehind(self._passage, self._opened, CLOSED)
            left = True
            try:
                if held.opened is not None:
                    held.opened.flow.close()
                # A collection may run in the middle of whatever this thread does: with a lock of ours held, taking it
                # again would block for ever. What is left behind is done by the router's next step.
                if not amid_our_own_code(sys._getframe().f_back):  # noqa: SLF001 -- nothing has called this finaliser
                    held.settle()
                    left = False
            finally:  # an interrupt goes no further than here, so that nobody would see to it
                if left:
                    self._passage.left_behind.append(held)

    def __repr__(self) -> str:
        state = "open" if self._opened is not None else "complete" if self._response is not None else "closed"
        return f"<Stream of {self.provider} ({self.model}), {state}, {self._collector.text_length} characters>"


def _finish(passage: Passage, reply: Reply | None, why: str | None, line: Attempt | None) -> None:
    """Let the call end, and tell who listens: of the attempt first, and whatever they do, of the end."""
    try:
        passage.token.close()
        passage.call.tell(line)
    finally:
        passage.ended(reply, why)


def amid_our_own_code(frame: FrameType | None) -> bool:
    """Whether code of this package is running in this thread, in *frame* or whatever has called that."""
    while frame is not None:
        if _is_ours(frame):
            return True
        frame = frame.f_back
    return False


def called_amid_our_own_code() -> bool:
    """Whether the function that asks was called by a program's code that code of this package is waiting for."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 -- who calls on whose behalf is nowhere else
    while frame is not None and _is_ours(frame):
        frame = frame.f_back
    return amid_our_own_code(frame)


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith(_OURS)


def _who(opened: Opened) -> tuple[str, str, str | None]:
    return opened.course.endpoint.name, opened.course.model, opened.flow.request_id


def _as_chunk(reply: Reply) -> Chunk:
    """All that *reply* shows, in one piece."""
    return Chunk(
        provider=reply.provider,
        model=reply.model,
        text=reply.content,
        reasoning=reply.reasoning or "",
        refusal=reply.refusal or "",
        tool_calls=tuple(
            ToolCallDelta(index=index, id=call.id, name=call.name, arguments=call.arguments)
            for index, call in enumerate(reply.tool_calls)
        ),
    )
