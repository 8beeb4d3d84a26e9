"""Settings from environment variables alone: every provider whose key variable is set."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from failsafe.catalog import Preset, catalog
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import ConfigError
from failsafe.secret import Secret

_log = logging.getLogger("failsafe")

_EVERY_INTERFACE = {"", "0.0.0.0", "[::]"}  # noqa: S104  # what a server binds to, never what a client asks


def from_env(environ: Mapping[str, str] | None = None) -> RouterConfig:
    """
    Settings with every provider whose key variable is set, in the order of the catalogue.

    Where only a token is set (``ANTHROPIC_AUTH_TOKEN``, ``AZURE_OPENAI_AD_TOKEN``), it is sent as
    ``Authorization: Bearer``; one that expires is not renewed.
    Local servers are used only when their address is set (``OLLAMA_HOST``, ``VLLM_BASE_URL``, ...).
    A ``*_BASE_URL`` variable is followed to the vendor's own hosts, to this machine and to the hosts
    in ``FAILSAFE_ALLOW_KEY_HOST`` (separated by commas). The resulting order is logged.

    Args:
        environ: The variables; None: this process's own.

    Raises:
        ConfigError: No variable is set, or the value of one is wrong.
    """
    variables = os.environ if environ is None else environ
    found = [_provider(name, preset, variables) for name, preset in catalog().presets.items()]
    providers = [each for each in found if each is not None]
    if not providers:
        raise ConfigError(_nothing_set(variables))
    _log.info("providers from the environment, best first: %s", ", ".join(_described(each) for each in providers))
    return RouterConfig(providers=providers)


def _described(provider: ProviderConfig) -> str:
    sources = [str(key.source) for key in provider.keys]
    return f"{provider.name} ({', '.join(sources) or 'no key'}, {provider.base_url})"


def _provider(name: str, preset: Preset, variables: Mapping[str, str]) -> ProviderConfig | None:
    key = next((each for each in (*preset.key_env, *preset.bearer_env) if variables.get(each)), None)
    address = _address(preset, variables)
    if (address is None) if preset.local else (key is None):
        return None
    if address is None and "{" in preset.base_url:
        _log.warning("%s is set without %s; %s is left out", key, preset.base_url_env, preset.title)
        return None
    try:
        return _configured(name, preset, key, address, variables)
    except ConfigError as error:
        problem = str(error)
    origin = f" (from {preset.base_url_env})" if address and ".base_url" in problem else ""
    hint = "; for the environment alone that is FAILSAFE_ALLOW_KEY_HOST" if "allow_key_host" in problem else ""
    raise ConfigError(f"{problem}{origin}{hint}")


def _configured(
    name: str, preset: Preset, key: str | None, address: str | None, variables: Mapping[str, str]
) -> ProviderConfig:
    headers = {header: variables[each] for header, each in preset.header_env.items() if variables.get(each)}
    allowed = [each.strip() for each in variables.get("FAILSAFE_ALLOW_KEY_HOST", "").split(",") if each.strip()]
    secret = None if key is None else Secret(variables[key], source=f"env:{key}")
    chosen: dict[str, Any] = {} if address is None else {"base_url": address}
    if key in preset.bearer_env:
        chosen |= {"auth_header": "Authorization", "auth_prefix": "Bearer "}
    return ProviderConfig(name=name, api_key=secret, headers=headers, allow_key_host=allowed, **chosen)


def _address(preset: Preset, variables: Mapping[str, str]) -> str | None:
    """
    The address that the preset's variable names, completed with what such variables leave out.

    Ollama's and Azure's hold no path, Groq's own client adds it too, and Ollama's may be a bare
    ``host:port``, or what the server binds to.
    """
    value = (variables.get(preset.base_url_env or "") or "").strip()
    if not value:
        return None
    usual_host, _, usual_path = preset.base_url.partition("://")[2].partition("/")
    if preset.local and "://" not in value:
        value = _completed_host(value, usual_host.partition(":")[2])
    scheme, separator, rest = value.partition("://")
    host, _, path = rest.partition("/")
    if not separator or path.strip("/"):
        return value
    return f"{scheme}://{host}/{usual_path}" if usual_path else f"{scheme}://{host}"


def _completed_host(value: str, usual_port: str) -> str:
    host, slash, path = value.partition("/")
    name, _, port = (host, "", "") if host.endswith("]") or ":" not in host else host.rpartition(":")
    name = "127.0.0.1" if name in _EVERY_INTERFACE else name
    return f"http://{name}:{port or usual_port}{slash}{path}"


def _nothing_set(variables: Mapping[str, str]) -> str:
    presets = catalog().presets.values()
    keys = [each for preset in presets if not preset.local for each in (*preset.key_env, *preset.bearer_env)]
    addresses = [preset.base_url_env for preset in presets if preset.local and preset.base_url_env]
    half = [each for each in keys if variables.get(each)]
    noted = f" ({', '.join(half)} needs an address too)" if half else ""
    return (
        f"no provider is configured: none of {', '.join(keys)} is set{noted}, nor the address of a local server "
        f"({', '.join(addresses)}). Export one, or write a failsafe.toml and name it in FAILSAFE_CONFIG"
    )
