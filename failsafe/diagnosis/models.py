"""Models that a provider does not know, or will not know for long. Pure functions: facts in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime

from failsafe.catalog import ModelInfo
from failsafe.config import ProviderConfig, RouterConfig
from failsafe.diagnosis.facts import Exchanged, ProviderFacts
from failsafe.diagnosis.finding import Finding, error, good, warning
from failsafe.diagnosis.names import fate, nearest
from failsafe.models import Failure

SOON = 60
"""Days before the end of a model at which a warning is due."""


def inspect(provider: ProviderConfig, today: date) -> Iterator[Finding]:
    """Which models that *provider* lists have ended, or will soon."""
    for model, sent in (provider.models or {}).items() if isinstance(provider.models, Mapping) else ():
        yield from _ending(provider.name, model, provider.model_info(sent), today)


def inspect_alias(config: RouterConfig, alias: str, today: date) -> Iterator[Finding]:
    """Who serves *alias*, and whether with models that have ended."""
    routes = config.targets(alias)
    names = [route.provider.name for route in routes]
    if len(names) == 1:
        yield warning(
            "alias-alone", alias, f"only {names[0]} serves this alias: when it fails, nobody is left to ask", "",
            f"name a model of another provider in it: aliases.{alias} = [..., ...]",
        )  # fmt: skip
    else:
        yield good("alias", alias, f"is served by {', '.join(names)}, in this order")
    for provider, models in routes:
        for model in models:
            yield from _ending(f"{alias} at {provider.name}", model, provider.model_info(model), today)


def _ending(subject: str, model: str, info: ModelInfo, today: date) -> Iterator[Finding]:
    ends = info.end_of_life
    if ends is None or (ends - today).days > SOON:
        return
    instead = f"; the vendor names {info.successor} in its place" if info.successor else ""
    step = f"name {info.successor} in the settings" if info.successor else "name another model in the settings"
    if ends <= today:
        yield error("model-ended", subject, f"{model} reached its end of life on {ends}{instead}", "", step)
    else:
        yield warning("model-ending", subject, f"{model} reaches its end of life on {ends}{instead}", "", step)


def unknown(facts: ProviderFacts, exchanged: Exchanged, _: Failure) -> Finding:
    """Explain that the provider does not know the model that it was asked for."""
    return not_listed(facts, exchanged.model, _today(exchanged.at), exchanged.said.message if exchanged.said else "")


def not_listed(facts: ProviderFacts, model: str, today: date, said: str = "") -> Finding:
    """Explain that the provider does not have *model*: as it *said* itself, or as its list shows."""
    ended, successor = fate(model, today)
    close = [name for name in nearest(model, facts.models, facts.preset) if name != model]
    if ended is not None:
        why = f"it reached its end of life on {ended}"
        steps = [f"use {successor} in its place" if successor else "use another model"]
    elif facts.config.preset == "ollama":
        why = "Ollama serves what was pulled, under the name that `ollama list` shows"
        steps = [f"$ ollama pull {model}"]
    elif model in facts.models:
        why, steps = "it is on the list of models: the key's project may not use it", ["switch it on in the console"]
    else:
        why, steps = "the name is not one that this provider knows, or the key's project may not use it", []
    if close and ended is None:
        steps.append(f"is one of these meant: {', '.join(close)}?")
    steps.append(f"see all: $ failsafe doctor {facts.name} --json") if facts.models and not close else None
    return error(
        "model-unknown", facts.name, f"does not know the model {model}" + (f": {said}" if said else ""), why, *steps,
    )  # fmt: skip


def compare(facts: ProviderFacts, used: tuple[str, ...], today: date) -> Iterator[Finding]:
    """
    Compare what is *used* with what the provider lists.

    Args:
        facts: What was seen of the provider.
        used: Ids of models that the settings name for it.
        today: The day.
    """
    retiring = {model: facts.retiring[model] for model in used if model in facts.retiring}
    for model, day in retiring.items():
        yield warning(
            "model-ending", facts.name, f"{model} is shut down on {day}, as the provider's list says", "",
            "name another model in the settings before",
        )  # fmt: skip
    if facts.all_models and facts.config.preset != "azure":  # whose list is not that of the deployments
        for model in used:
            if model not in facts.models:
                yield not_listed(facts, model, today)


def _today(at: float) -> date:
    return datetime.fromtimestamp(at, UTC).date()
