"""Several fake providers at once."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from failsafe import checks
from failsafe.catalog import catalog
from failsafe.clock import SYSTEM_CLOCK, Clock, Random
from failsafe.errors import ConfigError
from failsafe.sim.plan import Step
from failsafe.sim.provider import FakeProvider
from failsafe.sim.scenarios import behaviour_named

_PROVIDER_KEYS = frozenset(
    {"vendor", "dialect", "key", "models", "port", "behaviour", "latency", "latency_jitter", "schedule"}
)
_ANY_KEY = ["sk-sim-any-7f3a9c52e1d84b60"]
_STEP_KEYS = frozenset({"at", "behaviour", "latency", "latency_jitter"})


class FakeCloud:
    """
    Fake providers that start and stop together. Thread-safe.

    Args:
        providers: The providers, none of them started.

    Raises:
        ConfigError: Two have the same name, or there is none.
    """

    def __init__(self, providers: Sequence[FakeProvider]) -> None:
        if not providers:
            raise ConfigError("providers = []: at least one provider is needed")
        self._providers = {provider.name: provider for provider in providers}
        if len(self._providers) < len(providers):
            checks.refuse("providers", [provider.name for provider in providers], "names that differ are needed")

    @classmethod
    def of(cls, *names: str, clock: Clock = SYSTEM_CLOCK, random: Random | None = None) -> Self:
        """Healthy providers by vendor name; without a name: ``openai``, ``anthropic`` and ``gemini``."""
        chosen = names or ("openai", "anthropic", "gemini")
        return cls([FakeProvider(name, clock=clock, random=random) for name in chosen])

    @classmethod
    def from_toml(cls, text: str, *, clock: Clock = SYSTEM_CLOCK, random: Random | None = None) -> Self:
        """
        Providers described in TOML.

        One table a provider, ``[providers.NAME]``, with any of ``vendor``, ``dialect``, ``key``, ``models``,
        ``port``, ``behaviour`` (a name of ``BEHAVIOURS``), ``latency``, ``latency_jitter`` (seconds) and
        ``schedule`` (a list of ``{at = SECONDS, behaviour = NAME}``).

        Raises:
            ConfigError: The text is no TOML, or says something else.
        """
        try:
            tables = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"the simulation's TOML cannot be read: {error}") from None
        _only_known("", tables, frozenset({"providers"}))
        providers = tables.get("providers", {})
        if not isinstance(providers, dict):
            checks.refuse("providers", providers, "tables [providers.NAME] are needed")
        return cls([_provider(name, table, clock, random) for name, table in providers.items()])

    def __getitem__(self, name: str) -> FakeProvider:
        """The provider called *name*."""
        return self._providers[name]

    def __iter__(self) -> Iterator[FakeProvider]:
        return iter(self._providers.values())

    def __len__(self) -> int:
        return len(self._providers)

    def __repr__(self) -> str:
        return f"<FakeCloud {', '.join(self._providers)}>"

    def start(self) -> Self:
        """Start every provider; when one cannot be, none is left running."""
        try:
            for provider in self:
                provider.start()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop every provider."""
        for provider in self:
            provider.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def schedule(self, steps: Mapping[str, Sequence[Step]]) -> None:
        """From now on let the providers named in *steps* go through theirs."""
        for name, each in steps.items():
            self[name].schedule(each)

    def as_environment(self) -> dict[str, str]:
        """
        The variables under which clients look for these providers (``OPENAI_API_KEY``, ``OPENAI_BASE_URL``, ...).

        A vendor whose address no variable may change is left out, so that no client takes a fake key to the real
        address; of two providers of one vendor, the first is meant. :meth:`as_toml` knows no such limits.
        """
        variables: dict[str, str] = {}
        for provider in self:
            preset = catalog().presets.get(provider.vendor)
            if preset is None or preset.base_url_env is None or preset.base_url_env in variables:
                continue
            variables[preset.key_env[0]] = provider.key
            variables[preset.base_url_env] = _address(provider)
        return variables

    def as_toml(self) -> str:
        """A ``failsafe.toml`` for these providers, in the order in which they were given."""
        return "\n".join(_table(priority, provider) for priority, provider in enumerate(self, start=1))


def _address(provider: FakeProvider) -> str:
    """The address as the vendor's variable gives it: Azure's and Groq's without a path."""
    if provider.vendor in ("azure", "groq"):
        return "/".join(provider.base_url.split("/")[:3])
    return provider.base_url


def _table(priority: int, provider: FakeProvider) -> str:
    lines = [
        f"[providers.{json.dumps(provider.name)}]",
        f"base_url = {json.dumps(provider.base_url)}",
        f"dialect = {json.dumps(provider.dialect)}",
        f"priority = {priority}",
        f"api_key = {json.dumps(list(provider.keys) or _ANY_KEY)}",
    ]
    if provider.vendor in catalog().presets:
        lines.append(f"preset = {json.dumps(provider.vendor)}")
    if provider.models:
        lines.append(f"models = {json.dumps(list(provider.models))}")
    return "\n".join(lines) + "\n"


def _provider(name: str, table: Any, clock: Clock, random: Random | None) -> FakeProvider:
    if not isinstance(table, dict):
        checks.refuse(f"providers.{name}", table, "a table is needed")
    _only_known(f"providers.{name}.", table, _PROVIDER_KEYS)
    provider = FakeProvider(
        name,
        dialect=table.get("dialect"),
        vendor=table.get("vendor"),
        key=table.get("key", ""),
        models=table.get("models", ()),
        port=table.get("port", 0),
        clock=clock,
        random=random,
    )
    provider.schedule(_steps(name, table))
    return provider


def _steps(name: str, table: Mapping[str, Any]) -> list[Step]:
    steps = [_step({"at": 0, "behaviour": table.get("behaviour", "healthy")}, table)]
    for number, entry in enumerate(table.get("schedule", ())):
        where = f"providers.{name}.schedule[{number}]"
        if not isinstance(entry, dict) or not {"at", "behaviour"} <= entry.keys():
            checks.refuse(where, entry, "{at = SECONDS, behaviour = NAME} is needed")
        _only_known(f"{where}.", entry, _STEP_KEYS)
        steps.append(_step(entry, table))
    return steps


def _step(entry: Mapping[str, Any], table: Mapping[str, Any]) -> Step:
    """One step; where it gives no latency, the provider's holds, and else the behaviour's own."""
    behaviour = behaviour_named(entry["behaviour"])
    settings = {
        name: entry.get(name, table.get(name))
        for name in ("latency", "latency_jitter")
        if name in entry or name in table
    }
    return checks.number("at", entry["at"], least=0), replace(behaviour, **settings)


def _only_known(where: str, table: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in table:
        if name not in known:
            checks.refuse(
                f"{where}{name}", table[name], f"there is no such setting; known are {', '.join(sorted(known))}"
            )
