"""What is known of a provider, this machine and the store, as values; what it means is said elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from failsafe.addresses import Address, parse
from failsafe.catalog import Preset
from failsafe.config import ProviderConfig
from failsafe.models import Failure
from failsafe.provider_rules import preset_of
from failsafe.providers.error_body import ErrorBody
from failsafe.secret import Secret
from failsafe.transport.inspection import Connected, Handshake, Lookup
from failsafe.transport.proxies import Route

STRAIGHT = Route(None)


class Exchanged(msgspec.Struct, frozen=True, kw_only=True):
    """
    One request and what came back.

    Attributes:
        asked: What was asked for, for a person: ``GET /models``, ``a short answer of gpt-6-luna``.
        key: The key that was sent, if one was.
        model: The model that was asked for, if one was.
        status: The HTTP status, where there was an answer.
        headers: The answer's headers, by their names in lower case.
        said: The body of an answer that is no success.
        failure: What went wrong, classified; None for a good answer.
        seconds: How long it took.
        at: When the answer came, by this machine's clock; seconds since 1970-01-01 UTC.
    """

    asked: str
    key: Secret | None = None
    model: str = ""
    status: int | None = None
    headers: Mapping[str, str] = {}
    said: ErrorBody | None = None
    failure: Failure | None = None
    seconds: float = 0.0
    at: float = 0.0


class ProviderFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    What was seen of one provider.

    Attributes:
        config: Its settings.
        address_from: The variable that its address came from, or "".
        configured: Whether they are the user's, or only made up to look at the way there.
        route: Through which proxy it is reached, and what says so.
        route_problem: Why the way there cannot be taken as set: a proxy or CA bundle that cannot be used.
        lookup: Of the server's name, or of the proxy's where there is one.
        connections: To one address of each kind.
        handshake: With the server, where it is reached straight and over TLS.
        exchanges: The list of models (or what stands for it), once for each key.
        models: The models it says it has; empty where it did not say.
        all_models: Whether those are all.
        retiring: Models that it says it will shut down, each with the day.
        better_url: A base URL at which it did answer as its API does, where the one in the settings did not.
        completion: A short answer that was asked for.
    """

    config: ProviderConfig
    address_from: str = ""
    configured: bool = True
    route: Route = STRAIGHT
    route_problem: str = ""
    lookup: Lookup | None = None
    connections: tuple[Connected, ...] = ()
    handshake: Handshake | None = None
    exchanges: tuple[Exchanged, ...] = ()
    models: tuple[str, ...] = ()
    all_models: bool = False
    retiring: Mapping[str, str] = {}
    better_url: str | None = None
    completion: Exchanged | None = None

    @property
    def name(self) -> str:
        """The provider's configured name."""
        return self.config.name

    @property
    def preset(self) -> Preset:
        """What the catalogue says of its vendor."""
        return preset_of(self.config)

    @property
    def title(self) -> str:
        """Its vendor's name for people, else its own."""
        return self.preset.title or self.name

    @property
    def address(self) -> Address:
        """Where it is."""
        return parse("base_url", self.config.base_url)

    @property
    def port(self) -> int:
        """Its TCP port."""
        return self.address.port or (443 if self.address.scheme == "https" else 80)


def key_in_words(key: Secret) -> str:
    """Which key is meant, for a person: by the place it came from."""
    kind, _, name = (key.source or "").partition(":")
    if kind == "env":
        return f"the key in {name}"
    if kind == "keyring":
        return f"the key {name} of the keyring"
    return f"the key {key.fingerprint} written in the settings"


def how_to_set(key: Secret | None, preset: Preset) -> str:
    """How a new key is put where *key* came from."""
    kind, _, name = (key.source or "" if key else "").partition(":")
    if kind == "keyring":
        return f"$ keyring set failsafe {name}"
    if key is not None and not kind:
        return "put it into api_key of the settings"
    variable = name or (preset.key_env[0] if preset.key_env else "")
    return f"$ export {variable}='...'" if variable else "put it into api_key of the settings"
