"""Where the commands find their settings."""

from __future__ import annotations

from pathlib import Path

import click

from failsafe import loader
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.errors import ConfigError
from failsafe.provider_rules import preset_of

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="A failsafe.toml; else $FAILSAFE_CONFIG, else the user's configuration folder, else the environment's keys.",
)


def load(path: Path | None) -> RouterConfig:
    """The settings at *path*, or wherever they are usually found."""
    return loader.load(path)


def chosen_model(config: RouterConfig, model: str | None) -> str:
    """
    The model to ask: *model*, else the alias ``default``, else the first provider's cheapest.

    Raises:
        ConfigError: Nothing says which.
    """
    if model:
        return model
    if "default" in config.aliases:
        return "default"
    first = next(provider for provider in config.providers if provider.enabled)
    cheapest = cheapest_model(first)
    if cheapest is None:
        raise ConfigError(
            f"--model is missing: provider {first.name} has no default; name a model, or write an alias called default"
        )
    return cheapest


def cheapest_model(provider: ProviderConfig) -> str | None:
    """The model to try *provider* with: its preset's cheapest, or the first it lists; None if nothing says."""
    return preset_of(provider).default_model or next(iter(provider.models or ()), None)
