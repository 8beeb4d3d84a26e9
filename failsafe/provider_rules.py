"""
The rules of :class:`failsafe.ProviderConfig`: what it takes from its preset and what it refuses.

They live beside ``config`` so that the declaration of the settings stays readable.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, fields
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from failsafe import addresses, checks, key_shape, price_rules, quirk_rules
from failsafe.catalog import ModelInfo, Preset, catalog
from failsafe.errors import ConfigError
from failsafe.model_names import same_model
from failsafe.pricing import FREE, Prices, find
from failsafe.secret import Secret, resolve

if TYPE_CHECKING:
    from failsafe.config import ProviderConfig

DIALECTS = ("openai", "anthropic", "gemini")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_AUTH_PREFIX = re.compile(r"[A-Za-z-]{0,24}[ :=]?")
_GENERIC = Preset(title="", base_url="", dialect="openai", needs_key=False)
_DAY = 86_400.0

_RESERVED_HEADERS = (
    *("Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "Proxy-Authorization", "Cookie"),
    *("Host", "Content-Length", "Content-Encoding", "Content-Type", "Accept-Encoding", "Expect"),
    *("Transfer-Encoding", "Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade"),
)
_KEY_PARAMETERS = frozenset({"key", "api_key", "api-key", "apikey", "access_token", "token"})
_NAMES_ONLY = frozenset({"headers", "query", "extra"})  # their values may be secrets

Put = Callable[[str, Any], None]


def settle(config: ProviderConfig) -> None:
    """Check every setting of *config* and put the preset's values where none was given."""
    if not isinstance(config.name, str) or not _NAME.fullmatch(config.name):
        checks.refuse("providers", config.name, "a name of 1 to 64 letters, digits, '.', '_' and '-' is needed")
    prefix = f"providers.{config.name}."
    put = partial(object.__setattr__, config)
    put("preset", _preset_name(config, prefix))
    preset = preset_of(config)
    _settle_numbers(config, preset, prefix, put)
    _settle_wire(config, preset, prefix, put)
    _settle_files(config, prefix, put)
    _settle_address(config, preset, prefix, put)


def preset_of(config: ProviderConfig) -> Preset:
    """The preset of *config*, or one that says nothing."""
    return catalog().presets[config.preset] if config.preset else _GENERIC


def _preset_name(config: ProviderConfig, prefix: str) -> str | None:
    known = catalog().presets
    if config.preset is None:
        return config.name if config.name in known else None
    name = checks.text(f"{prefix}preset", config.preset)
    if name not in known:
        hint = checks.suggestion(name, known)
        checks.refuse(f"{prefix}preset", name, f"one of {', '.join(known)} is needed{hint}")
    return name


def _settle_numbers(config: ProviderConfig, preset: Preset, prefix: str, put: Put) -> None:
    if config.priority is not None:
        checks.whole(f"{prefix}priority", config.priority, most=1_000_000)
    checks.number(f"{prefix}weight", config.weight, above=0, most=1_000_000)
    checks.number(f"{prefix}timeout", config.timeout, above=0, most=_DAY)
    if config.connect_timeout is None:
        put("connect_timeout", _connect_timeout(preset))
    checks.number(f"{prefix}connect_timeout", config.connect_timeout, above=0, most=3600)
    checks.whole(f"{prefix}max_retries", config.max_retries, most=100)
    checks.whole(f"{prefix}pool_size", config.pool_size, least=1, most=10_000)
    checks.whole(f"{prefix}max_answer_bytes", config.max_answer_bytes, least=1024)
    checks.number(f"{prefix}quota_off", config.quota_off, above=0, most=30 * _DAY)
    checks.flag(f"{prefix}enabled", config.enabled)
    checks.flag(f"{prefix}allow_http", config.allow_http)


def _settle_wire(config: ProviderConfig, preset: Preset, prefix: str, put: Put) -> None:
    """What is said to the server: dialect, models, headers, query, body."""
    put("dialect", _dialect(f"{prefix}dialect", config.dialect or preset.dialect))
    put("models", _models(f"{prefix}models", config.models, preset))
    put("models_path", _models_path(f"{prefix}models_path", _or(config.models_path, preset.models_path)))
    put("auth_header", checks.header_name(f"{prefix}auth_header", _or(config.auth_header, preset.auth_header)))
    put("auth_prefix", _auth_prefix(f"{prefix}auth_prefix", _or(config.auth_prefix, preset.auth_prefix)))
    reserved = (*_RESERVED_HEADERS, config.auth_header)
    own = checks.headers(f"{prefix}headers", config.headers, reserved=reserved)
    put("headers", {**_without(preset.headers, own), **own})
    put("query", {**preset.query, **_query(f"{prefix}query", config.query)})
    put("extra", _extra(f"{prefix}extra", config.extra))
    put("upstream", checks.texts(f"{prefix}upstream", _or(config.upstream, preset.upstream)))
    put("prices", price_rules.checked(f"{prefix}prices", config.prices))
    put("quirks", quirk_rules.checked(f"{prefix}quirks", config.quirks, preset.quirks))


def _without(headers: Mapping[str, str], replaced: Iterable[str]) -> dict[str, str]:
    """*headers* but for those named in *replaced*, in whatever case."""
    names = {name.lower() for name in replaced}
    return {name: value for name, value in headers.items() if name.lower() not in names}


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value


def _dialect(key: str, value: object) -> str:
    hint = checks.suggestion(value, DIALECTS) if isinstance(value, str) else ""
    if value not in DIALECTS:
        checks.refuse(key, value, f"one of {', '.join(DIALECTS)} is needed{hint}")
    return str(value)


def _auth_prefix(key: str, value: object) -> str:
    prefix = checks.text(key, value, empty=True)
    if not _AUTH_PREFIX.fullmatch(prefix):
        checks.refuse(key, checks.HIDDEN, "a word such as 'Bearer ' or '' is needed; the key belongs into api_key")
    return prefix


def _models(key: str, value: object, preset: Preset) -> dict[str, str] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        models = checks.text_map(key, value)
    else:
        models = {name: preset.models.get(name, name) for name in checks.texts(key, value)}
    for name, sent in models.items():
        checks.text(f"{key}.{name}", sent)
    if not models:
        checks.refuse(key, value, "at least one model is needed; leave models out for the preset's")
    return models


def _models_path(key: str, value: object) -> str:
    path = checks.text(key, value, empty=True)
    if path and not path.startswith("/"):
        checks.refuse(key, value, "a path that begins with '/' is needed, or '' when there is no list of models")
    return path


def _query(key: str, value: object) -> dict[str, str]:
    query = checks.text_map(key, value)
    for name in query:
        if name.lower() in _KEY_PARAMETERS:
            checks.refuse(f"{key}.{name}", checks.HIDDEN, "no key travels in an address; use api_key (see auth_header)")
    return query


def _extra(key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        checks.refuse(key, value, "a table of body fields is needed")
    for name in value:
        if name in quirk_rules.RESERVED_FIELDS:
            checks.refuse(f"{key}.{name}", checks.HIDDEN, "this field is set by failsafe")
    return dict(checks.json_value(key, value))


def _settle_files(config: ProviderConfig, prefix: str, put: Put) -> None:
    if config.ca_bundle is not None:
        put("ca_bundle", _existing(f"{prefix}ca_bundle", config.ca_bundle, folder=True))
    if config.client_cert is not None:
        put("client_cert", _client_cert(f"{prefix}client_cert", config.client_cert))
    if config.proxy is not None:
        address = addresses.parse(f"{prefix}proxy", config.proxy)
        put("proxy", str(address))


def _client_cert(key: str, value: Any) -> str | tuple[str, str]:
    if isinstance(value, str | Path):
        return _existing(key, value)
    if not isinstance(value, Sequence) or len(value) != 2:
        checks.refuse(key, value, "one PEM file, or the pair of certificate and key file, is needed")
    return _existing(f"{key}[0]", value[0]), _existing(f"{key}[1]", value[1])


def _existing(key: str, value: object, *, folder: bool = False) -> str:
    path = Path(checks.text(key, str(value) if isinstance(value, Path) else value))
    with suppress(RuntimeError):  # nobody of that name has a folder
        path = path.expanduser()
    if not (path.is_file() or (folder and path.is_dir())):
        checks.refuse(key, value, f"an existing file{' or folder' if folder else ''} is needed")
    return str(path)


def _settle_address(config: ProviderConfig, preset: Preset, prefix: str, put: Put) -> None:
    """Where requests go, with which keys, and whether those may go there."""
    address = _address(config, preset, prefix)
    put("allow_key_host", addresses.host_patterns(f"{prefix}allow_key_host", config.allow_key_host))
    put("keys", _keys(config, _own_key(config, preset), f"{prefix}api_key"))
    put("api_key", config.keys or None)
    put("base_url", str(address))
    _check_key_present(config, preset, prefix, address)
    _check_encrypted(config, prefix, address)
    _check_key_hosts(config, prefix, address)


def _address(config: ProviderConfig, preset: Preset, prefix: str) -> addresses.Address:
    key = f"{prefix}base_url"
    if config.base_url is not None:
        return addresses.parse(key, config.base_url)
    if not preset.base_url:
        hint = checks.suggestion(config.name, catalog().presets)
        checks.refuse(key, None, f"an address is needed, since no preset is called {config.name!r}{hint}")
    if "{" in preset.base_url:
        checks.refuse(key, None, f"your own address is needed, of the form {preset.base_url}")
    return addresses.parse(key, preset.base_url)


def _own_key(config: ProviderConfig, preset: Preset) -> Any:
    """The key that was given; at the preset's own address also the first of its variables that is set."""
    if config.api_key is not None or config.base_url is not None or not preset.needs_key:
        return config.api_key
    return next((f"env:{name}" for name in preset.key_env if os.environ.get(name)), None)


def _keys(config: ProviderConfig, given: Any, key: str) -> tuple[Secret, ...]:
    if given is None or not config.enabled:
        return ()
    listed = [given] if isinstance(given, str | Secret) else given
    if isinstance(listed, bytes) or not isinstance(listed, Sequence) or not listed:
        checks.refuse(key, checks.HIDDEN, "a text or a list of texts is needed")
    found = (_key(f"{key}[{place}]" if len(listed) > 1 else key, each) for place, each in enumerate(listed))
    return tuple(dict.fromkeys(found))


def _key(key: str, given: object) -> Secret:
    if not isinstance(given, str | Secret):
        checks.refuse(key, checks.HIDDEN, "a text is needed")
    secret = given if isinstance(given, Secret) else resolve(given, setting=key)
    problem = key_shape.problem(secret.reveal())
    if problem:
        origin = f" ({secret.source})" if secret.source else ""
        raise ConfigError(f"{key}{origin}: the key {problem}")
    return secret


def _check_key_present(config: ProviderConfig, preset: Preset, prefix: str, address: addresses.Address) -> None:
    if config.keys or not preset.needs_key or not config.enabled or addresses.is_loopback(address.host):
        return
    names = " or ".join(preset.key_env)
    reference = f"env:{preset.key_env[0]}"
    checks.refuse(
        f"{prefix}api_key", None, f"{preset.title} needs a key; export {names} and set api_key = {reference!r}"
    )


def _check_encrypted(config: ProviderConfig, prefix: str, address: addresses.Address) -> None:
    if address.scheme == "https" or not config.keys or config.allow_http or _stays_here(config, address):
        return
    checks.refuse(
        f"{prefix}base_url",
        config.base_url,
        "https is needed, or the key could be read on the way; set allow_http = true to accept that",
    )


def _stays_here(config: ProviderConfig, address: addresses.Address) -> bool:
    """Whether a request never leaves this machine, neither to its server nor to its proxy."""
    hops = [address] if config.proxy is None else [address, addresses.parse("proxy", config.proxy)]
    return all(addresses.is_loopback(hop.host) for hop in hops)


def _check_key_hosts(config: ProviderConfig, prefix: str, address: addresses.Address) -> None:
    """
    Hold a vendor's key variable to that vendor's hosts.

    A loopback address is free: a gateway or a test on this machine is the user's own, and a local
    program that wanted the key could read the same environment itself.
    """
    if addresses.is_loopback(address.host) or addresses.host_matches(address.host, config.allow_key_host):
        return
    for secret in config.keys:
        owners = owners_of(secret)
        if owners and not any(addresses.host_matches(address.host, owner.hosts) for owner in owners):
            checks.refuse(
                f"{prefix}base_url",
                config.base_url,
                f"{secret.source} holds a key of {owners[0].title} and may only be sent to "
                f"{', '.join(owners[0].hosts)}; if {address.host} may have it, "
                f"set allow_key_host = [{address.host!r}]",
            )


def owners_of(secret: Secret) -> tuple[Preset, ...]:
    """
    The vendors whose key variable (or keyring entry of that name) *secret* came from.

    A server that anybody may run has no hosts of its own, and its variable is nobody's.
    """
    name = (secret.source or "").partition(":")[2].upper()
    vendors = (each for each in catalog().presets.values() if each.hosts)
    return tuple(each for each in vendors if name in (*each.key_env, *each.bearer_env, *each.other_key_env))


def model_map(config: ProviderConfig) -> Mapping[str, str]:
    """The names *config* is asked for, each with the id that is sent; its own list, else the preset's."""
    return config.models if isinstance(config.models, Mapping) else preset_of(config).models


def serves(config: ProviderConfig, model: str) -> str | None:
    """The rule of :meth:`failsafe.ProviderConfig.serves`."""
    sent = _sent(config, model, preset_of(config).accepts)
    return None if sent is not None and model_info(config, sent).embeds else sent


def embeds(config: ProviderConfig, model: str) -> str | None:
    """The rule of :meth:`failsafe.ProviderConfig.embeds`."""
    sent = None if config.dialect == "anthropic" else _sent(config, model, preset_of(config).embeds)
    if sent is None:
        return None
    info = model_info(config, sent)
    return sent if info.embeds or info == ModelInfo() else None


def _sent(config: ProviderConfig, model: str, patterns: Iterable[str]) -> str | None:
    """The id that *config* knows *model* by, or None: in its list of models, else the preset's and its *patterns*."""
    sent = model_map(config).get(model)
    if sent is not None or config.models is not None:
        return sent
    if config.preset is None:
        return model
    return model if any(fnmatchcase(model, pattern) for pattern in patterns) else None


def model_info(config: ProviderConfig, model: str) -> ModelInfo:
    """The rule of :meth:`failsafe.ProviderConfig.model_info`."""
    for models in (model_map(config), preset_of(config).models):
        for name, sent in models.items():
            if sent == model and catalog().model(name) != ModelInfo():
                return catalog().model(name)
    return catalog().model(model)


def price(config: ProviderConfig, model: str) -> Prices:
    """The rule of :meth:`failsafe.ProviderConfig.price`."""
    own: Mapping[str, Prices] = config.prices
    names = _names(config, model)
    preset = preset_of(config)
    found = find(own, names) or find(preset.prices, names)
    # What a server of no known vendor asks for is its own affair, whatever its models are called.
    if found or config.preset is None:
        return found
    if preset.local:
        return () if addresses.host_matches(addresses.parse("base_url", config.base_url).host, preset.hosts) else FREE
    return find(catalog().prices, names)


def _names(config: ProviderConfig, model: str) -> list[str]:
    """The id *model*, and the names under which *config* is asked for it."""
    return [model, *(name for name, sent in model_map(config).items() if sent == model)]


def price_of_answer(config: ProviderConfig, asked: str, answered: str) -> Prices:
    """The rule of :meth:`failsafe.ProviderConfig.price_of_answer`."""
    if same_model(asked, answered) or find(config.prices, _names(config, asked)):
        return price(config, asked)
    return price(config, answered) or price(config, asked)


def shown(config: ProviderConfig) -> str:
    """The settings of *config* that differ from the usual ones, without keys, header values and query values."""
    usual = _usual(config)
    parts = [f"name={config.name!r}", f"base_url={config.base_url!r}"]
    for name in (each.name for each in fields(config) if each.name in usual):
        value = getattr(config, name)
        if value != usual[name]:
            parts.append(f"{name}={sorted(value) if name in _NAMES_ONLY else value!r}")
    return ", ".join([*parts, f"keys={config.keys!r}"])


def _usual(config: ProviderConfig) -> dict[str, Any]:
    """What the settings would be, had none been given beside the name and the address."""
    preset = preset_of(config)
    own = {
        each.name: each.default_factory() if each.default_factory is not MISSING else each.default
        for each in fields(config)
        if each.init and each.name not in {"name", "base_url", "api_key"}
    }
    of_preset = {
        name: getattr(preset, name)
        for name in own
        if name in Preset.__struct_fields__ and name not in {"models", "prices"}
    }
    named = config.name if config.name in catalog().presets else None
    return {**own, **of_preset, "preset": named, "connect_timeout": _connect_timeout(preset)}


def _connect_timeout(preset: Preset) -> float:
    return 2.0 if preset.local else 5.0
