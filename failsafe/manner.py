"""How one call asks its providers: whole answers, streams, or streams put together."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from failsafe.catalog import ModelInfo
from failsafe.chunks import Chunk
from failsafe.continuation import continued
from failsafe.deadline import Deadline
from failsafe.endpoint import Endpoint
from failsafe.flow import Flow, Silence
from failsafe.models import ChatRequest, Failure
from failsafe.providers.base import BuiltRequest, Target
from failsafe.reading import Answered
from failsafe.replies import AnyReply, Receipt, chat_reply
from failsafe.secret import Secret
from failsafe.transport.base import Limits

_UNKNOWN = ModelInfo()


class Gathered(NamedTuple):
    """
    What became of a stream that was put together.

    Attributes:
        outcome: The whole answer, or why it broke off after its first content.
        flow: The stream, closed.
    """

    outcome: Answered | Failure
    flow: Flow


class Manner(Protocol):
    """A way to ask. Lives for one call, or serves all where it has no state."""

    def build(self, endpoint: Endpoint, request: ChatRequest, target: Target) -> BuiltRequest:
        """The request in the provider's dialect; raises as :class:`failsafe.providers.base.Dialect` says."""

    def ask(
        self,
        endpoint: Endpoint,
        built: BuiltRequest,
        target: Target,
        key: Secret | None,
        limits: Limits,
        counted_at: float,
    ) -> Answered | Flow | Gathered | Failure:
        """Send it; a :class:`Flow` has shown its first content."""

    def succeeded(self, endpoint: Endpoint, key: Secret | None, model: str, took: float) -> None:
        """Note a whole answer that took *took* seconds."""

    def reply(self, answer: Any, receipt: Receipt) -> AnyReply:
        """What the caller is given."""

    def own_limit(self, endpoint: Endpoint, model: str) -> float:
        """Seconds that the provider may take at most, whatever the call's deadline."""

    def usual(self, endpoint: Endpoint, model: str) -> float | None:
        """Seconds within which it usually shows that it answers; None before the first time."""

    def needs(self, endpoint: Endpoint, model: str) -> float | None:
        """Seconds that are worth keeping for it while others are asked; None before it was first answered."""


class Plain:
    """Whole answers. Thread-safe: it has no state."""

    ask = staticmethod(Endpoint.ask)
    succeeded = staticmethod(Endpoint.succeeded)
    reply = staticmethod(chat_reply)

    def build(self, endpoint: Endpoint, request: ChatRequest, target: Target) -> BuiltRequest:
        """The request in the provider's dialect."""
        return endpoint.dialect.build(request, target)

    def own_limit(self, endpoint: Endpoint, model: str) -> float:  # noqa: ARG002 -- one limit for all models
        """The provider's ``timeout``."""
        return endpoint.config.timeout

    def usual(self, endpoint: Endpoint, model: str) -> float | None:  # noqa: ARG002 -- one window for all models
        """The 95th percentile of its recent answers."""
        return endpoint.latency.p95

    needs = usual


PLAIN = Plain()


class Streamed:
    """
    Streams, which are handed over once they have shown their first content. Lives for one call.

    Args:
        deadline: When the call must have ended.

    Attributes:
        begun: The text that an answer which broke off began with, for the next provider to go on with; or "".
        prefilled: Whether the request built last has the model go on with that text by itself.
    """

    succeeded = staticmethod(Endpoint.succeeded)
    reply = staticmethod(chat_reply)

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self.begun = ""
        self.prefilled = False

    def build(self, endpoint: Endpoint, request: ChatRequest, target: Target) -> BuiltRequest:
        """The request in the provider's dialect, with the text to go on with, if there is one."""
        if self.begun:
            self.prefilled = takes_prefill(endpoint, target, request)
            request = continued(request, self.begun, prefill=self.prefilled)
        return endpoint.dialect.build(request, target)

    def ask(
        self,
        endpoint: Endpoint,
        built: BuiltRequest,
        target: Target,
        key: Secret | None,
        limits: Limits,
        counted_at: float,
    ) -> Answered | Flow | Gathered | Failure:
        """Open the stream and wait for its first content."""
        silence = Silence(self._deadline, endpoint.stream.stall)
        return endpoint.open(built, target, key, limits, counted_at, silence)

    def own_limit(self, endpoint: Endpoint, model: str) -> float:
        """Seconds to its first content: as it is set, and as is usual for the model."""
        own = endpoint.stream.first_content or endpoint.config.timeout
        usual = endpoint.first_content(model).seconds
        return own if usual is None else min(own, usual)

    def usual(self, endpoint: Endpoint, model: str) -> float | None:
        """The 95th percentile of its recent first contents."""
        return endpoint.first_content(model).p95

    def needs(self, endpoint: Endpoint, model: str) -> float | None:
        """As long: how long its answers are to be read is the reader's affair."""
        return self.usual(endpoint, model)


class Progress(Streamed):
    """Streams put together: the caller gets whole answers, and silence is noticed at once. Lives for one call."""

    def ask(
        self,
        endpoint: Endpoint,
        built: BuiltRequest,
        target: Target,
        key: Secret | None,
        limits: Limits,
        counted_at: float,
    ) -> Answered | Gathered | Failure:
        """Open the stream and read it to its end."""
        flow = super().ask(endpoint, built, target, key, limits, counted_at)
        if not isinstance(flow, Flow):
            return flow
        try:
            while True:
                piece = flow.next()
                if not isinstance(piece, Chunk):
                    return Gathered(piece, flow)
        finally:
            flow.close()

    def needs(self, endpoint: Endpoint, model: str) -> float | None:
        """The 95th percentile of its recent whole answers, as far as they are known."""
        return endpoint.latency.p95 or self.usual(endpoint, model)


def takes_prefill(endpoint: Endpoint, target: Target, request: ChatRequest) -> bool:
    """
    Whether the model is known to go on by itself with an answer that stands at the end of the conversation.

    The newer ones refuse that, as all do while they think; one that nobody knows is told to, which all understand.
    """
    if endpoint.dialect.name != "anthropic" or target.info == _UNKNOWN:
        return False
    if "reasoning_effort" in request.parameters or "thinking" in {**target.extra, **request.extra}:
        return False
    return "prefill" not in {*target.info.refuses, *target.refused, *target.quirks.drops}
