"""What ``failsafe providers`` shows: tables for a terminal, a line a thing for everything else, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, NamedTuple

import click
from rich.table import Table
from rich.text import Text

from failsafe.cli.output import clean, console, in_terminal
from failsafe.cli.price_lists import Priced
from failsafe.cli.status_view import milliseconds, percent, share
from failsafe.cli.times import named
from failsafe.money import in_usd
from failsafe.pricing import Price
from failsafe.savings import price_on

_WIDE = 110
_WHOLE = 0.99


class Measured(NamedTuple):
    """What the programs of this user have seen of a provider; None: nothing."""

    p50_ms: float | None = None
    p95_ms: float | None = None
    uptime: float | None = None
    coverage: float = 0.0
    answered: int = 0


class Listed(NamedTuple):
    """A provider, and what was measured of it."""

    provider: Priced
    measured: Measured


# All of them.


def show_all(listed: Sequence[Listed], today: date, window: float) -> None:
    """Print a line a provider."""
    if not in_terminal():
        for each in listed:
            click.echo(_line(each, today, window))
        return
    terminal = console()
    terminal.print(_table(listed, today, window, terminal.width))
    for line in _footnotes(listed, window):
        terminal.print(Text(line, "dim"))


def _table(listed: Sequence[Listed], today: date, window: float, width: int) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
    table.add_column("provider", no_wrap=True, overflow="ellipsis")
    table.add_column("models", justify="right", no_wrap=True)
    for title in ("in", "out"):
        table.add_column(title, justify="right", no_wrap=True)
    for title in ("SLA", "pays with", "free credit"):
        table.add_column(title, overflow="fold")
    table.add_column(f"p95 {named(window)}" if wide else "p95", justify="right", no_wrap=True)
    table.add_column(f"up {named(window)}" if wide else "up", justify="right", no_wrap=True)
    if wide:
        table.add_column("claims read in", overflow="fold")
    for each in listed:
        table.add_row(*_cells(each, today, wide=wide))
    return table


def _cells(each: Listed, today: date, *, wide: bool) -> list[str]:
    provider, claims = each.provider, each.provider.preset.claims
    price = _of_default(provider, today)
    measured = each.measured
    cells = [
        f"{clean(provider.name)}{'*' if provider.configured else ''}",
        str(len(provider.models()) or "any"),
        *(["-", "-"] if price is None else [in_usd(price.input), in_usd(price.output)]),
        *_claimed(provider),
        milliseconds(measured.p95_ms),
        _uptime(measured),
    ]
    source = "-" if claims is None else f"{clean(claims.source)}, {claims.as_of}"
    return [*cells, source] if wide else cells


def _claimed(provider: Priced) -> list[str]:
    claims = provider.preset.claims
    if claims is None:
        return ["-", "-", "-"]
    sla = "-" if claims.sla is None else f"{claims.sla:g} %"
    return [sla, ", ".join(claims.payment) or "-", claims.free_credit or "-"]


def _uptime(measured: Measured) -> str:
    if measured.uptime is None or measured.coverage >= _WHOLE:
        return percent(measured.uptime)
    return f"{percent(measured.uptime)} of {share(measured.coverage)}"


def _of_default(provider: Priced, today: date) -> Price | None:
    """The price of the model that it is tried with: its preset's cheapest, else the first it lists."""
    model = _default(provider)
    return None if model is None else price_on(provider.prices(model) or provider.config.price(model), today)


def _default(provider: Priced) -> str | None:
    configured = provider.config.known_models if provider.config.models is not None else ()
    return next(iter(configured), None) or provider.preset.default_model


def _footnotes(listed: Sequence[Listed], window: float) -> Iterator[str]:
    yield ""
    yield "in, out: USD for a million tokens of its cheapest model; failsafe providers NAME shows all of them"
    yield "SLA, pays with, free credit: what it says of itself, which nobody has checked; - is not known"
    yield f"p95, up: seen by your own programs in the last {named(window)}; - is nothing"
    if any(each.provider.configured for each in listed):
        yield "*: in your settings"


def _line(each: Listed, today: date, window: float) -> str:
    provider, claims, measured = each.provider, each.provider.preset.claims, each.measured
    model, price = _default(provider), _of_default(provider, today)
    sla, payment, credit = _claimed(provider)
    whose = " (in your settings)" if provider.configured else ""
    parts = [
        f"{clean(provider.name)}{whose}: {len(provider.models()) or 'any'} models",
        f"{clean(model)} {_rates(price)}" if model else "price not known",
        f"SLA {sla}", f"pays with {payment}", f"free credit {credit}",
    ]  # fmt: skip
    if claims is not None:
        latency = "" if claims.latency_ms is None else f"claims to add at most {milliseconds(claims.latency_ms)}; "
        parts.append(f"{latency}claims read in {clean(claims.source)}, {claims.as_of}")
    parts.append(
        f"seen in {named(window)}: p50 {milliseconds(measured.p50_ms)}, p95 {milliseconds(measured.p95_ms)}, "
        f"up {_uptime(measured)}"
    )
    return "; ".join(parts)


def _rates(price: Price | None) -> str:
    if price is None:
        return "price not known"
    return f"{in_usd(price.input)} in and {in_usd(price.output)} out for a million"


# One after the other.


def show_each(listed: Sequence[Listed], today: date, window: float) -> None:
    """Print each provider with all its models."""
    if not in_terminal():
        for each in listed:
            click.echo(_line(each, today, window))
            for model, price in _priced(each.provider, today):
                click.echo(f"{clean(each.provider.name)}: {clean(model)}: {_rates(price)}{_origin(price)}")
        return
    terminal = console()
    for number, each in enumerate(listed):
        if number:
            terminal.print()
        terminal.print(Text(clean(each.provider.preset.title or each.provider.name), "bold"))
        for line in _facts(each, window):
            terminal.print(line, soft_wrap=False)
        terminal.print()
        terminal.print(_models(each.provider, today, terminal.width))


def _facts(each: Listed, window: float) -> Iterator[str]:
    provider, claims, measured = each.provider, each.provider.preset.claims, each.measured
    yield f"at {clean(provider.config.base_url)}, {provider.config.dialect} dialect"
    if claims is not None:
        sla, payment, credit = _claimed(provider)
        latency = "" if claims.latency_ms is None else f", adds at most {milliseconds(claims.latency_ms)}"
        yield f"claims: SLA {sla}{latency}; pays with {payment}; free credit {credit}"
        yield f"  ({clean(claims.source)}, {claims.as_of}; nobody has checked it)"
    yield (
        f"seen in {named(window)}: {measured.answered:,} answers, p50 {milliseconds(measured.p50_ms)}, "
        f"p95 {milliseconds(measured.p95_ms)}, up {_uptime(measured)}"
    )


def _priced(provider: Priced, today: date) -> Iterator[tuple[str, Price | None]]:
    for model in provider.models():
        yield model, price_on(provider.prices(model), today)


def _models(provider: Priced, today: date, width: int) -> Table:
    wide = width >= _WIDE
    table = Table(box=None, pad_edge=False, padding=(0, 2 if wide else 1, 0, 0))
    table.add_column("model", overflow="fold")
    for title in ("in", "cached", "out"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("read in", overflow="fold")
    for model, price in _priced(provider, today):
        if price is None:
            table.add_row(clean(model), "-", "-", "-", "")
            continue
        cached = "-" if price.cached_input is None else in_usd(price.cached_input)
        table.add_row(clean(model), in_usd(price.input), cached, in_usd(price.output), _origin(price).lstrip("; "))
    return table


def _origin(price: Price | None) -> str:
    if price is None or not price.source:
        return ""
    assumed = "assumed; " if price.assumed else ""
    return f"; {assumed}{clean(price.source)}{f', {price.as_of}' if price.as_of else ''}"


# JSON.


def as_json(each: Listed, today: date) -> dict[str, Any]:
    """Everything, for programs."""
    provider, claims, measured = each.provider, each.provider.preset.claims, each.measured
    return {
        "provider": provider.name,
        "title": provider.preset.title,
        "base_url": provider.config.base_url,
        "configured": provider.configured,
        "default_model": _default(provider),
        "models": [_model_as_json(model, price) for model, price in _priced(provider, today)],
        "claims": claims,
        "measured": measured._asdict(),
    }


def _model_as_json(model: str, price: Price | None) -> dict[str, Any]:
    return {
        "model": model,
        "input": price and price.input,
        "cached_input": price and price.cached_input,
        "cache_write": price and price.cache_write,
        "output": price and price.output,
        "assumed": price and price.assumed,
        "source": price and price.source,
        "as_of": price and price.as_of,
    }
