"""
What failsafe knows about providers and models: the typed view of ``catalog.toml``.

Hosts, key variables, model names, end-of-life dates and the small differences between
servers that speak the same dialect are data, so that a new model or server needs no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from functools import cache

import msgspec

from failsafe.pricing import Prices


class Quirks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    How a server differs from the reference form of its dialect.

    Attributes:
        max_tokens_field: The body's field for ``max_tokens``.
        seed_field: The body's field for ``seed``.
        temperature_max: Above it, ``temperature`` is clamped.
        stop_max: How many stop texts it takes.
        drops: Parameters it refuses or ignores; they are left out and listed as an adjustment.
        tool_choice_required: Its word for ``tool_choice="required"``.
        tool_call_id: The regular expression that its tool-call ids must match in full, or None.
        json_object: Whether it has a JSON mode.
        json_schema: Whether it holds answers to a JSON schema.
        tools: Whether it takes tools.
        images: Which images it takes: a subset of ``{"url", "data"}``.
        assistant_between_tool_and_user: Whether a tool result must not be followed by a user
            message directly.
        returns_reasoning: Whether ``reasoning_content`` of its own earlier turns must be sent back.
        stream_options: Whether it takes ``stream_options``; without it the server sends usage by itself, or none.
        cache_control: Whether it lets marks of the prompt cache stand on messages, parts and tools.
        dimensions_field: The body's field for the length of embeddings.
    """

    max_tokens_field: str = "max_tokens"
    seed_field: str = "seed"
    temperature_max: float = 2.0
    stop_max: int = 4
    drops: tuple[str, ...] = ()
    tool_choice_required: str = "required"
    tool_call_id: str | None = None
    json_object: bool = True
    json_schema: bool = True
    tools: bool = True
    images: tuple[str, ...] = ("url", "data")
    assistant_between_tool_and_user: bool = False
    returns_reasoning: bool = False
    stream_options: bool = True
    cache_control: bool = True
    dimensions_field: str = "dimensions"


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What is known of one model; None where it is not known.

    Attributes:
        context_window: Prompt and answer together, in tokens.
        max_output_tokens: The longest answer, in tokens.
        refuses: Parameters that this model answers with an error; they are left out.
        max_tokens_field: Overrides the server's field for ``max_tokens``.
        images: Whether it reads images.
        tools: Whether it calls tools.
        json_schema: Whether it holds answers to a JSON schema.
        thinking: For Anthropic: ``"budget"`` or ``"adaptive"``; for Gemini ``"budget"`` or ``"level"``.
        embeds: Whether it is an embedding model, which answers no chat; None: not known, so that it may be either.
        dimensions: The most numbers that an embedding of it has, and the only length where it refuses ``dimensions``.
        end_of_life: The day from which the vendor no longer answers with it.
        successor: What the vendor names in its place.
    """

    context_window: int | None = None
    max_output_tokens: int | None = None
    refuses: tuple[str, ...] = ()
    max_tokens_field: str | None = None
    images: bool | None = None
    tools: bool | None = None
    json_schema: bool | None = None
    thinking: str | None = None
    embeds: bool | None = None
    dimensions: int | None = None
    end_of_life: date | None = None
    successor: str | None = None


class Claims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    What a provider says about itself, beside its prices; nobody has checked it. None and "" where it says nothing.

    Attributes:
        sla: Per cent of the time that it promises to be up.
        latency_ms: Milliseconds that it says to add at most.
        payment: How it can be paid.
        free_credit: When it gives some for nothing.
        source: Where that was read.
        as_of: When.
    """

    sla: float | None = None
    latency_ms: float | None = None
    payment: tuple[str, ...] = ()
    free_credit: str = ""
    source: str
    as_of: date


class Preset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Everything needed to talk to one known provider but the key.

    Attributes:
        title: Its name for people.
        base_url: Where it listens; may hold ``{resource}`` for the caller to fill in.
        dialect: ``openai``, ``anthropic`` or ``gemini``.
        key_env: Environment variables that may hold its key, the first one set wins.
        bearer_env: Variables that may hold a token sent as ``Authorization: Bearer`` in place of a key;
            ``Router.from_env`` looks at them when no key variable is set.
        other_key_env: Variables that hold another secret of the same vendor. They are never read on
            their own account; who names one is held to ``hosts`` as well.
        base_url_env: The environment variable that may name another address, or None.
        header_env: Headers, each with the environment variable that ``Router.from_env`` fills it from.
        hosts: Hosts its key may travel to; a leading ``*.`` stands for any subdomain.
        key_prefixes: How its keys begin; used to explain a rejected key, never to refuse one.
        auth_header: The header that carries the key, and
        auth_prefix: what stands before the key in it.
        headers: Headers of every request.
        query: Query parameters of every request.
        needs_key: Whether it refuses requests without a key.
        local: Whether it runs on the user's machine.
        models: The names it is asked for, each with the id it knows the model by.
        accepts: Patterns (``gpt-*``) of further names that are passed on as they are.
        embeds: Patterns of the names of embedding models that are passed on as they are.
        default_model: The cheapest model to try a key with.
        models_path: The free list of models, below ``base_url``; "" when there is none.
        upstream: The vendors behind an aggregator.
        quirks: Its differences from the dialect's reference.
        prices: What models cost here, by id, where that is not the vendor's own price.
        claims: What it says about itself, or None.
        status_page: Where the vendor says whether it has an incident, and
        keys_page: where its keys are made, and
        billing_page: where its account is topped up; None where that is not known.
    """

    title: str
    base_url: str
    dialect: str
    key_env: tuple[str, ...] = ()
    bearer_env: tuple[str, ...] = ()
    other_key_env: tuple[str, ...] = ()
    base_url_env: str | None = None
    header_env: Mapping[str, str] = {}
    hosts: tuple[str, ...] = ()
    key_prefixes: tuple[str, ...] = ()
    auth_header: str = "Authorization"
    auth_prefix: str = "Bearer "
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    needs_key: bool = True
    local: bool = False
    models: Mapping[str, str] = {}
    accepts: tuple[str, ...] = ()
    embeds: tuple[str, ...] = ()
    default_model: str | None = None
    models_path: str = "/models"
    upstream: tuple[str, ...] = ()
    quirks: Quirks = Quirks()
    prices: Mapping[str, Prices] = {}
    claims: Claims | None = None
    status_page: str | None = None
    keys_page: str | None = None
    billing_page: str | None = None


class Catalog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The whole of ``catalog.toml``.

    Attributes:
        presets: Known providers by name, in the order in which ``Router.from_env`` prefers them.
        prices: The vendors' prices by model id; dated versions cost the same.
        models: Known models by id; a key may be a pattern (``claude-opus-4-*``), the longest match wins.
    """

    presets: dict[str, Preset]
    models: dict[str, ModelInfo]
    prices: dict[str, Prices] = {}

    def model(self, name: str) -> ModelInfo:
        """What is known of the model *name* (``models/`` and ``vendor/`` prefixes ignored); all unknown if nothing."""
        bare = name.rpartition("/")[2]
        exact = self.models.get(name) or self.models.get(bare)
        if exact is not None:
            return exact
        patterns = [pattern for pattern in self.models if fnmatchcase(bare, pattern)]
        return self.models[max(patterns, key=len)] if patterns else ModelInfo()


@cache
def catalog() -> Catalog:
    """The shipped catalogue, read once a process."""
    from importlib.resources import files  # slow to import, and the catalogue is not read by every program

    return msgspec.toml.decode(files("failsafe").joinpath("catalog.toml").read_bytes(), type=Catalog)
