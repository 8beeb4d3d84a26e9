"""``failsafe check``: are the settings right, and does every provider answer?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from failsafe.catalog import ModelInfo, catalog
from failsafe.cli.settings import cheapest_model, config_option, load
from failsafe.clock import SYSTEM_CLOCK
from failsafe.config import ProviderConfig, RetryConfig, RouterConfig
from failsafe.errors import CallFailed, FailsafeError
from failsafe.providers.diagnosis import suspicion
from failsafe.router import Router

_SOON = 60  # days before the end of a model at which a warning is due


class Finding(NamedTuple):
    """One thing that was looked at; ``level`` is ``ok``, ``warning`` or ``error``."""

    level: str
    subject: str
    text: str


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.option("--live", is_flag=True, help="Also ask each provider for one short answer (costs a few tokens).")
@click.option("-t", "--timeout", type=float, default=20.0, show_default=True, help="Seconds for each live call.")
def check(path: Path | None, as_json: bool, live: bool, timeout: float) -> None:
    """
    Check the settings, the shape of every key, and the models' end-of-life dates.

    Exits with 1 if anything is wrong, with 2 if the settings cannot be loaded.
    """
    config = load(path)
    findings = [*inspect(config, _today())]
    if live:
        findings += _ask_all([provider for provider in config.providers if provider.enabled], timeout)
    if as_json:
        click.echo(msgspec.json.encode([finding._asdict() for finding in findings]))
    else:
        _show(findings)
    sys.exit(any(finding.level == "error" for finding in findings))


def _today() -> date:
    return datetime.fromtimestamp(SYSTEM_CLOCK.time(), UTC).date()


def inspect(config: RouterConfig, today: date) -> Iterator[Finding]:
    """What can be said of *config* without sending anything."""
    for provider in config.providers:
        if provider.enabled:
            yield from _inspect_keys(provider)
            yield from _inspect_models(provider, today)
    for alias in config.aliases:
        yield from _inspect_alias(config, alias, today)
    enabled = [provider.name for provider in config.providers if provider.enabled]
    if len(enabled) == 1:
        yield Finding("warning", enabled[0], "is the only provider: when it fails, nobody is left to ask")


def _inspect_keys(provider: ProviderConfig) -> Iterator[Finding]:
    prefixes = {name: preset.key_prefixes for name, preset in catalog().presets.items()}
    for key in provider.keys:
        problem = suspicion(key, provider=provider.name, vendor=provider.vendor, prefixes=prefixes)
        where = f"key {key.fingerprint}" + (f" from {key.source}" if key.source else " (written in the settings)")
        yield Finding("error" if problem else "ok", provider.name, f"{where}: {problem or 'its shape is plausible'}")
    if not provider.keys:
        yield Finding("ok", provider.name, "is used without a key")


def _inspect_models(provider: ProviderConfig, today: date) -> Iterator[Finding]:
    for model, sent in (provider.models or {}).items() if isinstance(provider.models, Mapping) else ():
        yield from _ending(provider.name, model, provider.model_info(sent), today)


def _inspect_alias(config: RouterConfig, alias: str, today: date) -> Iterator[Finding]:
    routes = config.targets(alias)
    names = [route.provider.name for route in routes]
    if len(names) == 1:
        yield Finding("warning", alias, f"only {names[0]} serves this alias: when it fails, nobody is left to ask")
    else:
        yield Finding("ok", alias, f"is served by {', '.join(names)}, in this order")
    for provider, models in routes:
        for model in models:
            yield from _ending(f"{alias} at {provider.name}", model, provider.model_info(model), today)


def _ending(subject: str, model: str, info: ModelInfo, today: date) -> Iterator[Finding]:
    ends = info.end_of_life
    if ends is None or (ends - today).days > _SOON:
        return
    instead = f"; the vendor names {info.successor} in its place" if info.successor else ""
    if ends <= today:
        yield Finding("error", subject, f"{model} reached its end of life on {ends}{instead}")
    else:
        yield Finding("warning", subject, f"{model} reaches its end of life on {ends}{instead}")


def _ask_all(providers: list[ProviderConfig], timeout: float) -> list[Finding]:
    """Ask all at once, so that one that hangs delays no other."""
    with ThreadPoolExecutor(min(len(providers), 16)) as pool:
        return list(pool.map(lambda provider: ask(provider, timeout), providers))


def ask(provider: ProviderConfig, timeout: float) -> Finding:
    """Ask *provider* for one short answer within *timeout* seconds."""
    model = cheapest_model(provider)
    if model is None:
        return Finding("warning", provider.name, "was not asked: list its models, or write models = [...]")
    alone = RouterConfig(providers=[provider], retry=RetryConfig(max_retries=0))
    with Router(alone) as router:
        try:
            reply = router.chat("Reply with: OK", model=f"{provider.name}:{model}", timeout=timeout, max_tokens=16)
        except CallFailed as error:
            said = error.attempts[-1].message if error.attempts else str(error)
            return Finding("error", provider.name, f"asked for {model}: {said}")
        except FailsafeError as error:
            return Finding("error", provider.name, str(error))
    return Finding("ok", provider.name, f"{reply.model} answered in {reply.latency_ms:.0f} ms")


def _show(findings: list[Finding]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", "what", "finding"):
        table.add_column(column, overflow="fold")
    styles = {"ok": "green", "warning": "yellow", "error": "red"}
    for level, subject, text in findings:
        table.add_row(f"[{styles[level]}]{level}[/]", escape(subject), escape(text))
    Console().print(table)
