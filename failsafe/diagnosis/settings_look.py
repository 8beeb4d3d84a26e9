"""Finds the settings, and of settings that cannot be used whatever can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from failsafe import loader, trusted_file
from failsafe.catalog import catalog
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.diagnosis import settings
from failsafe.diagnosis.finding import Finding
from failsafe.environment import from_env
from failsafe.errors import ConfigError


class SettingsFacts(msgspec.Struct, frozen=True, kw_only=True):
    """
    The settings, as far as there are any.

    Attributes:
        origin: Where they come from: a path, ``the environment``, or "".
        config: The settings, if they can be used as they are.
        providers: The providers that can be used, even where the settings as a whole cannot.
        findings: What is wrong with the rest.
        unreadable: Whether the settings are there and cannot be used.
        path: The file, if they come from one.
    """

    origin: str = ""
    config: RouterConfig | None = None
    providers: tuple[ProviderConfig, ...] = ()
    findings: tuple[Finding, ...] = ()
    unreadable: bool = False
    path: Path | None = None


def usual_path() -> str:
    """Where a settings file is looked for that nobody has named."""
    from platformdirs import user_config_path

    return str(user_config_path("failsafe", appauthor=False) / "failsafe.toml")


def look(path: Path | None, environ: Mapping[str, str]) -> SettingsFacts:
    """
    Find the settings as every command does, and say what is wrong with them. Raises nothing for any settings.

    Args:
        path: The file that was named, if one was.
        environ: The variables.
    """
    try:
        chosen = path if path is not None else loader.default_path(environ)
    except ConfigError as error:
        return _unreadable(str(error), "FAILSAFE_CONFIG")
    if chosen is not None:
        return _of_file(chosen)
    return _of_environment(environ)


def _unreadable(problem: str, origin: str, path: Path | None = None) -> SettingsFacts:
    return SettingsFacts(origin=origin, findings=(settings.unreadable(problem, origin),), unreadable=True, path=path)


def _of_file(path: Path) -> SettingsFacts:
    try:
        config = loader.load_file(path)
    except ConfigError as error:
        problem = str(error)
    else:
        findings = [settings.readable_by_others(str(path))] if _others_can_read(path) else []
        return SettingsFacts(
            origin=str(path), config=config, providers=_enabled(config), findings=tuple(findings), path=path
        )
    whole = _unreadable(problem, str(path), path)
    table = _table(path)
    if table is None:
        return whole
    usable, findings = [], []
    for name, made in _single(table):
        if isinstance(made, str):
            findings.append(settings.of_provider(name, made))
        else:
            usable.append(made)
    return msgspec.structs.replace(
        whole,
        # Of a fault that is one provider's alone, the provider's own finding is the better one.
        findings=tuple(findings) or whole.findings,
        providers=tuple(provider for provider in usable if provider.enabled),
    )


def _enabled(config: RouterConfig) -> tuple[ProviderConfig, ...]:
    return tuple(provider for provider in config.providers if provider.enabled)


def _others_can_read(path: Path) -> bool:
    try:
        return trusted_file.read(path.expanduser()).readable_by_others
    except ConfigError:
        return False


def _table(path: Path) -> dict[str, Any] | None:
    """The decoded file; None if it cannot be trusted, which may name hosts that no key must go to, or is no TOML."""
    try:
        return loader.load_table(path)
    except ConfigError:
        return None


def _single(table: Mapping[str, Any]) -> Iterator[tuple[str, ProviderConfig | str]]:
    """Each provider's settings alone, or what is wrong with them."""
    providers = table.get("providers", {})
    for name, each in providers.items() if isinstance(providers, Mapping) else ():
        try:
            yield name, loader.parse({"providers": {name: each}}).providers[0]
        except ConfigError as error:
            yield name, str(error)


def _of_environment(environ: Mapping[str, str]) -> SettingsFacts:
    usable, findings = [], []
    for name in catalog().presets:
        made = _of_variables(name, environ)
        if isinstance(made, str):
            findings.append(settings.of_provider(name, made))
        elif made is not None:
            usable.append(made)
    if not usable and not findings:
        return SettingsFacts(findings=(settings.nothing_configured(environ, usual_path()),))
    config = RouterConfig(providers=usable) if not findings else None
    return SettingsFacts(
        origin="the environment",
        config=config,
        providers=tuple(usable),
        findings=tuple(findings),
        unreadable=config is None,
    )


def _of_variables(name: str, environ: Mapping[str, str]) -> ProviderConfig | str | None:
    """The provider that the variables of the preset *name* make; what is wrong with them; None if there are none."""
    preset = catalog().presets[name]
    own = {*preset.key_env, *preset.bearer_env, preset.base_url_env, *preset.header_env.values()}
    alone = {each: value for each, value in environ.items() if each in own or each == "FAILSAFE_ALLOW_KEY_HOST"}
    try:
        return from_env(alone).providers[0]
    except ConfigError as error:
        problem = str(error)
    return None if problem.startswith("no provider is configured") else problem


def address_from(provider: ProviderConfig, environ: Mapping[str, str]) -> str:
    """The variable that the address of *provider*, which comes from the environment, was taken from, or ""."""
    variable = catalog().presets[provider.preset].base_url_env if provider.preset else None
    return variable if variable and environ.get(variable, "").strip() else ""
