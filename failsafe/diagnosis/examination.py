"""Looks at everything, and says what is wrong: settings, machine, store, and every provider at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path

import msgspec

from failsafe import __version__, checks
from failsafe.addresses import is_loopback
from failsafe.catalog import catalog
from failsafe.clock import SYSTEM_CLOCK, Clock
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.deadline import CancelToken
from failsafe.diagnosis import (
    answers,
    certificates,
    keys,
    machine,
    machine_look,
    models,
    network,
    settings,
    settings_look,
    store,
)
from failsafe.diagnosis.facts import ProviderFacts
from failsafe.diagnosis.finding import Finding, Level, good, ranked
from failsafe.diagnosis.machine import MachineFacts
from failsafe.diagnosis.provider_look import ProviderLook
from failsafe.diagnosis.settings_look import SettingsFacts
from failsafe.diagnosis.store import StoreFacts
from failsafe.errors import ConfigError
from failsafe.monitoring_config import StoreConfig

_AT_ONCE = 16

TIMEOUT = 10.0
"""Seconds for each step, unless others are asked for."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """
    What is to be looked at.

    Attributes:
        path: The settings file, if one was named.
        providers: The names of the providers to look at; all of them if empty. Beside those of the settings, any of
            the catalogue.
        offline: Whether nobody is asked anything.
        completion: Whether each provider is asked for a short answer, which costs a few tokens.
        timeout: Seconds for each step.
    """

    path: Path | None = None
    providers: tuple[str, ...] = ()
    offline: bool = False
    completion: bool = False
    timeout: float = TIMEOUT


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was found.

    Attributes:
        version: Of failsafe.
        at: When, seconds since 1970-01-01 UTC.
        origin: Where the settings come from: a path, ``the environment``, or "".
        findings: What was found, the most important first; masked.
        providers: What was seen of each provider.
        machine: What this machine is like.
        store: What the store holds.
        unreadable: Whether there are settings that cannot be used.
    """

    version: str
    at: float
    origin: str
    findings: tuple[Finding, ...]
    providers: tuple[ProviderFacts, ...]
    machine: MachineFacts
    store: StoreFacts
    unreadable: bool

    @property
    def exit_code(self) -> int:
        """0: nothing is wrong, 1: something is, 2: the settings cannot be used. Warnings are not wrong yet."""
        if self.unreadable:
            return 2
        return int(any(finding.level is Level.ERROR for finding in self.findings))


def examine(
    wanted: Wanted,
    *,
    environ: Mapping[str, str] | None = None,
    clock: Clock = SYSTEM_CLOCK,
    began: Callable[[Sequence[str]], object] | None = None,
) -> Report:
    """
    Look at everything that is *wanted*.

    Args:
        wanted: What to look at.
        environ: The variables; None: this process's own.
        clock: The source of time.
        began: Called with the names of the providers before they are asked.

    Raises:
        ConfigError: A name that is wanted is neither configured nor in the catalogue.
    """
    environ = os.environ if environ is None else environ
    found = settings_look.look(wanted.path, environ)
    facts = _chosen(found, wanted.providers, environ)
    cancel = CancelToken()
    looked = machine_look.look(environ, connect=not wanted.offline, cancel=cancel, clock=clock)
    recorded = _store(found, environ, clock)
    if not wanted.offline and facts:
        if began is not None:
            began([each.name for each in facts])
        look = ProviderLook(wanted.timeout, completion=wanted.completion, environ=environ, cancel=cancel, clock=clock)
        facts = _all_at_once(look, facts, cancel)
    now = clock.time()
    secrets = [key for each in facts for key in each.config.keys]
    findings = [
        *_of_settings(found, wanted, facts, now),
        *settings.variables(environ, _sources(found)),
        *machine.judge(looked, tuple(each.config for each in facts), uses=_extras(found, environ)),
        *store.judge(recorded),
        *_of_providers(facts, recorded, now, environ, found.config),
    ]
    return Report(
        version=__version__,
        at=now,
        origin=found.origin,
        findings=tuple(finding.cleaned(secrets) for finding in ranked(_without_echoes(findings, facts))),
        providers=facts,
        machine=looked,
        store=recorded,
        unreadable=found.unreadable,
    )


def _chosen(found: SettingsFacts, names: Sequence[str], environ: Mapping[str, str]) -> tuple[ProviderFacts, ...]:
    configured = {provider.name: provider for provider in found.providers}
    of_environment = found.origin == "the environment"
    chosen = []
    for name in names or configured:
        if name in configured:
            variable = settings_look.address_from(configured[name], environ) if of_environment else ""
            chosen.append(ProviderFacts(config=configured[name], address_from=variable))
        elif any(finding.subject == name for finding in found.findings):
            continue  # its settings are what is wrong
        else:
            chosen.append(ProviderFacts(config=_unconfigured(name, configured), configured=False))
    return tuple(chosen)


def _unconfigured(name: str, configured: Iterable[str]) -> ProviderConfig:
    """Settings to look at the way to a provider of the catalogue with; it is sent nothing, as there is no key."""
    known = catalog().presets
    if name in known and "{" in known[name].base_url:
        variables = f"{known[name].base_url_env} and {' or '.join(known[name].key_env)}"
        raise ConfigError(f"{name} has an address of your own: export {variables}, or write it into the settings")
    if name not in known:
        hint = checks.suggestion(name, [*configured, *known])
        raise ConfigError(f"no provider is called {name!r}{hint}; configured are {', '.join(configured) or 'none'}")
    return ProviderConfig(name=name, enabled=False)


def _store(found: SettingsFacts, environ: Mapping[str, str], clock: Clock) -> StoreFacts:
    from failsafe.diagnosis import store_look

    config = found.config.store if found.config is not None else StoreConfig()
    return store_look.look(config, environ, clock)


def _all_at_once(
    look: ProviderLook, facts: tuple[ProviderFacts, ...], cancel: CancelToken
) -> tuple[ProviderFacts, ...]:
    """An interruption ends what is under way as well."""
    with ThreadPoolExecutor(min(len(facts), _AT_ONCE), thread_name_prefix="failsafe-doctor") as pool:
        try:
            return tuple(pool.map(look, facts))
        except BaseException:
            cancel.cancel()
            raise


def _sources(found: SettingsFacts) -> frozenset[str]:
    """The variables that keys in use come from."""
    sources = (key.source or "" for provider in found.providers for key in provider.keys)
    return frozenset(source.removeprefix("env:") for source in sources if source.startswith("env:"))


def _extras(found: SettingsFacts, environ: Mapping[str, str]) -> frozenset[str]:
    """The extras that the settings need."""
    uses = {"serve"} if environ.get("FAILSAFE_SERVE_TOKEN") else set()
    if any((key.source or "").startswith("keyring:") for provider in found.providers for key in provider.keys):
        uses.add("keyring")
    return frozenset(uses)


def _of_settings(found: SettingsFacts, wanted: Wanted, facts: Sequence[ProviderFacts], now: float) -> Iterator[Finding]:
    today = _day(now)
    chosen = {each.name for each in facts}
    if not (wanted.providers and any(not each.configured for each in facts)):
        yield from found.findings
    if found.config is not None and not wanted.providers:
        yield from settings.inspect(found.config, today)
        return
    for provider in found.providers:
        if provider.name in chosen:
            yield from keys.inspect(provider)
            yield from models.inspect(provider, today)


def _of_providers(
    facts: tuple[ProviderFacts, ...],
    recorded: StoreFacts,
    now: float,
    environ: Mapping[str, str],
    config: RouterConfig | None,
) -> Iterator[Finding]:
    explained: frozenset[str] = frozenset()
    for together, codes in (
        (network.judge_together(facts), network.EXPLAINED_BY_NO_NETWORK),
        (certificates.judge_together(facts, now), certificates.EXPLAINED_BY_THE_CLOCK),
    ):
        if together is not None:
            explained |= codes
            yield together
    for each in facts:
        yield from (finding for finding in _of_provider(each, now, config) if finding.code not in explained)
        yield from store.of_provider(recorded, each.name, each.config.base_url, now)
        yield from answers.several_variables(each, environ)
    yield from answers.clock(facts)


def _of_provider(facts: ProviderFacts, now: float, config: RouterConfig | None) -> list[Finding]:
    findings = list(network.judge(facts, now))
    if not any(finding.level is Level.ERROR for finding in findings):
        findings += answers.judge_all(facts)
    used = _models_in_use(facts, config)
    told = tuple(finding.found for finding in findings)
    compared = models.compare(facts, used, _day(now))
    findings += [each for each in compared if not any(found.startswith(each.found) for found in told)]
    well = _well(facts)
    if well is not None and not any(finding.level is Level.ERROR for finding in findings):
        findings.append(well)
    return findings


def _day(now: float) -> date:
    return datetime.fromtimestamp(now, UTC).date()


def _models_in_use(facts: ProviderFacts, config: RouterConfig | None) -> tuple[str, ...]:
    """The ids of models that the settings name for a provider: in its list, and in aliases."""
    own = facts.config.models
    names = list(own.values()) if isinstance(own, Mapping) else []
    for alias in config.aliases if config is not None else ():
        for route in config.targets(alias) if config is not None else ():
            if route.provider.name == facts.name:
                names += route.models
    return tuple(dict.fromkeys(names))


def _well(facts: ProviderFacts) -> Finding | None:
    """What is right, in a line; None if nothing was seen to be."""
    steps = f" ({_steps(facts)})" if _steps(facts) else ""
    if not facts.configured:
        key = f"its key goes into {facts.preset.key_env[0]}" if facts.preset.key_env else "it needs no key"
        reached = f"can be reached{steps}, and" if facts.connections else "is known, and"
        return good("reachable", facts.name, f"{reached} is not configured: {key}")
    said = []
    if facts.completion is not None and facts.completion.failure is None:
        said.append(f"{facts.completion.model} answered in {_ms(facts.completion.seconds)}")
    answered = [each for each in facts.exchanges if each.failure is None]
    if answered:
        listed = f", {len(facts.models)} models" if facts.models else ""
        said.append(f"{answered[0].asked} answered in {_ms(answered[0].seconds)}{listed}")
    if not said and (facts.exchanges or not facts.connections):
        return None
    return good("answers", facts.name, f"{'; '.join(said) or 'can be reached'}{steps}")


def _steps(facts: ProviderFacts) -> str:
    steps: list[str] = []
    if is_loopback(facts.address.host):
        return ""
    if facts.lookup is not None:
        steps.append(f"DNS {_ms(facts.lookup.seconds)}")
    working = [each.seconds for each in facts.connections if not each.problem]
    if working:
        steps.append(f"connecting {_ms(min(working))}")
    if facts.handshake is not None and working:
        steps.append(f"{facts.handshake.version} {_ms(max(0.0, facts.handshake.seconds - min(working)))}")
    if facts.route.proxy is not None:
        steps.append(f"through {network.proxy_in_words(facts)}")
    elif facts.route.bypass:
        steps.append(f"past the proxy in {facts.route.setting}, as {facts.route.bypass} says")
    return ", ".join(steps)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"


def _without_echoes(findings: Iterable[Finding], facts: Sequence[ProviderFacts]) -> Iterator[Finding]:
    """Leave out what the provider itself has settled: a doubt about a key that was tried."""
    tried = {each.name for each in facts if any(one.status is not None for one in each.exchanges)}
    rejected = {each.name for each in facts if any(one.failure is not None for one in each.exchanges)}
    for finding in findings:
        if finding.code == "key-shape" and finding.subject in tried:
            if finding.subject in rejected and len(_keys(facts, finding.subject)) > 1:
                yield finding  # of several keys it may be another one that was rejected
            continue
        if finding.code == "key-plausible" and finding.subject in tried:
            continue
        yield finding


def _keys(facts: Sequence[ProviderFacts], name: str) -> tuple[object, ...]:
    return next((each.config.keys for each in facts if each.name == name), ())
