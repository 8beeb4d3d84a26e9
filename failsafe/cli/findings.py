"""What ``failsafe check`` finds: with the settings alone, and by asking each provider."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import NamedTuple

from failsafe.catalog import ModelInfo, catalog
from failsafe.cli.settings import cheapest_model
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken
from failsafe.errors import CallFailed, FailsafeError
from failsafe.policy_config import RetryConfig
from failsafe.providers.diagnosis import suspicion
from failsafe.router import Router

_SOON = 60  # days before the end of a model at which a warning is due
_AT_ONCE = 16


class Finding(NamedTuple):
    """One thing that was looked at; ``level`` is ``ok``, ``warning`` or ``error``."""

    level: str
    subject: str
    text: str


def inspect(config: RouterConfig, today: date) -> Iterator[Finding]:
    """What can be said of *config* without sending anything; models are dead or alive as of *today*."""
    for provider in config.providers:
        if provider.enabled:
            yield from _inspect_keys(provider)
            yield from _inspect_models(provider, today)
        else:
            yield Finding("ok", provider.name, "is switched off (enabled = false), and not looked at")
    for alias in config.aliases:
        yield from _inspect_alias(config, alias, today)
    enabled = [provider.name for provider in config.providers if provider.enabled]
    if len(enabled) == 1:
        yield Finding("warning", enabled[0], "is the only provider: when it fails, nobody is left to ask")


def _inspect_keys(provider: ProviderConfig) -> Iterator[Finding]:
    prefixes = {name: preset.key_prefixes for name, preset in catalog().presets.items()}
    for key in provider.keys:
        problem = suspicion(key, provider=provider.name, vendor=provider.vendor, prefixes=prefixes)
        where = f"key {key.fingerprint}" + (f" from {key.source}" if key.source else " (written in the settings)")
        yield Finding("error" if problem else "ok", provider.name, f"{where}: {problem or 'its shape is plausible'}")
    if not provider.keys:
        yield Finding("ok", provider.name, "is used without a key")


def _inspect_models(provider: ProviderConfig, today: date) -> Iterator[Finding]:
    for model, sent in (provider.models or {}).items() if isinstance(provider.models, Mapping) else ():
        yield from _ending(provider.name, model, provider.model_info(sent), today)


def _inspect_alias(config: RouterConfig, alias: str, today: date) -> Iterator[Finding]:
    routes = config.targets(alias)
    names = [route.provider.name for route in routes]
    if len(names) == 1:
        yield Finding("warning", alias, f"only {names[0]} serves this alias: when it fails, nobody is left to ask")
    else:
        yield Finding("ok", alias, f"is served by {', '.join(names)}, in this order")
    for provider, models in routes:
        for model in models:
            yield from _ending(f"{alias} at {provider.name}", model, provider.model_info(model), today)


def _ending(subject: str, model: str, info: ModelInfo, today: date) -> Iterator[Finding]:
    ends = info.end_of_life
    if ends is None or (ends - today).days > _SOON:
        return
    instead = f"; the vendor names {info.successor} in its place" if info.successor else ""
    if ends <= today:
        yield Finding("error", subject, f"{model} reached its end of life on {ends}{instead}")
    else:
        yield Finding("warning", subject, f"{model} reaches its end of life on {ends}{instead}")


def ask_all(providers: Sequence[ProviderConfig], timeout: float) -> list[Finding]:
    """
    Ask each of *providers* for one short answer, all at once, each within *timeout* seconds.

    An interruption ends the calls under way as well.
    """
    cancel = CancelToken()
    with ThreadPoolExecutor(min(len(providers), _AT_ONCE), thread_name_prefix="failsafe-check") as pool:
        try:
            return list(pool.map(lambda provider: _ask(provider, timeout, cancel), providers))
        except BaseException:
            cancel.cancel()
            raise


def _ask(provider: ProviderConfig, timeout: float, cancel: CancelToken) -> Finding:
    model = cheapest_model(provider)
    if model is None:
        return Finding("warning", provider.name, "was not asked: no model of its is known; list them as models = [...]")
    alone = RouterConfig(providers=[provider], retry=RetryConfig(max_retries=0))
    with Router(alone) as router:
        try:
            reply = router.chat(
                "Reply with: OK", model=f"{provider.name}:{model}", timeout=timeout, cancel=cancel, max_tokens=16
            )
        except CallFailed as error:
            said = error.attempts[-1].message if error.attempts else str(error)
            return Finding("error", provider.name, f"asked for {model}: {said}")
        except FailsafeError as error:
            return Finding("error", provider.name, str(error))
    return Finding("ok", provider.name, f"{reply.model} answered in {reply.latency_ms:.0f} ms")
