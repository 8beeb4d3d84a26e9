"""What a wire format has to provide so that clients who speak it can be answered by a router."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from failsafe.chunks import Chunk
from failsafe.embeddings import EmbedReply, EmbedRequest
from failsafe.models import Message, Reply


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """
    A chat request, read out of a client's wire format.

    Attributes:
        model: The model or alias that is asked for.
        messages: The conversation in OpenAI's chat form.
        parameters: Of :class:`failsafe.models.ChatParameters`.
        extra: The format's own fields that have no equivalent; only providers that speak this format are sent them.
        stream: Whether the client wants a stream.
        stream_usage: Whether it wants usage in the stream, where the format lets it choose.
    """

    model: str
    messages: Sequence[Message]
    parameters: Mapping[str, Any] = {}
    extra: Mapping[str, Any] = {}
    stream: bool = False
    stream_usage: bool = False


class EmbedQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """
    A request for embeddings, read out of a client's wire format.

    Attributes:
        request: What is asked.
        packed: Whether the client wants each vector as base64 of its numbers.
    """

    request: EmbedRequest
    packed: bool = False


class EmbedFormat(Protocol):
    """How the clients of a :class:`Format` ask for embeddings. Stateless and thread-safe."""

    path: str
    """How the path of such a request ends."""

    def read(self, body: Any) -> EmbedQuestion:
        """
        The request in a decoded *body*.

        Raises:
            InvalidRequest: It is no such request; the message names the field in the client's own terms.
        """

    def write(self, reply: EmbedReply, question: EmbedQuestion) -> dict[str, Any]:
        """The body of the answer, as the vendor would write it."""


class StreamWriter(Protocol):
    """
    Writes one streamed answer as server-sent events in a format. Lives for that answer; not thread-safe.

    What it writes makes the format's official SDK assemble the same answer as :meth:`Format.write` gives whole.
    """

    def chunk(self, chunk: Chunk) -> bytes:
        """The events for one piece (the first with whatever begins an answer); b"" where the format needs none."""

    def end(self, reply: Reply) -> bytes:
        """The events that end the answer: finish reason, usage, end marker."""

    def error(self, status: int, error: Exception) -> bytes:
        """The event that says that the answer broke off: *error*, which before the head would have had *status*."""


class Format(Protocol):
    """A wire format from the side that answers. Stateless and thread-safe."""

    name: str
    """As the dialect: ``openai``, ``anthropic`` or ``gemini``."""
    request_id_header: str
    """The header in which its clients look for the id of the request."""

    @property
    def embeddings(self) -> EmbedFormat | None:
        """How its clients ask for embeddings; None: such requests are not answered."""

    def read(self, body: Any, path: str) -> Question:
        """
        The request in a decoded *body* sent to *path*.

        Raises:
            InvalidRequest: It is no such request, or asks for what no router can give (``n`` above 1); the message
                names the field in the client's own terms.
        """

    def write(self, reply: Reply, question: Question) -> dict[str, Any]:
        """The body of the whole answer, as the vendor would write it, SDK-parsable; ids and times are made up where
        the reply has none.
        """

    def writer(self, question: Question) -> StreamWriter:
        """What writes the answer to *question* as a stream."""

    def error(self, status: int, error: Exception) -> dict[str, Any]:
        """The body of an error answer with *status*, in the vendor's form; its message is the error's own."""
