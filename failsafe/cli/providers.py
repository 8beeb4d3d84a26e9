"""``failsafe providers``: what the providers claim, with source and date, beside what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click

from failsafe.checks import suggestion
from failsafe.cli import price_lists, providers_view
from failsafe.cli.names import complete_provider
from failsafe.cli.output import json_option, print_json
from failsafe.cli.price_lists import Priced
from failsafe.cli.providers_view import Listed, Measured
from failsafe.cli.store_access import located, store_options
from failsafe.cli.times import LENGTH, MONTH
from failsafe.clock import SYSTEM_CLOCK
from failsafe.errors import ConfigError, StoreUnavailable
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.views import Overview

_NOTHING_MEASURED = Measured()


@click.command(short_help="Compare what providers claim, and what was measured.")
@click.argument("names", nargs=-1, metavar="[PROVIDER]...", shell_complete=complete_provider)
@click.option("-w", "--window", type=LENGTH, default=MONTH, metavar="LENGTH",
              help="How far back latency and uptime are looked at (30d).")  # fmt: skip
@store_options
@json_option
def providers(names: tuple[str, ...], window: float, path: Path | None, store_path: Path | None, as_json: bool) -> None:
    """
    Compare the providers of your settings and of the catalogue: what they say of themselves, with where and when that
    was read, beside the latency and the uptime that your own programs have seen. With PROVIDER: all of its models, with
    their prices.

    No key is needed, and nobody is asked.
    """
    everyone = _chosen(price_lists.everyone(path), names)
    measured = _measured(path, store_path, window)
    listed = [Listed(each, _of(each, measured)) for each in everyone]
    today = datetime.fromtimestamp(SYSTEM_CLOCK.time(), UTC).date()
    if as_json:
        print_json([providers_view.as_json(each, today) for each in listed])
    elif names:
        providers_view.show_each(listed, today, window)
    else:
        providers_view.show_all(listed, today, window)


def _chosen(everyone: Sequence[Priced], names: Sequence[str]) -> Sequence[Priced]:
    by_name = {each.name: each for each in everyone}
    for name in names:
        if name not in by_name:
            raise ConfigError(
                f"PROVIDER {name}: one of {', '.join(by_name)} is needed{suggestion(name, list(by_name))}"
            )
    return [by_name[name] for name in names] or everyone


def _measured(path: Path | None, store_path: Path | None, window: float) -> Sequence[Overview]:
    """What the store has; nothing where there is none, which is no mistake here."""
    file = located(path, store_path).path
    now = SYSTEM_CLOCK.time()
    with suppress(StoreUnavailable):
        if file is not None:
            with StoreReader.open(file) as reader:
                return reader.overview(now - window, now)
    if store_path is not None:
        raise StoreUnavailable(f"the store {store_path} cannot be read")
    return ()


def _of(provider: Priced, measured: Sequence[Overview]) -> Measured:
    """What was measured of *provider* at its own address; of another server of that name nothing."""
    mine = [each for each in measured if (each.target.name, each.target.base_url) == _address(provider)]
    if not mine:
        return _NOTHING_MEASURED
    (overview,) = mine
    return Measured(
        p50_ms=overview.latency.p50,
        p95_ms=overview.latency.p95,
        uptime=overview.uptime.percentage,
        coverage=overview.uptime.coverage,
        answered=overview.counts.answered,
    )


def _address(provider: Priced) -> tuple[str, str]:
    return provider.name, provider.config.base_url
