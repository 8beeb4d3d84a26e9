"""Which dialects have embeddings, and how each asks for them and reads them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from failsafe.embeddings import Embeddings, EmbedRequest
from failsafe.models import Failure
from failsafe.providers import gemini_embeddings, openai_embeddings
from failsafe.providers.base import BuiltRequest, CannotExpress, Target


@dataclass(slots=True)
class Embedder:
    """
    One dialect's two functions for embeddings; both pure and thread-safe. Never changed.

    Attributes:
        name: The dialect.
        build: The request for a target. Raises :class:`failsafe.providers.base.CannotExpress`.
        read: The embeddings in a decoded 2xx body of a target, in the order of the texts, of finite numbers and one
            length; or why it holds none. Never raises. Whether they are what was asked for says
            :meth:`failsafe.embeddings.EmbedRequest.problem_of`.
    """

    name: str
    build: Callable[[EmbedRequest, Target], BuiltRequest]
    read: Callable[[Any, Target], Embeddings | Failure]


_EMBEDDERS = {
    "openai": Embedder("openai", openai_embeddings.build, openai_embeddings.read),
    "gemini": Embedder("gemini", gemini_embeddings.build, gemini_embeddings.read),
}


def embedder_for(dialect: str) -> Embedder:
    """
    How embeddings are asked for in *dialect* (``openai``, ``gemini``).

    Raises:
        CannotExpress: The dialect has none: Anthropic's.
    """
    embedder = _EMBEDDERS.get(dialect)
    if embedder is None:
        raise CannotExpress(f"the API of the dialect {dialect} has no embeddings")
    return embedder
