"""The models of a router, as the two vendors list theirs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from failsafe.config import ProviderConfig, RouterConfig
from failsafe.provider_rules import preset_of

_OWNER_OF_NAMES = "failsafe"
_LONG_AGO = "1970-01-01T00:00:00Z"
"""When a model appeared that nobody knows the age of; both forms want to be told."""


def owners(config: RouterConfig) -> dict[str, str]:
    """
    Every alias, every name of embedding models and every model that the settings name, each with who is asked first.

    A provider that goes by a pattern serves more than anybody could list; of such a one the usual model is there.
    """
    found = dict.fromkeys((*config.aliases, *config.embeddings), _OWNER_OF_NAMES)
    for provider in config.ordered:
        for model in provider.known_models or _usual_model(provider):
            found.setdefault(model, provider.name)
    return found


def _usual_model(provider: ProviderConfig) -> tuple[str, ...]:
    model = preset_of(provider).default_model
    return () if model is None else (model,)


def owner_of(config: RouterConfig, model: str) -> str | None:
    """Who is asked first for *model*, which need not be listed; None if nobody serves it."""
    routes = config.targets(model) or config.embedding_targets(model)
    if not routes:
        return None
    given = model in config.aliases or model in config.embeddings
    return _OWNER_OF_NAMES if given else routes[0].provider.name


def as_openai(found: Mapping[str, str]) -> dict[str, Any]:
    """The list in OpenAI's form."""
    return {"object": "list", "data": [one_as_openai(model, owner) for model, owner in found.items()]}


def one_as_openai(model: str, owner: str) -> dict[str, Any]:
    """One model in OpenAI's form."""
    return {"id": model, "object": "model", "created": 0, "owned_by": owner}


def as_anthropic(found: Mapping[str, str]) -> dict[str, Any]:
    """The list in Anthropic's form, all on one page."""
    data = [one_as_anthropic(model) for model in found]
    ends = [data[0]["id"], data[-1]["id"]] if data else [None, None]
    return {"data": data, "has_more": False, "first_id": ends[0], "last_id": ends[1]}


def one_as_anthropic(model: str) -> dict[str, Any]:
    """One model in Anthropic's form."""
    return {"type": "model", "id": model, "display_name": model, "created_at": _LONG_AGO}
