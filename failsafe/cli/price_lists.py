"""Who charges what, for commands that compare prices: the settings' providers and the catalogue's, without any key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from failsafe import loader
from failsafe.article_prices import article_prices
from failsafe.catalog import Preset, catalog
from failsafe.checks import suggestion
from failsafe.config import ProviderConfig
from failsafe.errors import ConfigError
from failsafe.pricing import Price, Prices, find
from failsafe.provider_rules import preset_of
from failsafe.savings import PricesOf

VENDOR = "vendor"
"""In place of a provider's name: whoever has made the model, at the list price."""

ARTICLE_MODELS = ("gpt-4.1", "claude-sonnet-4.5", "gemini-2.5-flash", "deepseek-v3.2")
"""The models that the article compares."""

_WHAT_PRICES_DEPEND_ON = ("base_url", "dialect", "models", "preset", "prices")


class Priced(NamedTuple):
    """
    A provider whose prices are known without asking it.

    Attributes:
        config: Its settings, switched off so that they need no key.
        configured: Whether it stands in the settings; else it is the catalogue's.
    """

    config: ProviderConfig
    configured: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.config.name

    @property
    def preset(self) -> Preset:
        """What the catalogue says of it."""
        return preset_of(self.config)

    def sent(self, model: str) -> str | None:
        """The id under which it serves *model*, or None; vendors and aggregators write 4-5 and 4.5 alike."""
        for name in dict.fromkeys((model, model.replace(".", "-"))):
            sent = self.config.serves(name)
            if sent is not None:
                return sent
        return None

    def prices(self, model: str) -> Prices:
        """What *model* costs there; () where it is not served, or its price is not known."""
        sent = self.sent(model)
        return () if sent is None else self.config.price(sent)

    def models(self) -> tuple[str, ...]:
        """The models that are known of it, each once: those that it lists, else those of known price it accepts."""
        listed = self.config.known_models
        if not listed and self.config.preset is not None:
            listed = tuple(model for model in catalog().prices if self.config.serves(model) is not None)
        names: dict[str | None, str] = {}
        for name in listed:
            sent = self.config.serves(name)
            if sent not in names or name == sent:
                names[sent] = name
        return tuple(names.values())

    def ended(self, model: str, today: date) -> date | None:
        """The day on which its vendor stopped to answer with *model*, if that has come; aggregators may go on."""
        sent = self.sent(model)
        if sent is None or self.preset.upstream:
            return None
        ends = self.config.model_info(sent).end_of_life
        return ends if ends is not None and ends <= today else None


def everyone(path: Path | None) -> list[Priced]:
    """
    The providers of the settings that :func:`failsafe.loader.load` would read, then the hosted ones of the catalogue.

    Of the settings only what prices depend on is read: no key is needed, and none is looked up.

    Raises:
        ConfigError: The settings cannot be read, or one of these is wrong.
    """
    configured = [Priced(_without_key(name, table), configured=True) for name, table in _tables(path).items()]
    known = {each.name for each in configured} | {each.config.preset for each in configured}
    hosted = (name for name, preset in catalog().presets.items() if not preset.local and "{" not in preset.base_url)
    return configured + [Priced(_without_key(name, {}), configured=False) for name in hosted if name not in known]


def _tables(path: Path | None) -> Mapping[str, Any]:
    tables = loader.load_table(path).get("providers", {})
    if not isinstance(tables, Mapping):
        raise ConfigError("providers: a table for each provider is needed, [providers.NAME]")
    return {
        name: table for name, table in tables.items() if not isinstance(table, Mapping) or table.get("enabled", True)
    }


def _without_key(name: str, table: object) -> ProviderConfig:
    if not isinstance(table, Mapping):
        raise ConfigError(f"providers.{name}: a table is needed")
    given = {key: table[key] for key in _WHAT_PRICES_DEPEND_ON if key in table}
    return ProviderConfig(name=name, enabled=False, **given)


def usual_models(path: Path | None, everyone: Iterable[Priced]) -> tuple[str, ...]:
    """What is compared where no model is named: the models of the settings, or without any those of the article."""
    aliases = loader.load_table(path).get("aliases", {})
    entries = [entry for each in aliases.values() for entry in each] if isinstance(aliases, Mapping) else []
    names = {each.name for each in everyone}
    found = [entry.partition(":")[2] if entry.partition(":")[0] in names else entry for entry in entries]
    for each in everyone:
        if each.configured and each.config.models is not None:
            found += each.config.known_models
    return tuple(dict.fromkeys(found)) or ARTICLE_MODELS


def baseline(text: str, everyone: Sequence[Priced]) -> tuple[str, PricesOf]:
    """
    What to compare with: ``vendor``, a provider's name, or ``provider:model`` for one model that stands for all.

    Raises:
        ConfigError: There is no such provider, or it does not serve that model.
    """
    if text == VENDOR:
        return VENDOR, lambda model: find(catalog().prices, [model])
    name, _, model = text.partition(":")
    found = next((each for each in everyone if each.name == name), None)
    if found is None:
        names = [VENDOR, *(each.name for each in everyone)]
        raise ConfigError(f"--baseline {text}: one of {', '.join(names)} is needed{suggestion(name, names)}")
    if not model:
        return name, found.prices
    prices = found.prices(model)
    if not prices:
        raise ConfigError(f"--baseline {text}: {name} has no known price of {model}")
    return text, lambda _: prices


def of_article() -> tuple[list[tuple[str, PricesOf]], tuple[str, PricesOf]]:
    """The two columns of the article's table, and its baseline."""
    official, holysheep = (_column(name) for name in ("official", "holysheep"))
    return [official, holysheep], official


def _column(name: str) -> tuple[str, PricesOf]:
    def prices(model: str) -> Sequence[Price]:
        found = article_prices().price(name, model)
        return () if found is None else (found,)

    return name, prices
