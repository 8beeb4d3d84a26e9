"""The right name of a model, and the right address of a server, next to a wrong one. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase

from failsafe import checks
from failsafe.addresses import Address, parse
from failsafe.catalog import Preset, catalog
from failsafe.config import ProviderConfig
from failsafe.provider_rules import preset_of

_TAILS = ("/chat/completions", "/completions", "/embeddings", "/messages", "/models", "/responses")
"""What people copy along with the base URL."""

_USUAL_PATHS = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}
"""Where each dialect's API usually begins."""


def nearest(model: str, listed: Sequence[str], preset: Preset, *, most: int = 3) -> list[str]:
    """
    The names that *model* may be meant for, the closest first.

    Args:
        model: The name that is not known.
        listed: What the provider itself says it has; if it says nothing, the catalogue is asked.
        preset: What the catalogue says of its vendor.
        most: How many at the most.
    """
    known = list(listed) or [*preset.models.values(), *_of_catalogue(preset)]
    plain = {_plain(name): name for name in reversed(known)}
    if _plain(model) in plain:
        return [plain[_plain(model)]]
    close = checks.close_names(_plain(model), plain, most=most)
    return [plain[name] for name in close]


def _plain(name: str) -> str:
    """A name without what is written now so, now so."""
    return name.rpartition("/")[2].lower().replace(".", "-").replace("_", "-").replace(" ", "-")


def _of_catalogue(preset: Preset) -> list[str]:
    """The ids in the catalogue that a vendor's names look like; the patterns among them are none."""
    names = {name for name in (*catalog().models, *catalog().prices) if not set(name) & set("*?[")}
    return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in preset.accepts))


def fate(model: str, today: date) -> tuple[date | None, str]:
    """When *model* has ended, if it has, and what its vendor names in its place, if anything."""
    info = catalog().model(model)
    ended = info.end_of_life if info.end_of_life is not None and info.end_of_life <= today else None
    return ended, info.successor or ""


def other_urls(config: ProviderConfig) -> tuple[str, ...]:
    """Base URLs on the same host that may be meant in place of the one in the settings, the likeliest first."""
    address = parse("base_url", config.base_url)
    found = dict.fromkeys(str(address._replace(path=path)) for path in _paths(address, config))
    return tuple(url for url in found if url != config.base_url)


def _paths(address: Address, config: ProviderConfig) -> Iterator[str]:
    path = address.path
    for tail in _TAILS:
        if path.endswith(tail):
            path = path[: -len(tail)]
            yield path
    usual = _vendor_path(address, preset_of(config))
    if usual is not None:
        yield usual
    version = _USUAL_PATHS[config.dialect]
    if version and path.endswith(version + version):
        yield path[: -len(version)]
    if version and not path.endswith(version):
        yield path + version
    if config.dialect == "anthropic" and path.endswith("/v1"):
        yield path[: -len("/v1")]
    if config.dialect == "openai" and path.endswith("/v1"):
        yield path[: -len("/v1")]


def _vendor_path(address: Address, preset: Preset) -> str | None:
    """The path of the vendor's own address, if that is where *address* leads."""
    if "{" in preset.base_url or not preset.base_url:
        return None
    usual = parse("base_url", preset.base_url)
    return usual.path if usual.host == address.host or preset.local else None


def model_to_try(config: ProviderConfig, listed: Sequence[str]) -> str | None:
    """
    The model to ask a provider for a short answer: the one it is probed with, its preset's cheapest, or its first.

    Args:
        config: The provider's settings.
        listed: What the provider itself says it has.
    """
    probed = config.probe.model if config.probe is not None else None
    own = list(config.models.values()) if isinstance(config.models, Mapping) else []
    cheapest = preset_of(config).default_model
    if own and cheapest not in own:
        cheapest = own[0]
    return probed or cheapest or next(iter(listed), None)
