"""What a dialect is given and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from failsafe.catalog import ModelInfo, Quirks
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


class Dialect(Protocol):
    """
    A wire format. Implementations are stateless and thread-safe.

    ``build`` raises :class:`CannotExpress` when this target lacks what the request needs, and
    :class:`failsafe.InvalidRequest` when no target could take it. ``read`` never raises: whatever
    a body holds becomes an :class:`Answer` or a :class:`Failure`.
    """

    name: str

    def build(self, request: ChatRequest, target: Target) -> BuiltRequest:
        """The request in this dialect."""

    def read(self, body: Any, target: Target) -> Answer | Failure:
        """The answer in a decoded 2xx body, or why it is none (never an exception)."""
