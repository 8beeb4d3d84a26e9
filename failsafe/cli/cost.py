"""``failsafe cost``: what was spent, and what a month of tokens would cost, each beside another price."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from failsafe import savings
from failsafe.article_prices import article_prices
from failsafe.checks import suggestion
from failsafe.cli import cost_view, price_lists
from failsafe.cli.amounts import GROUPED, MIX, TOKENS
from failsafe.cli.cost_view import Account, Estimate
from failsafe.cli.output import json_option, print_json
from failsafe.cli.price_lists import ARTICLE_MODELS, VENDOR, Priced
from failsafe.cli.store_access import file_of, readable, store_options
from failsafe.cli.times import LENGTH, MONTH
from failsafe.clock import SYSTEM_CLOCK
from failsafe.errors import ConfigError
from failsafe.ledger import days_of
from failsafe.savings import Load, PricesOf
from failsafe.telemetry.reader import StoreReader
from failsafe.telemetry.views import CostRow

_USUAL_MIX = (3.0, 1.0)
_EACH = ("day", "provider", "model")
"""What has to be kept apart to be priced by the day, whatever is shown."""


@click.command(short_help="Show what was spent, or what a month would cost.")
@click.option("-n", "--tokens", type=TOKENS, metavar="NUMBER",
              help="Estimate a month of so many: 10M, 1.5B, 250k. Else what was really spent is shown.")  # fmt: skip
@click.option("-b", "--baseline", metavar="PROVIDER", default=VENDOR, show_default=True,
              help="Whom to compare with: a provider, PROVIDER:MODEL, or vendor (list prices).")  # fmt: skip
@click.option("-m", "--model", "models", multiple=True, metavar="MODEL",
              help="Estimate this model, and no other; may be repeated.")  # fmt: skip
@click.option("--mix", type=MIX, metavar="IN:OUT", help="Parts of prompt and of answer in the estimate (3:1).")
@click.option("--cached", type=click.FloatRange(0, 1), metavar="SHARE",
              help="Share of the prompts that is read from a provider's cache (0).")  # fmt: skip
@click.option("--measured", is_flag=True, help="Estimate with the mix and the cached share of what was recorded here.")
@click.option("--prices", type=click.Choice(["catalog", "article"]), default="catalog", show_default=True,
              help="Estimate with other prices: article's are claims that nobody has verified.")  # fmt: skip
@click.option("-w", "--window", type=LENGTH, default=MONTH, metavar="LENGTH",
              help="How far back what was spent is added up, in whole days of UTC (30d).")  # fmt: skip
@click.option("--by", type=GROUPED, default=("provider", "model"), metavar="WHAT",
              help="Show what was spent by these of day, provider, model, tag (provider,model).")  # fmt: skip
@store_options
@json_option
def cost(
    tokens: int | None,
    baseline: str,
    models: tuple[str, ...],
    mix: tuple[float, float] | None,
    cached: float | None,
    measured: bool,
    prices: str,
    window: float,
    by: tuple[str, ...],
    path: Path | None,
    store_path: Path | None,
    as_json: bool,
) -> None:
    """
    Show what was spent, as recorded by all programs, and what that has saved against another price.

    With --tokens: what a month of so many tokens costs, by model and provider, at today's prices of the catalogue and
    of your settings. No key is needed, and nobody is asked.
    """
    today = datetime.fromtimestamp(SYSTEM_CLOCK.time(), UTC).date()
    if tokens is None:
        _refuse_without_tokens(models, mix, cached, measured, prices)
        rows = _recorded(path, store_path, window, tuple(dict.fromkeys((*_EACH, *by))))
        _show_spent(_account(rows, by, window, baseline, price_lists.everyone(path)), as_json=as_json)
        return
    load = Load.divided(tokens, *_division(mix, cached, measured, path, store_path, window))
    estimate = _of_article(models, load) if prices == "article" else _of_catalog(models, load, today, baseline, path)
    if as_json:
        print_json(cost_view.estimate_as_json(estimate))
    else:
        cost_view.show_estimate(estimate)


def _refuse_without_tokens(models: Sequence[str], mix: object, cached: object, measured: bool, prices: str) -> None:
    given = {
        "--model": bool(models),
        "--mix": mix is not None,
        "--cached": cached is not None,
        "--measured": measured,
        "--prices": prices == "article",
    }
    for option, is_given in given.items():
        if is_given:
            raise click.UsageError(f"{option} belongs to an estimate: --tokens 10M is needed beside it.")


def _division(
    mix: tuple[float, float] | None,
    cached: float | None,
    measured: bool,
    path: Path | None,
    store_path: Path | None,
    window: float,
) -> tuple[tuple[float, float], float]:
    """How the tokens are divided, and the share that is cached."""
    if not measured:
        return mix or _USUAL_MIX, cached or 0.0
    if mix is not None or cached is not None:
        raise click.UsageError("--measured takes the mix and the cached share from what was recorded: leave both out.")
    found = savings.measured_mix(_recorded(path, store_path, window, ()))
    if found is None:
        raise ConfigError("--measured: no answer was recorded in this time; name a longer --window, or a --mix")
    return found


def _recorded(path: Path | None, store_path: Path | None, window: float, by: Sequence[str]) -> list[CostRow]:
    file = file_of(path, store_path)
    first, last = days_of(window, SYSTEM_CLOCK.time())
    with readable(file), StoreReader.open(file) as reader:
        return reader.costs(first, last, by)


def _account(
    rows: Sequence[CostRow], by: Sequence[str], window: float, baseline: str, everyone: Sequence[Priced]
) -> Account:
    name, prices = price_lists.baseline(baseline, everyone)
    spent = [savings.against(row, savings.price_on(prices(row.model), date.fromisoformat(row.day))) for row in rows]
    first, last = days_of(window, SYSTEM_CLOCK.time())
    (total,) = savings.grouped(spent, ()) or [savings.Spent(row=CostRow())]
    return Account(first, last, tuple(by), name, savings.grouped(spent, by), total)


def _show_spent(account: Account, *, as_json: bool) -> None:
    if as_json:
        print_json(cost_view.account_as_json(account))
    else:
        cost_view.show_account(account)


def _of_article(models: Sequence[str], load: Load) -> Estimate:
    providers, official = price_lists.of_article()
    claimed = article_prices()
    columns = [(name, prices, None) for name, prices in providers]
    return _estimate(models or ARTICLE_MODELS, load, claimed.as_of, columns, official, claimed.mark)


def _of_catalog(models: Sequence[str], load: Load, today: date, baseline: str, path: Path | None) -> Estimate:
    everyone = price_lists.everyone(path)
    _refuse_unknown(models, everyone)
    against = price_lists.baseline(baseline, everyone)
    providers = [(each.name, each.prices, each) for each in everyone]
    return _estimate(models or price_lists.usual_models(path, everyone), load, today, providers, against, "")


def _refuse_unknown(models: Sequence[str], everyone: Sequence[Priced]) -> None:
    for model in models:
        if all(each.sent(model) is None for each in everyone):
            known = [name for each in everyone for name in each.models()]
            guess = suggestion(model, known)
            raise ConfigError(f"--model {model}: nobody in the settings or the catalogue serves it{guess}")


def _estimate(
    models: Sequence[str],
    load: Load,
    day: date,
    providers: Sequence[tuple[str, PricesOf, Priced | None]],
    against: tuple[str, PricesOf],
    mark: str,
) -> Estimate:
    found: list[Any] = []
    notes: dict[tuple[str, str], str] = {}
    for model in models:
        serving = [(name, prices) for name, prices, each in providers if each is None or each.sent(model) is not None]
        found += savings.offers(model, load, day, serving, against)
        for name, _, each in providers:
            ended = None if each is None else each.ended(model, day)
            if ended is not None:
                notes[model, name] = f"ended on {ended}"
    return Estimate(load, day, against[0], found, notes, mark)
