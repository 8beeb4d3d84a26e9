"""Why a key was rejected, or never arrived. Pure functions: facts in, findings out; no part of a key is said."""

from __future__ import annotations

import re
from collections.abc import Iterator

from failsafe.addresses import host_matches, is_loopback
from failsafe.catalog import catalog
from failsafe.config import ProviderConfig
from failsafe.diagnosis import certificates, network
from failsafe.diagnosis.facts import Exchanged, ProviderFacts, how_to_set, key_in_words
from failsafe.diagnosis.finding import Finding, error, good
from failsafe.models import Failure
from failsafe.provider_rules import owners_of, preset_of
from failsafe.providers.diagnosis import suspicion
from failsafe.secret import Secret

_NO_KEY_CAME = re.compile(
    r"(?:no|missing|without) (?:an? )?(?:api[ -]?key|auth\w*|bearer|credentials|token)|"
    r"(?:n't|not) provide (?:an? )?(?:api key|auth\w*|credentials|token)|"
    r"no (?:cookie )?auth\w* (?:credentials|header)|header is (?:required|missing)|"
    r"unregistered callers|api[- ]key (?:is )?(?:required|missing)|not authenticated",
    re.IGNORECASE,
)
"""How the vendors say that a request came without a key."""


def inspect(provider: ProviderConfig) -> Iterator[Finding]:
    """What can be said of the keys of *provider* before they are tried."""
    prefixes = {name: preset.key_prefixes for name, preset in catalog().presets.items()}
    for key in provider.keys:
        problem = suspicion(key, provider=provider.name, vendor=provider.vendor, prefixes=prefixes)
        where = f"key {key.fingerprint}" + (f" from {key.source}" if key.source else " (written in the settings)")
        if problem is None:
            yield good("key-plausible", provider.name, f"{where}: its shape is plausible")
        else:
            yield error(
                "key-shape", provider.name, f"{where}: {problem}",
                "the provider will answer 401", *_new_key(provider, key),
            )  # fmt: skip
    if not provider.keys:
        yield good("no-key-used", provider.name, "is used without a key")


def _new_key(provider: ProviderConfig, key: Secret | None) -> tuple[str, ...]:
    preset = preset_of(provider)
    made = (f"make a new one, or copy it again whole: {preset.keys_page}",) if preset.keys_page else ()
    return *made, how_to_set(key, preset)


def rejected(facts: ProviderFacts, exchanged: Exchanged, failure: Failure) -> Finding:
    """Explain that the provider took no key."""
    said = exchanged.said.message if exchanged.said else ""
    if exchanged.key is None:
        return _not_sent(facts)
    # OpenRouter says so of a key that it does not know, too.
    if _NO_KEY_CAME.search(said) and (facts.route.proxy is not None or facts.config.vendor != "openrouter"):
        return _stripped(facts, exchanged, said)
    reason = _reason(failure.diagnosis)
    elsewhere = _at_another_host(facts, exchanged.key) if reason.startswith(_UNCLEAR) else ""
    what = f"HTTP {exchanged.status}: {said}".rstrip(". :")
    return error(
        "key-rejected", facts.name, f"rejects {key_in_words(exchanged.key)}: {what}",
        elsewhere or reason,
        *((_back(facts),) if elsewhere else ()), *_new_key(facts.config, exchanged.key), *_other_causes(facts),
    )  # fmt: skip


_UNCLEAR = (
    "it begins as keys",
    "it does not begin as keys",
    "nothing is visibly wrong",
    "the answer is not in the form",
)
"""How reasons begin that leave it open what is wrong."""


def _reason(diagnosis: str) -> str:
    """What the rejection means, without what the finding says anyway."""
    found = diagnosis.partition("rejected the key: ")[2] or diagnosis.partition("rejected the key, though ")[2]
    return found or diagnosis


def _other_causes(facts: ProviderFacts) -> tuple[str, ...]:
    causes = []
    if facts.address_from:
        causes.append(f"or it belongs elsewhere: {facts.address_from} leads to {facts.config.base_url}")
    reads_along = facts.handshake is not None and certificates.intercepts(facts.handshake.certificate)
    if facts.route.proxy is not None and (facts.address.scheme == "http" or reads_along):
        causes.append(f"or {network.proxy_in_words(facts)} puts another key in its place: ask whoever runs it")
    return tuple(causes)


def _back(facts: ProviderFacts) -> str:
    if facts.address_from:
        return f"$ unset {facts.address_from}"
    return f"take base_url out of [providers.{facts.name}], or give it the key of {facts.address.host}"


def _at_another_host(facts: ProviderFacts, key: Secret) -> str:
    """Whose key it is, where it went to somebody else."""
    host = facts.address.host
    owners = owners_of(key) or tuple(
        preset
        for preset in catalog().presets.values()
        if any(len(start) > len("sk-") and key.reveal().startswith(start) for start in preset.key_prefixes)
    )
    if not owners or any(host_matches(host, owner.hosts) for owner in owners):
        return ""
    here = ", which is on this machine (a gateway has a token of its own)" if is_loopback(host) else ""
    return f"it is a key of {owners[0].title}, and went to {host}{here}"


def _not_sent(facts: ProviderFacts) -> Finding:
    return error(
        "no-key", facts.name, "asks for a key, and none is set",
        f"failsafe looks for it in {' or '.join(facts.preset.key_env) or 'api_key of the settings'}",
        *_new_key(facts.config, None),
    )  # fmt: skip


def _stripped(facts: ProviderFacts, exchanged: Exchanged, said: str) -> Finding:
    header = facts.config.auth_header
    usual = facts.preset.auth_header
    which = key_in_words(exchanged.key) if exchanged.key else "one"
    what = f"says that no key came, though {which} was sent in {header}: HTTP {exchanged.status}: {said}"
    steps: tuple[str, ...]
    if facts.preset.base_url and header.lower() != usual.lower():
        why, steps = f"{facts.title} reads {usual}", (f"take auth_header out of [providers.{facts.name}]",)
    elif facts.route.proxy is not None:
        why = f"{network.proxy_in_words(facts)} lies between and takes the header {header} out, or puts its own there"
        steps = (
            f"have the proxy pass {header} on for {facts.address.host}",
            f"if it can be reached without one: $ export NO_PROXY={facts.address.host}",
        )
    else:
        why = f"a gateway or proxy between takes the header {header} out, or the server reads another one"
        steps = (
            f"check what answers at {facts.config.base_url}",
            f"if it reads another header: auth_header in [providers.{facts.name}]",
        )
    return error("key-not-sent", facts.name, what.rstrip(". "), why, *steps)
