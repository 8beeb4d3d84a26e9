"""What a wire format has to provide so that a provider can fake it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from failsafe.sim.behaviour import StreamShape
from failsafe.sim.script import Call, Script
from failsafe.sim.vendors import Complaint
from failsafe.sim.wire import Head


@dataclass(frozen=True, slots=True)
class Route:
    """
    What an address is for.

    Attributes:
        kind: ``chat``, ``embeddings``, ``models``, ``account`` (what is left of the credit) or ``health``.
        model: The model that stands in the address, or "".
        stream: Whether the address asks for a stream (Gemini).
        sse: Whether a stream comes as server-sent events; otherwise as one JSON array (Gemini without ``alt=sse``).
    """

    kind: str
    model: str = ""
    stream: bool = False
    sse: bool = True


@dataclass(frozen=True, slots=True)
class Event:
    """
    One event of a stream.

    Attributes:
        data: What follows ``data:``; text is sent as it is, anything else as JSON.
        name: What follows ``event:``, or None.
    """

    data: Any
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """
    A chat request, before it is known to be a good one.

    Attributes:
        head: Its head.
        route: What its address says.
        body: Its body's JSON, or None.
        vendor: Whose rules apply.
    """

    head: Head
    route: Route
    body: Any
    vendor: str


class Dialect(Protocol):
    """A wire format, from the server's side. The modules ``openai``, ``anthropic`` and ``gemini`` are three."""

    def route(self, head: Head) -> Route | None:
        """What the address is for, or None when there is nothing at it."""

    def complaint_about(self, asked: Asked) -> Complaint | None:
        """What the vendor would find wrong with a chat request, or None."""

    def call(self, asked: Asked) -> Call:
        """What a chat request without fault asks for."""

    def answer(self, script: Script) -> dict[str, Any]:
        """The body of a whole answer."""

    def without_choices(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The same body with the part that holds the answer left empty."""

    def without_message(self, answer: dict[str, Any]) -> dict[str, Any]:
        """The same body with an answer that says nothing and gives no reason."""

    def events(self, script: Script, shape: StreamShape) -> Iterable[Event]:
        """The events of a streamed answer, its end marker included where *shape* has one."""

    def error_event(self, body: Any) -> Event:
        """The error *body* as an event of a stream."""

    def models(self, known: Sequence[str]) -> Any:
        """The list of models."""


def names(text: str) -> frozenset[str]:
    """The words of *text* as a set."""
    return frozenset(text.split())


def text_of(content: Any) -> str:
    """The text of a message's content, which is a text or a list of parts with a ``text``."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def last_user_text(messages: Any, field: str) -> str:
    """The text of the last message whose role is ``user`` and which has one."""
    for message in reversed(messages):
        if message.get("role", "user") == "user" and (text := text_of(message.get(field))):
            return text
    return ""
