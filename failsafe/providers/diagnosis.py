"""
What is probably wrong with a key that a provider rejected, in words.

Shapes of keys are hints: vendors change them, so they explain a rejection and never cause one.
Nothing here says any part of a key. Shapes and texts: the vendors' own documentation, as of
November 2026.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from failsafe import key_shape
from failsafe.providers.error_body import ErrorBody
from failsafe.secret import Secret

_NOT_FOR_INFERENCE = {
    "sk-admin-": "it is an OpenAI admin key, which manages an organisation and cannot run models; use a project key",
    "sk-ant-admin": "it is an Anthropic admin key, which manages an organisation and cannot run models; use an API key",
    "sk-ant-oat": "it is an OAuth token of a Claude subscription, which the API does not take; create an API key",
}

_SHARED = "sk-"
"""The beginning that several vendors' keys have in common."""

_OUTDATED = {"gemini": ("AIza", "it is of the old kind, which Google no longer accepts; create a new one in AI Studio")}

_SAID = (
    (r"leaked", "the provider blocked it because it was published somewhere; create a new one"),
    (r"expired", "it has expired; create a new one"),
    (r"revoked|deleted|deactivated|disabled|suspended|blocked", "the provider has revoked it; see its console"),
    (r"member of an? organi[sz]ation", "its owner is not in the organisation; check the organisation's id"),
    (r"allow ?list|ip address", "this machine's address is not on the allow list of its project"),
    (r"wrong api endpoint|regional api endpoint", "it belongs to another resource or region; check base_url"),
    (r"multiple authentication", "it was sent beside another one; remove the authentication from headers"),
    (r"access_token_type_unsupported|oauth", "it was taken for an OAuth token; check the dialect and base_url"),
    (r"only authorized for use with", "it is bound to another product of the provider; create an API key"),
)
"""What a provider's message means for the key, the first that it holds."""


def diagnose_key(
    secret: Secret | None,
    *,
    provider: str,
    vendor: str,
    prefixes: Mapping[str, Collection[str]],
    status: int | None,
    body: ErrorBody,
) -> str:
    """
    Return one sentence on what is probably wrong with a rejected key, without any part of it.

    Args:
        secret: The key that was sent, or None if none was or it is not known which.
        provider: The provider's configured name.
        vendor: Whose rules it follows, a key of *prefixes*.
        prefixes: How each vendor's keys begin.
        status: The answer's status.
        body: The answer's body.
    """
    text = secret.reveal() if secret is not None else None
    visible = key_shape.problem(text) if text is not None else None
    if visible:
        return f"the key {visible}"
    found = (
        _of_another_kind(text or "", provider, vendor, prefixes)
        or _said_by_provider(f"{body.message} {' '.join(body.words)}")
        or _of_unclear_kind(text or "", vendor, prefixes)
    )
    if found:
        return f"{provider} rejected the key: {found}"
    if body.kind != "json" and status == 401:
        return f"the answer is not in the form of {provider}'s API; check that base_url leads there and not to a proxy"
    return (
        f"{provider} rejected the key, though nothing is visibly wrong with it: it may be mistyped, revoked, or of "
        "another account or host; check it and base_url"
    )


def suspicion(secret: Secret, *, provider: str, vendor: str, prefixes: Mapping[str, Collection[str]]) -> str | None:
    """What is certainly wrong with a key that was not tried yet, or None; arguments as for :func:`diagnose_key`."""
    visible = key_shape.problem(secret.reveal())
    return f"it {visible}" if visible else _of_another_kind(secret.reveal(), provider, vendor, prefixes)


def _said_by_provider(said: str) -> str | None:
    return next((meaning for pattern, meaning in _SAID if re.search(pattern, said, re.IGNORECASE)), None)


def _of_another_kind(text: str, provider: str, vendor: str, prefixes: Mapping[str, Collection[str]]) -> str | None:
    """What is certain from the key's beginning."""
    for start, meaning in _NOT_FOR_INFERENCE.items():
        if text.startswith(start):
            return meaning
    start, meaning = _OUTDATED.get(vendor, ("", ""))
    if start and text.startswith(start):
        return meaning
    start, owners = _owners(text, prefixes)
    if owners and vendor not in owners and start != _SHARED:
        return f"it looks like a key of {' or '.join(owners)}, and is set for {provider}"
    return None


def _of_unclear_kind(text: str, vendor: str, prefixes: Mapping[str, Collection[str]]) -> str | None:
    """What the key's beginning leaves open."""
    start, owners = _owners(text, prefixes)
    if start == _SHARED:
        return f"it begins as keys of several providers do ({', '.join(owners)} and others), so it may be another one's"
    if text and not owners and list(prefixes.get(vendor, ())):
        return f"it does not begin as keys of {vendor} do; it may be another provider's, or cut short"
    return None


def _owners(text: str, prefixes: Mapping[str, Collection[str]]) -> tuple[str, tuple[str, ...]]:
    """The longest known beginning of *text*, and the vendors whose keys begin so; ``("", ())`` when none fits."""
    fitting = [start for starts in prefixes.values() for start in starts if start and text.startswith(start)]
    longest = max(fitting, key=len, default="")
    return longest, tuple(vendor for vendor, starts in prefixes.items() if longest and longest in starts)
