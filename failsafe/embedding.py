"""How one call asks for embeddings: of the same model everywhere, since vectors of two models cannot be compared."""

from __future__ import annotations

from typing import Any

from failsafe.embeddings import Embeddings, EmbedReply, EmbedRequest
from failsafe.endpoint import Endpoint
from failsafe.faults import Fault
from failsafe.model_names import same_model
from failsafe.models import ChatRequest, Failure
from failsafe.providers.base import BuiltRequest, Target
from failsafe.providers.embedders import embedder_for
from failsafe.reading import Answered
from failsafe.replies import Receipt
from failsafe.secret import Secret
from failsafe.transport.base import Limits

_REMEMBERED = 256  # models with their dimensions: a bound, not a limit anyone meets


class VectorLengths:
    """
    How long the vectors of each model have been so far. Thread-safe: single operations on a dict.

    A provider whose vectors have another length does not serve the same model, whatever it calls it.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int | None], int] = {}

    def other_than(self, request: EmbedRequest, length: int) -> int | None:
        """The length known for *request* if *length* is another one; else None, and it is known from now on."""
        asked = (request.model, request.dimensions)
        if asked not in self._known and len(self._known) >= _REMEMBERED:
            return None
        known = self._known.setdefault(asked, length)
        return known if known != length else None

    def clear(self) -> None:
        """Forget all: the next answer decides."""
        self._known.clear()


class Embed:
    """
    The :class:`failsafe.manner.Manner` that asks for embeddings. Lives for one call.

    Args:
        request: The texts.
        lengths: Of the router, so that no provider answers with vectors of another kind.
    """

    def __init__(self, request: EmbedRequest, lengths: VectorLengths) -> None:
        self._request = request
        self._lengths = lengths

    def build(self, endpoint: Endpoint, request: ChatRequest, target: Target) -> BuiltRequest:  # noqa: ARG002 -- has its own
        """The request in the provider's dialect."""
        return embedder_for(endpoint.dialect.name).build(self._request, target)

    def ask(
        self,
        endpoint: Endpoint,
        built: BuiltRequest,
        target: Target,
        key: Secret | None,
        limits: Limits,
        counted_at: float,
    ) -> Answered | Failure:
        """Send it, and refuse vectors that cannot be compared with those before."""
        reader = embedder_for(endpoint.dialect.name)
        outcome = endpoint.ask(built, target, key, limits, counted_at, reader)
        if isinstance(outcome, Failure):
            return outcome
        answer: Embeddings = outcome.answer
        incomplete = self._request.problem_of(answer.vectors)
        if incomplete is not None:
            return _failure(Fault.MALFORMED, incomplete, outcome)
        incomparable = self._incomparable(answer, endpoint, target)
        return outcome if incomparable is None else _failure(Fault.MODEL, incomparable, outcome)

    def _incomparable(self, answer: Embeddings, endpoint: Endpoint, target: Target) -> str | None:
        """Why these vectors are not of the model that was asked for, in words."""
        if _is_another(answer.model, endpoint, target):
            return f"vectors of {answer.model}, and {target.model} was asked for; they cannot be compared"
        length = len(answer.vectors[0])
        known = self._lengths.other_than(self._request, length)
        if known is None:
            return None
        return f"vectors of {length} numbers, where {self._request.model} gave {known} before; they cannot be compared"

    def succeeded(self, endpoint: Endpoint, key: Secret | None, model: str, took: float) -> None:
        """Note an answer that took *took* seconds, apart from chats, which take longer."""
        endpoint.succeeded_embedding(key, model, took)

    def reply(self, answer: Any, receipt: Receipt) -> EmbedReply:
        """The vectors with the receipt."""
        return EmbedReply(vectors=answer.vectors, usage=answer.usage, **receipt._asdict())

    def own_limit(self, endpoint: Endpoint, model: str) -> float:  # noqa: ARG002 -- one limit for all models
        """The provider's ``timeout``."""
        return endpoint.config.timeout

    def usual(self, endpoint: Endpoint, model: str) -> float | None:  # noqa: ARG002 -- one window for all models
        """The 95th percentile of its recent answers."""
        return endpoint.embedding_latency.p95

    needs = usual


def _failure(fault: Fault, message: str, outcome: Answered) -> Failure:
    return Failure(
        fault=fault,
        message=message,
        status=outcome.status,
        request_id=outcome.request_id,
        bytes_received=outcome.bytes_received,
        maybe_billed=True,
    )


def _is_another(answered: str, endpoint: Endpoint, target: Target) -> bool:
    """Whether both are embedding models that the catalogue knows, and not the same; a deployment has any name."""
    if not answered or not target.info.embeds or same_model(target.model, answered):
        return False
    return endpoint.config.model_info(answered).embeds is True


def as_chat(request: EmbedRequest) -> ChatRequest:
    """*request* in the form in which the failover knows requests: a message a text, for sizes, costs and errors."""
    return ChatRequest(
        model=request.model,
        messages=[{"role": "user", "content": text} for text in request.texts],
        parameters={"max_tokens": 1},
        extra=request.extra,
    )
