"""What a dialect is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from failsafe.catalog import ModelInfo, Quirks
from failsafe.chunks import Chunk
from failsafe.models import Adjustment, Answer, ChatRequest, Failure


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """
    One provider and model, as a dialect needs to know it.

    Attributes:
        provider: The provider's configured name.
        vendor: Whose rules it follows, for quirks and errors (``openai``, ``deepseek``, ...).
        model: The model id to send.
        info: What is known of the model.
        quirks: The server's differences from the dialect's reference.
        refused: Parameters this target was seen to refuse; they are left out.
        extra: The provider's own body fields, from its configuration.
    """

    provider: str
    vendor: str
    model: str
    info: ModelInfo = ModelInfo()
    quirks: Quirks = Quirks()
    refused: frozenset[str] = frozenset()
    extra: Mapping[str, Any] = {}


class BuiltRequest(msgspec.Struct, frozen=True, kw_only=True):
    """
    A request ready to be sent.

    Attributes:
        path: Below the provider's base URL, e.g. ``/chat/completions``.
        body: JSON bytes.
        adjustments: What was changed about the request for this target.
    """

    path: str
    body: bytes
    adjustments: tuple[Adjustment, ...] = ()


class CannotExpress(Exception):
    """
    The target cannot be asked this without changing the meaning; the message says what it lacks.

    Never leaves the library: the router turns it into a line of the receipt.
    """


class StreamReader(Protocol):
    """
    Reads the events of one streamed answer. Lives for that answer; not thread-safe. Never raises.

    Attributes:
        finished: Whether the answer has said how it ended; only usage and an end marker may follow.
        done: Whether nothing may follow any more: the end marker was read.
        text_length: Characters of text, reasoning, refusal and tool arguments collected so far.
        kept: Grows with each event that leaves more behind than text: a tool call, a block, a part, log
            probabilities, a field of the vendor's own.
    """

    finished: bool
    done: bool
    text_length: int
    kept: int

    def read(self, name: str, data: bytes) -> Chunk | Failure | None:
        """
        Take in one event.

        Args:
            name: What stood after ``event:``, or "".
            data: What stood after ``data:``; several lines are joined by a newline.

        Returns:
            What it shows a reader; None for what shows nothing (a ping, an empty delta, usage, an end); or why the
            answer has failed: an error event, or data that is none of this dialect.
        """

    def body(self) -> Any | Failure:
        """
        What the whole answer's body would have been without streaming, for :meth:`Dialect.read`.

        Called when no event may follow any more. A :class:`Failure` (``TRUNCATED``, with what there was of the text as
        its ``partial``) if the answer stopped before it said how it ended.
        """


class Dialect(Protocol):
    """
    A wire format. Implementations are stateless and thread-safe.

    ``build`` raises :class:`CannotExpress` when this target lacks what the request needs, and
    :class:`failsafe.InvalidRequest` when no target could take it. ``read`` never raises: whatever
    a body holds becomes an :class:`Answer` or a :class:`Failure`.
    """

    name: str

    def build(self, request: ChatRequest, target: Target) -> BuiltRequest:
        """The request in this dialect; one that asks for a stream where ``request.stream`` says so."""

    def read(self, body: Any, target: Target) -> Answer | Failure:
        """The answer in a decoded 2xx body, or why it is none (never an exception)."""

    def stream(self, target: Target) -> StreamReader:
        """A reader for one answer of *target* to a request with ``stream`` set."""
