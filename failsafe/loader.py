"""
Settings from ``failsafe.toml`` and from the environment.

A file is read only from where the user said (an explicit path, ``FAILSAFE_CONFIG``) or from the
user's own configuration folder, never from the current folder: a hostile checkout must not be
able to choose where keys are sent.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import MISSING, fields
from os import PathLike
from pathlib import Path
from typing import Any

from failsafe import checks, trusted_file
from failsafe.config import PROVIDER_POLICIES, ROUTER_POLICIES, ProviderConfig, RouterConfig
from failsafe.environment import from_env
from failsafe.errors import ConfigError
from failsafe.masking import mask
from failsafe.monitoring_config import StoreConfig

__all__ = ["default_path", "from_env", "load", "load_file", "load_store", "load_table", "parse"]


_DEEP_KEY = re.compile(r"""(?<![\w"'.-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){50}""")
"""A key of more than 50 parts: tomllib's memory grows with the square of their number."""

_POSITION = re.compile(r"\s*\(at (?:line (\d+), column (\d+)|end of document)\)$")


def load(path: str | PathLike[str] | None = None) -> RouterConfig:
    """
    The settings from *path*, else from :func:`default_path`, else from the environment.

    Raises:
        ConfigError: See :func:`load_file` and :func:`failsafe.environment.from_env`.
    """
    chosen = path if path is not None else default_path()
    return load_file(chosen) if chosen is not None else from_env()


def load_table(path: str | PathLike[str] | None = None) -> dict[str, Any]:
    """
    The decoded file that :func:`load` would read, as far as TOML goes; empty where there is none.

    For what needs neither keys nor valid providers: where the store is, how the providers are called.

    Raises:
        ConfigError: The file cannot be trusted, or is not TOML. The message begins with the path.
    """
    chosen = path if path is not None else default_path()
    if chosen is None:
        return {}
    expanded = _expanded("path", chosen)
    text = trusted_file.read(expanded).text
    try:
        return _decoded(text)
    except ConfigError as error:
        problem = str(error)
    raise ConfigError(f"{expanded}: {problem}")


def load_store(path: str | PathLike[str] | None = None) -> StoreConfig:
    """
    The settings of the store alone, of the file that :func:`load` would read.

    Raises:
        ConfigError: See :func:`load_table`; or one of these settings is wrong.
    """
    value = load_table(path).get("store", {})
    if isinstance(value, str):
        return StoreConfig.from_word(value)
    config: StoreConfig = _policy("store", value, StoreConfig)
    return config


def default_path(environ: Mapping[str, str] | None = None) -> Path | None:
    """
    The file that is read when none is named: ``FAILSAFE_CONFIG``, else ``failsafe/failsafe.toml`` in the
    user's configuration folder (on Linux ``~/.config``) if it exists, else None.

    Raises:
        ConfigError: ``FAILSAFE_CONFIG`` is not absolute; it would depend on the current folder.
    """
    named = (os.environ if environ is None else environ).get("FAILSAFE_CONFIG")
    if named:
        chosen = _expanded("FAILSAFE_CONFIG", named)
        if not chosen.is_absolute():
            checks.refuse("FAILSAFE_CONFIG", named, "an absolute path is needed")
        return chosen
    from platformdirs import user_config_path

    usual = user_config_path("failsafe", appauthor=False) / "failsafe.toml"
    return usual if usual.is_absolute() and usual.is_file() else None


def load_file(path: str | PathLike[str]) -> RouterConfig:
    """
    The settings in the TOML file at *path*.

    Raises:
        ConfigError: The file cannot be trusted (see :mod:`failsafe.trusted_file`), is not TOML, holds
            a key by value while others can read it, or one of its settings is wrong. The message
            begins with the path.
    """
    chosen = _expanded("path", path)
    text, readable_by_others = trusted_file.read(chosen)
    try:
        table = _decoded(text)
        if readable_by_others:
            _refuse_keys(chosen, table)
        return parse(table)
    except ConfigError as error:
        problem = mask(str(error))  # a key may stand where nobody expects one, as the name of a setting
    raise ConfigError(f"{chosen}: {problem}")


def _expanded(key: str, path: object) -> Path:
    """*path* with the user's folder in place of ``~``."""
    expanded: Path | None = None
    with suppress(TypeError, RuntimeError):  # no path at all; ~USER of nobody
        expanded = Path(os.fsdecode(path)).expanduser()  # type: ignore[arg-type]
    if expanded is None:
        checks.refuse(key, path, "the path of a file is needed")
    return expanded


def parse(table: Mapping[str, Any]) -> RouterConfig:
    """
    Make settings of a decoded ``failsafe.toml``.

    Args:
        table: The document: the settings of :class:`failsafe.RouterConfig`, with ``providers`` as a
            table from each name to the settings of one :class:`failsafe.ProviderConfig`.

    Raises:
        ConfigError: A setting is unknown or wrong.
    """
    settings = dict(table)
    _refuse_unknown("", settings, RouterConfig)
    settings["providers"] = [
        _provider(name, each) for name, each in _table("providers", settings.get("providers", {})).items()
    ]
    if not settings["providers"]:
        raise ConfigError("providers: at least one table [providers.NAME] is needed, such as [providers.openai]")
    policies = _taken("", settings, ROUTER_POLICIES)
    return RouterConfig(**settings, **policies)


def _provider(name: str, value: object) -> ProviderConfig:
    key = f"providers.{name}"
    settings = _table(key, value)
    _refuse_unknown(f"{key}.", settings, ProviderConfig, but={"name"})
    policies = _taken(f"{key}.", settings, PROVIDER_POLICIES)
    return ProviderConfig(name=name, **settings, **policies)


def _taken(prefix: str, settings: dict[str, Any], kinds: Mapping[str, type[Any]]) -> dict[str, Any]:
    """Take the tables of policies out of *settings* and make their settings of them."""
    return {
        name: _policy(f"{prefix}{name}", settings.pop(name), kind)
        for name, kind in kinds.items()
        if name in settings and not (kind is StoreConfig and isinstance(settings[name], str))
    }


def _policy(key: str, value: object, kind: type[Any]) -> Any:
    settings = _table(key, value)
    _refuse_unknown(f"{key}.", settings, kind, but={"retry_on"})
    for name in (each.name for each in fields(kind) if each.default is MISSING and each.name not in settings):
        raise ConfigError(f"{key}.{name}: this setting is needed in a table [{key}]")
    try:
        return kind(**settings)
    except ConfigError as error:
        problem = str(error)
    raise ConfigError(f"{key}.{problem}")


def _table(key: str, value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        checks.refuse(key, value, f"a table [{key}] is needed")
    return dict(value)


def _refuse_unknown(prefix: str, settings: Iterable[str], kind: type[Any], but: Iterable[str] = ()) -> None:
    known = [each.name for each in fields(kind) if each.init and each.name not in but]
    for name in settings:
        if name not in known:
            hint = checks.suggestion(name, known) or f"; known are {', '.join(known)}"
            raise ConfigError(f"{prefix}{name}: there is no such setting{hint}")


def _decoded(text: str) -> dict[str, Any]:
    import tomllib

    message = "it is nested too deeply"
    try:
        if not _DEEP_KEY.search(text):
            return tomllib.loads(text)
    except ValueError as error:
        message = str(error)
    except RecursionError:
        pass
    # Raised out here: tomllib's error may hold the whole document, keys included.
    raise ConfigError(_malformed(text, message))


def _malformed(text: str, message: str) -> str:
    position = _POSITION.search(message)
    problem = mask(message[: position.start()] if position else message)
    if position is None or position[1] is None:
        return f"this is not TOML: {problem} (at the end of the file)" if position else f"this is not TOML: {problem}"
    number, column = int(position[1]), int(position[2])
    line = text.splitlines()[number - 1] if number <= len(text.splitlines()) else ""
    return f"line {number}, column {column}: this is not TOML: {problem}: {_without_value(line)!r}"


def _without_value(line: str) -> str:
    """The line up to its value, which may be a key; all of it for the head of a table."""
    name, equals, _ = line.strip().partition("=")
    if equals:
        return f"{mask(name.strip()[:60])} = ..."
    return mask(name[:60]) if name.startswith("[") else "..."


def _refuse_keys(path: Path, table: Mapping[str, Any]) -> None:
    """A key by value is accepted only in a file that nobody else can read."""
    providers = table.get("providers", {})
    for name, settings in providers.items() if isinstance(providers, Mapping) else ():
        given = settings.get("api_key") if isinstance(settings, Mapping) else None
        listed = given if isinstance(given, list) else [given]
        if any(isinstance(each, str) and not each.startswith(("env:", "keyring:")) for each in listed):
            raise ConfigError(
                f"providers.{name}.api_key: the file holds a key and others can read it; "
                f"run: chmod 600 {path}, or write env:NAME or keyring:NAME in its place"
            )
