"""
Settings: frozen, keyword-only, validated where they are made, and never showing a key.

Every rule that is broken raises :class:`failsafe.ConfigError` with the key, the value and what is
allowed. Times are seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from failsafe import checks, provider_rules
from failsafe.catalog import ModelInfo, Quirks
from failsafe.monitoring_config import AlertConfig, MonitorConfig, ProbeConfig, SpendConfig, StoreConfig
from failsafe.policy_config import (
    AdaptiveConcurrencyConfig,
    AttemptLimitConfig,
    BulkheadConfig,
    CircuitBreakerConfig,
    HedgeConfig,
    RateLimiterConfig,
    RetryBudgetConfig,
    RetryConfig,
    SelectionConfig,
    StreamConfig,
)
from failsafe.pricing import Prices
from failsafe.secret import Secret

_DAY = 86_400.0

_FROM_PRESET: Any = None  # so that the attributes, which are never None once settled, need no None in their types


PROVIDER_POLICIES: Mapping[str, type[Any]] = {
    "breaker": CircuitBreakerConfig,
    "bulkhead": BulkheadConfig,
    "rate_limiter": RateLimiterConfig,
    "adaptive_concurrency": AdaptiveConcurrencyConfig,
    "retry_budget": RetryBudgetConfig,
    "stream": StreamConfig,
    "attempt_limit": AttemptLimitConfig,
    "probe": ProbeConfig,
    "spend": SpendConfig,
}
"""
The settings of a provider that are those of a policy; each, if it is None, is the router's.

But for ``spend``: the router's holds for all providers together, and a provider's for it alone, beside that.
"""

ROUTER_POLICIES: Mapping[str, type[Any]] = {
    **PROVIDER_POLICIES,
    "retry": RetryConfig,
    "hedge": HedgeConfig,
    "selection": SelectionConfig,
    "store": StoreConfig,
    "monitor": MonitorConfig,
    "alerts": AlertConfig,
}
"""The settings of a router that are those of a policy."""

_NEEDED = (
    "retry", "breaker", "rate_limiter", "retry_budget", "selection", "stream", "attempt_limit", "probe", "store",
    "monitor", "alerts",
)  # fmt: skip
"""Those of a router's that are never None."""


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class ProviderConfig:
    """
    One provider: where it is, with which keys, for which models, and its limits.

    A setting that is left out comes from the preset, the entry of that name in ``catalog.toml``;
    reading the attribute afterwards gives the value in force. An attribute typed without None never is
    None. Mappings and lists are copied. Safe to share between threads.

    Attributes:
        name: How it is called in receipts, logs and ``provider:model`` (letters, digits, ``.``, ``_``, ``-``).
        base_url: An absolute http or https address, without the dialect's path (``/chat/completions``).
        api_key: The key, ``"env:NAME"``, ``"keyring:NAME"``, or several of them that take turns.
            None: at the preset's own address the first of its key variables that is set.
            Reading it gives :attr:`keys`.
        keys: The keys, unreadable; empty when there is none.
        preset: The entry of the catalogue to start from; its own name if the catalogue has it.
        dialect: ``openai``, ``anthropic`` or ``gemini``.
        priority: Who is asked first: smaller before larger (0 to 1,000,000). None: its position in the
            router's list, the first being 0.
        weight: Its share where a strategy divides the load (above 0).
        timeout: Seconds for one attempt (above 0, at most a day).
        connect_timeout: Seconds of those for DNS, connecting and TLS (above 0, at most an hour);
            5, or 2 for a local server.
        max_retries: Tries beyond the first on this provider in one call (0 to 100).
        models: The names it is asked for: a list, or a table from each name to the id that is sent.
            None: the preset's list; without a preset, every name.
        headers: Headers of every request, beside the preset's.
        query: Query parameters of every request, beside the preset's. Never a key.
        extra: Fields of every request's body, passed on as they are.
        auth_header: The header that carries the key, and
        auth_prefix: what stands before the key in it.
        allow_http: Let a key travel unencrypted to a host that is not this machine.
        allow_key_host: Hosts (``*.example.com`` for those below it) that may be sent a key whose
            variable the catalogue assigns to another vendor.
        ca_bundle: A file or folder of certificates to trust in place of the usual ones.
        client_cert: A PEM file with certificate and key, or the pair of both files.
        proxy: An http or https proxy for this provider. None: as the environment says.
        pool_size: Idle connections kept for the next calls (1 to 10,000); more threads than that may call at once.
        max_answer_bytes: The largest answer, decompressed (from 1 KiB).
        upstream: The vendors behind an aggregator; they tend to fail together.
        quirks: The server's differences from its dialect. A table changes single ones of the preset's.
        breaker: Settings of its circuit breaker. None: the router's, as for the seven below.
        bulkhead: How many calls may be under way to it at once.
        rate_limiter: How many requests and tokens a minute it is sent.
        adaptive_concurrency: A limit on calls under way that finds its own height; not beside a ``bulkhead``.
        retry_budget: How many extra tries it is put to.
        stream: How long a streamed answer of it may show nothing.
        attempt_limit: When an attempt that shows nothing is given up, by what is usual for it.
        probe: How a monitor finds out whether it works, and what is expected of it.
        spend: How much may be spent on it, beside the router's own caps. None: as much as those allow.
        prices: USD per million tokens by model, as asked for or as sent, or by pattern: ``{"gpt-4.1": {"input": 2.0,
            "output": 8.0}}``, or a list of such tables for different days (:class:`failsafe.pricing.Price`).
            They come before the catalogue's.
        tags: Words of your own that ``only=`` and ``exclude=`` of a call may name.
        failure_domains: What it would fail together with (a region, the vendor behind an aggregator):
            after a failure, a provider that shares none of these comes next where there is one.
        quota_off: Seconds to leave a key alone that has no money left (above 0, at most 30 days).
        enabled: Whether it is asked at all. The keys of a disabled one need not exist.
        models_path: The free list of models below ``base_url``; "" when there is none.

    Raises:
        ConfigError: A setting is wrong. The message begins with ``providers.NAME.SETTING``.
    """

    name: str
    base_url: str = _FROM_PRESET
    api_key: str | Secret | Sequence[str | Secret] | None = None
    preset: str | None = None
    dialect: str = _FROM_PRESET
    priority: int | None = None
    weight: float = 1.0
    timeout: float = 30.0
    connect_timeout: float = _FROM_PRESET
    max_retries: int = 2
    models: Sequence[str] | Mapping[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    auth_header: str = _FROM_PRESET
    auth_prefix: str = _FROM_PRESET
    allow_http: bool = False
    allow_key_host: Sequence[str] = ()
    ca_bundle: str | None = None
    client_cert: str | tuple[str, str] | None = None
    proxy: str | None = None
    pool_size: int = 64
    max_answer_bytes: int = 64 * 1024 * 1024
    upstream: Sequence[str] = _FROM_PRESET
    quirks: Quirks = _FROM_PRESET
    breaker: CircuitBreakerConfig | None = None
    bulkhead: BulkheadConfig | None = None
    rate_limiter: RateLimiterConfig | None = None
    adaptive_concurrency: AdaptiveConcurrencyConfig | None = None
    retry_budget: RetryBudgetConfig | None = None
    stream: StreamConfig | None = None
    attempt_limit: AttemptLimitConfig | None = None
    probe: ProbeConfig | None = None
    spend: SpendConfig | None = None
    prices: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    failure_domains: Sequence[str] = ()
    quota_off: float = 3600.0
    enabled: bool = True
    models_path: str = _FROM_PRESET
    keys: tuple[Secret, ...] = field(init=False)

    def __post_init__(self) -> None:
        provider_rules.settle(self)
        prefix = f"providers.{self.name}."
        _check_policies(self, prefix, PROVIDER_POLICIES)
        for name in ("tags", "failure_domains"):
            object.__setattr__(self, name, checks.texts(f"{prefix}{name}", getattr(self, name)))

    @property
    def vendor(self) -> str:
        """Whose rules it follows, for quirks and errors: the preset's name, or ``"generic"``."""
        return self.preset or "generic"

    @property
    def local(self) -> bool:
        """Whether the preset is a server on the user's own machine."""
        return provider_rules.preset_of(self).local

    @property
    def known_models(self) -> tuple[str, ...]:
        """The names it is known to serve; a provider that serves every name, or goes by a pattern, serves more."""
        return tuple(provider_rules.model_map(self))

    def serves(self, model: str) -> str | None:
        """
        The id to send when *model* is asked for, or None when this provider does not serve it.

        The names in :attr:`models` (or else the preset's) come first, then the preset's patterns.
        Without either, every name is passed on as it is. An embedding model answers no chat, and is not served here.
        """
        return provider_rules.serves(self, model)

    def embeds(self, model: str) -> str | None:
        """
        The id to send when embeddings of *model* are asked for, or None when this provider does not serve it.

        As :meth:`serves`, for embedding models and those of which the catalogue does not know what they are.
        Anthropic's API has no embeddings.
        """
        return provider_rules.embeds(self, model)

    def model_info(self, model: str) -> ModelInfo:
        """What the catalogue knows of the model with the id *model* here; all unknown if nothing."""
        return provider_rules.model_info(self, model)

    def price(self, model: str) -> Prices:
        """What the model with the id *model* costs here; empty where that is not known, which is not nothing."""
        return provider_rules.price(self, model)

    def price_of_answer(self, asked: str, answered: str) -> Prices:
        """
        What an answer costs that the model *answered* says to have given, where *asked* was asked for.

        Your own price for the model that was asked for holds whoever answers. Else another model's answer costs its
        own price, as vendors charge that answer with a successor; where that is not known, that of the one asked for.
        """
        return provider_rules.price_of_answer(self, asked, answered)

    def __repr__(self) -> str:
        if not hasattr(self, "keys"):  # refused; a debugger or a report with local variables may still show it
            return "<ProviderConfig, refused>"
        return f"ProviderConfig({provider_rules.shown(self)})"


_Serves = Callable[[ProviderConfig, str], str | None]
"""The id that a provider is asked for, by :meth:`ProviderConfig.serves` or :meth:`ProviderConfig.embeds`."""


class Route(NamedTuple):
    """A provider that may answer, and the ids to ask it for, best first (several only for an alias)."""

    provider: ProviderConfig
    models: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RouterConfig:
    """
    Everything a router is told. Safe to share between threads; pickles when its keys are references.

    Attributes:
        providers: At least one, with names that differ.
        aliases: Names of your own, each with the models that may answer for it, best first. An entry
            ``provider:model`` means that provider only; entries are never aliases themselves.
        timeout: Seconds for a whole call that names none (above 0, at most a day).
        retry: Rounds over all providers.
        breaker: Settings of the circuit breakers.
        breaker_scope: What a breaker stands before: a ``provider``, or each ``model`` of a provider apart.
        bulkhead: For each provider, how many calls may be under way to it at once.
        rate_limiter: For each provider and model, how many requests and tokens a minute are sent.
        adaptive_concurrency: For each provider, a limit on calls under way that finds its own height.
        retry_budget: For each provider, how many extra tries it is put to.
        stream: For each provider, how long a streamed answer may show nothing.
        attempt_limit: For each provider, when an attempt that shows nothing is given up, by what is usual for it.
        probe: For each provider, how a monitor finds out whether it works, and what is expected of it.
        store: Where what happens is recorded; also a path alone, or ``"off"``.
        monitor: How a :class:`failsafe.HealthMonitor` watches the providers.
        alerts: What it reports, and to whom.
        spend: How much may be spent on all providers together. None: there is no cap.
        price_lookup: Whether the package genai-prices (extra ``prices``) is asked for the price of a model that
            neither your settings nor the catalogue know.
        progress: Ask for plain answers as streams, and put them together: a hang is seen at once, and a
            long answer is not cut by a provider's ``timeout``. One call may say otherwise.
        hedge: Ask a second provider while the first is slow. None: never.
        selection: In which order the providers are asked.
        fallback: The last answer, when nobody answers in time: a text, or in code a function of the
            request (:class:`failsafe.models.ChatRequest`) and the error that returns a text or a
            :class:`failsafe.Reply`. None: the error is raised.
        embeddings: Names of embedding models, each with the models that give the same vectors for the same text,
            as you declare, in the form of ``aliases``. Vectors of different models cannot be compared.
        same_provider_retries: Quick tries on the same provider before the next one (0 to 10), for
            when the next one is a weaker model.
        failover_on_content_filter: Ask the next provider when one's content policy stops an answer.
        max_request_bytes: The largest request body (from 1 KiB).

    Raises:
        ConfigError: A setting is wrong.
    """

    providers: Sequence[ProviderConfig]
    aliases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timeout: float = 60.0
    retry: RetryConfig = field(default_factory=RetryConfig)
    breaker: CircuitBreakerConfig = field(default_factory=CircuitBreakerConfig)
    breaker_scope: str = "provider"
    bulkhead: BulkheadConfig | None = None
    rate_limiter: RateLimiterConfig = field(default_factory=RateLimiterConfig)
    adaptive_concurrency: AdaptiveConcurrencyConfig | None = None
    retry_budget: RetryBudgetConfig = field(default_factory=RetryBudgetConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    attempt_limit: AttemptLimitConfig = field(default_factory=AttemptLimitConfig)
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    monitor: MonitorConfig = field(default_factory=MonitorConfig)
    alerts: AlertConfig = field(default_factory=AlertConfig)
    spend: SpendConfig | None = None
    price_lookup: bool = False
    progress: bool = False
    hedge: HedgeConfig | None = None
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    fallback: str | Callable[..., Any] | None = None
    embeddings: Mapping[str, Sequence[str]] = field(default_factory=dict)
    same_provider_retries: int = 0
    failover_on_content_filter: bool = False
    max_request_bytes: int = 32 * 1024 * 1024

    def __post_init__(self) -> None:
        checks.number("timeout", self.timeout, above=0, most=_DAY)
        if isinstance(self.store, str):
            object.__setattr__(self, "store", StoreConfig.from_word(self.store))
        _check_policies(self, "", ROUTER_POLICIES, needed=_NEEDED)
        checks.flag("price_lookup", self.price_lookup)
        checks.flag("progress", self.progress)
        if not (self.fallback is None or isinstance(self.fallback, str) or callable(self.fallback)):
            checks.refuse("fallback", self.fallback, "a text, or a function of the request and the error, is needed")
        checks.one_of("breaker_scope", self.breaker_scope, ("provider", "model"))
        checks.whole("same_provider_retries", self.same_provider_retries, most=10)
        checks.flag("failover_on_content_filter", self.failover_on_content_filter)
        checks.whole("max_request_bytes", self.max_request_bytes, least=1024)
        object.__setattr__(self, "providers", self._checked_providers())
        object.__setattr__(self, "aliases", self._checked_names("aliases", ProviderConfig.serves))
        object.__setattr__(self, "embeddings", self._checked_names("embeddings", ProviderConfig.embeds))

    @property
    def ordered(self) -> tuple[ProviderConfig, ...]:
        """The enabled providers by priority; those of equal priority in the order in which they were given."""
        ranked = [
            (place if each.priority is None else each.priority, place, each)
            for place, each in enumerate(self.providers)
            if each.enabled
        ]
        return tuple(each for _, _, each in sorted(ranked, key=lambda rank: rank[:2]))

    def targets(self, model: str) -> tuple[Route, ...]:
        """
        Who may answer for the model or alias *model*: the enabled providers that serve it, by priority.

        ``provider:model`` means that provider only, and is passed on even when no list has the model;
        a colon after anything but a configured name belongs to the model (``llama3.2:3b``).
        """
        return self._routes(self.aliases.get(model, (model,)), ProviderConfig.serves)

    def embedding_targets(self, model: str) -> tuple[Route, ...]:
        """As :meth:`targets`, for a name in ``embeddings`` or an embedding model; aliases do not count."""
        return self._routes(self.embeddings.get(model, (model,)), ProviderConfig.embeds)

    def _routes(self, entries: Sequence[str], serves: _Serves) -> tuple[Route, ...]:
        routes = (Route(provider, self._ids(provider, entries, serves)) for provider in self.ordered)
        return tuple(route for route in routes if route.models)

    def _ids(self, provider: ProviderConfig, entries: Sequence[str], serves: _Serves) -> tuple[str, ...]:
        ids = (self._id(provider, entry, serves) for entry in entries)
        return tuple(dict.fromkeys(each for each in ids if each is not None))

    def _id(self, provider: ProviderConfig, entry: str, serves: _Serves) -> str | None:
        bound, _, model = entry.partition(":")
        if model and any(each.name == bound for each in self.providers):
            return (serves(provider, model) or model) if provider.name == bound else None
        return serves(provider, entry)

    def _checked_providers(self) -> tuple[ProviderConfig, ...]:
        if isinstance(self.providers, str | bytes) or not isinstance(self.providers, Sequence) or not self.providers:
            checks.refuse("providers", self.providers, "a list with at least one ProviderConfig is needed")
        for position, each in enumerate(self.providers):
            checks.instance(f"providers[{position}]", each, ProviderConfig)
        names = [each.name for each in self.providers]
        for name in names:
            if names.count(name) > 1:
                checks.refuse("providers", name, "each provider needs a name of its own")
        if not any(each.enabled for each in self.providers):
            checks.refuse("providers", names, "at least one enabled provider is needed")
        return tuple(self.providers)

    def _checked_names(self, key: str, serves: _Serves) -> dict[str, tuple[str, ...]]:
        table = getattr(self, key)
        if not isinstance(table, Mapping):
            checks.refuse(key, table, "a table from each name to a list of models is needed")
        names = {checks.text(f"a name in {key}", name): entries for name, entries in table.items()}
        return {name: self._checked_entries(f"{key}.{name}", entries, serves) for name, entries in names.items()}

    def _checked_entries(self, key: str, value: object, serves: _Serves) -> tuple[str, ...]:
        entries = checks.texts(key, value)
        served = [self._is_served(key, entry, serves) for entry in entries]
        if not any(served):
            checks.refuse(key, list(entries), "a model that one of the providers serves is needed; aliases do not nest")
        return entries

    def _is_served(self, key: str, entry: str, serves: _Serves) -> bool:
        """Whether any provider may answer for *entry*; refuses a misspelt provider in ``provider:model``."""
        if any(self._id(each, entry, serves) is not None for each in self.providers):
            return True
        bound, separator, _ = entry.partition(":")
        hint = checks.suggestion(bound, [each.name for each in self.providers]) if separator else ""
        if hint:
            checks.refuse(key, entry, f"no provider is called {bound!r}{hint}")
        return False


def _check_policies(
    config: ProviderConfig | RouterConfig, prefix: str, policies: Mapping[str, type[Any]], needed: Sequence[str] = ()
) -> None:
    for name, kind in policies.items():
        value = getattr(config, name)
        if value is not None or name in needed:
            checks.instance(f"{prefix}{name}", value, kind)
    if config.bulkhead is not None and config.adaptive_concurrency is not None:
        checks.refuse(f"{prefix}adaptive_concurrency", "given", "a bulkhead or an adaptive limit, not both, is needed")
