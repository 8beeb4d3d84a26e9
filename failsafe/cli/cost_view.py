"""What ``failsafe cost`` shows: tables for a terminal, a line a thing for everything else, and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import click
from rich.table import Table
from rich.text import Text

from failsafe.cli.output import clean, console, in_terminal
from failsafe.money import in_usd
from failsafe.savings import Load, Offer, Spent

_WIDE = 110


class Estimate(NamedTuple):
    """
    What a month would cost.

    Attributes:
        load: The tokens.
        day: Whose prices these are.
        baseline: Whom it is compared with.
        offers: By model.
        notes: What has to be said of a model at a provider.
        mark: What has to be said of all prices, or "".
    """

    load: Load
    day: date
    baseline: str
    offers: Sequence[Offer]
    notes: Mapping[tuple[str, str], str]
    mark: str


class Account(NamedTuple):
    """What was spent from one day (UTC) to another, in groups, and all together."""

    first: str
    last: str
    by: tuple[str, ...]
    baseline: str
    groups: Sequence[Spent]
    total: Spent


# Estimates.


def show_estimate(estimate: Estimate) -> None:
    """Print it."""
    if not in_terminal():
        for line in estimate_lines(estimate):
            click.echo(line)
        return
    terminal = console()
    terminal.print(Text(_headline(estimate), "bold"))
    if estimate.mark:
        terminal.print(Text(estimate.mark, "bold yellow"))
    terminal.print()
    terminal.print(_offers(estimate, terminal.width))
    for line in _footnotes(estimate):
        terminal.print(Text(line, "dim"))


def _headline(estimate: Estimate) -> str:
    load = estimate.load
    cached = f", {_share(load.cached, load.prompt)} of it from the cache" if load.cached else ""
    divided = f"{amount(load.prompt)} of prompt{cached}, {amount(load.completion)} of answer"
    return f"{amount(load.tokens)} tokens a month ({divided}), prices of {estimate.day}"


def _share(part: int, whole: int) -> str:
    percent = part * 100 // whole
    return f"{percent} %" if percent else "<1 %"


def amount(tokens: int) -> str:
    """A number of tokens as the options take it, and exactly: ``10M``, ``7.5M``, ``1,234``."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if tokens >= size and tokens * 1000 % size == 0:
            return f"{Decimal(tokens) / size:f}{unit}"
    return f"{tokens:,}"


def _offers(estimate: Estimate, width: int) -> Table:
    table = _table(width)
    table.add_column("model", overflow="fold")
    table.add_column("provider", no_wrap=True, overflow="ellipsis")
    for title in ("in", "out", "a month", "saved", ""):
        table.add_column(title, justify="right", no_wrap=True)
    if width >= _WIDE:
        table.add_column("source", overflow="fold")
    last = ""
    for offer in estimate.offers:
        cells = _cells(offer, estimate)
        table.add_row(clean(offer.model) if offer.model != last else "", *cells, *_source(offer, width))
        last = offer.model
    return table


def _table(width: int) -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 2 if width >= _WIDE else 1, 0, 0))


def _cells(offer: Offer, estimate: Estimate) -> list[str | Text]:
    price = offer.price
    mark = "" if price is None or not price.assumed or estimate.mark else "*"
    note = " (ended)" if (offer.model, offer.provider) in estimate.notes else ""
    rates = ["-", "-"] if price is None else [in_usd(price.input), in_usd(price.output)]
    percent = "" if offer.saved_percent is None else f"{offer.saved_percent} %"
    return [f"{clean(offer.provider)}{mark}{note}", *rates, money(offer.usd), _saved(offer.saved), percent]


def _source(offer: Offer, width: int) -> list[str]:
    if width < _WIDE:
        return []
    price = offer.price
    return ["" if price is None else clean(f"{price.source}, {price.as_of}" if price.as_of else price.source)]


def money(usd: Decimal | None) -> str:
    """An amount, or ``-`` where it is not known."""
    return "-" if usd is None else in_usd(usd)


def _saved(saved: Decimal | None) -> Text:
    return Text(money(saved), "" if saved is None or not saved else "green" if saved > 0 else "red")


def _footnotes(estimate: Estimate) -> Iterator[str]:
    yield ""
    yield "in, out: USD for a million tokens; long prompts, and hours of much demand, may cost more"
    yield f"saved: against {_of_whom(estimate.baseline)}; per cent are rounded down, - is not known"
    if not estimate.mark and any(each.price is not None and each.price.assumed for each in estimate.offers):
        yield "*: not the provider's own word for all of it"
    yield from (f"{clean(model)} at {name}: {note}" for (model, name), note in estimate.notes.items())


def _of_whom(baseline: str) -> str:
    return "the list price of each model's vendor" if baseline == "vendor" else clean(baseline)


def estimate_lines(estimate: Estimate) -> Iterator[str]:
    """A line an offer, for grep and logs."""
    yield _headline(estimate) + (f"; {estimate.mark}" if estimate.mark else "")
    for offer in estimate.offers:
        price = offer.price
        costs = "price not known" if offer.usd is None else f"{in_usd(offer.usd)} a month"
        parts = [f"{clean(offer.model)} at {clean(offer.provider)}: {costs}"]
        if price is not None:
            parts.append(f"{in_usd(price.input)} in and {in_usd(price.output)} out for a million")
        if offer.saved is not None:
            parts.append(f"saves {money(offer.saved)} ({offer.saved_percent} %) against {offer.baseline}")
        if price is not None and not estimate.mark:
            assumed = "assumed; " if price.assumed else ""
            parts.append(f"{assumed}{clean(price.source)}{f', {price.as_of}' if price.as_of else ''}")
        note = estimate.notes.get((offer.model, offer.provider))
        yield "; ".join([*parts, *([note] if note else [])])


def estimate_as_json(estimate: Estimate) -> dict[str, Any]:
    """The same for programs."""
    load = estimate.load
    return {
        "tokens": load.tokens,
        "prompt_tokens": load.prompt,
        "cached_tokens": load.cached,
        "completion_tokens": load.completion,
        "prices_of": str(estimate.day),
        "mark": estimate.mark or None,
        "baseline": estimate.baseline,
        "offers": [_offer_as_json(each, estimate.notes.get((each.model, each.provider))) for each in estimate.offers],
    }


def _offer_as_json(offer: Offer, note: str | None) -> dict[str, Any]:
    price = offer.price
    return {
        "model": offer.model,
        "provider": offer.provider,
        "input": price and price.input,
        "cached_input": price and price.cached_input,
        "output": price and price.output,
        "usd": offer.usd,
        "baseline_usd": offer.baseline_usd,
        "saved_usd": offer.saved,
        "saved_percent": offer.saved_percent,
        "assumed": price and price.assumed,
        "source": price and price.source,
        "as_of": price and price.as_of,
        "note": note,
    }


# What was spent.


def show_account(account: Account) -> None:
    """Print it."""
    if not in_terminal():
        for line in account_lines(account):
            click.echo(line)
        return
    terminal = console()
    terminal.print(Text(_span(account), "bold"))
    if not account.groups:
        terminal.print("nothing was answered in this time")
        return
    terminal.print()
    terminal.print(_groups(account, terminal.width))
    for line in _remarks(account):
        terminal.print(Text(line, "dim"))


def _span(account: Account) -> str:
    return f"spent from {account.first} to {account.last} (days of UTC)"


def _groups(account: Account, width: int) -> Table:
    table = _table(width)
    for name in account.by:
        table.add_column(name, overflow="ellipsis", no_wrap=name != "model")
    for title in ("answers", "in", "out", "spent", "saved", ""):
        table.add_column(title, justify="right", no_wrap=True)
    for each in account.groups:
        names = [clean(getattr(each.row, name)) or "-" for name in account.by]
        table.add_row(*names, *_spent_cells(each))
    if len(account.groups) > 1:
        table.add_section()
        table.add_row(*_padded("all", len(account.by)), *_spent_cells(account.total), style="bold")
    return table


def _padded(word: str, cells: int) -> list[str]:
    return [word, *([""] * (cells - 1))]


def _spent_cells(each: Spent) -> list[str | Text]:
    row = each.row
    mark = "*" if row.unpriced else ""
    usd = "-" if _is_unknown(each) else f"{in_usd(row.usd)}{mark}"
    percent = "" if each.saved_percent is None else f"{each.saved_percent} %"
    return [
        f"{row.answers:,}", _short(row.prompt_tokens), _short(row.completion_tokens), usd,
        _saved(each.saved), percent,
    ]  # fmt: skip


def _is_unknown(each: Spent) -> bool:
    """Whether nothing is known of what it cost."""
    return each.row.unpriced > 0 and not each.row.usd


def _short(tokens: int) -> str:
    """About how many: ``950``, ``1.23M``."""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("k", 10**3)):
        if tokens >= size:
            return f"{tokens / size:.3g}{unit}" if tokens < 999.5 * size else f"{tokens / size:.0f}{unit}"
    return str(tokens)


def _remarks(account: Account) -> Iterator[str]:
    row = account.total.row
    yield ""
    yield f"saved: against {_of_whom(account.baseline)}; per cent are rounded down, - is not known"
    if row.unpriced:
        yield f"*: without {_count(row.unpriced, 'answer')} whose price is not known"
    if row.duplicates:
        yield f"{_count(row.duplicates, 'failed attempt')} may have been billed beside that"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def account_lines(account: Account) -> Iterator[str]:
    """A line a group, for grep and logs."""
    yield _span(account)
    for each in account.groups:
        names = ", ".join(f"{name} {clean(getattr(each.row, name)) or '-'}" for name in account.by)
        yield _line(names, each, account.baseline)
    yield _line("all", account.total, account.baseline) if account.groups else "nothing was answered in this time"


def _line(names: str, each: Spent, baseline: str) -> str:
    row = each.row
    costs = "price not known" if _is_unknown(each) else in_usd(row.usd)
    parts = [
        f"{names}: {costs} for {_count(row.answers, 'answer')}",
        f"{row.prompt_tokens:,} tokens in ({row.cached_tokens:,} cached) and {row.completion_tokens:,} out",
    ]
    if each.saved is not None:
        percent = "" if each.saved_percent is None else f" ({each.saved_percent} %)"
        parts.append(f"saved {in_usd(each.saved)}{percent} against {baseline}")
    if row.unpriced and not _is_unknown(each):
        parts.append(f"without {_count(row.unpriced, 'answer')} of unknown price")
    if row.duplicates:
        parts.append(f"{_count(row.duplicates, 'failed attempt')} may have been billed")
    return "; ".join(parts)


def account_as_json(account: Account) -> dict[str, Any]:
    """The same for programs."""
    return {
        "first_day": account.first,
        "last_day": account.last,
        "baseline": account.baseline,
        "groups": [_spent_as_json(each, account.by) for each in account.groups],
        "total": _spent_as_json(account.total, ()),
    }


def _spent_as_json(each: Spent, by: Sequence[str]) -> dict[str, Any]:
    row = each.row
    return {
        **{name: getattr(row, name) for name in by},
        "answers": row.answers,
        "prompt_tokens": row.prompt_tokens,
        "cached_tokens": row.cached_tokens,
        "cache_write_tokens": row.cache_write_tokens,
        "completion_tokens": row.completion_tokens,
        "reasoning_tokens": row.reasoning_tokens,
        "usd": row.usd,
        "unpriced": row.unpriced,
        "duplicates": row.duplicates,
        "baseline_usd": each.baseline_usd,
        "saved_usd": each.saved,
        "saved_percent": each.saved_percent,
    }
