"""Numbers of tokens, and how they are divided, as options take them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click

from failsafe.ledger import GROUPS
from failsafe.savings import MOST_TOKENS

if TYPE_CHECKING:
    _Whole = click.ParamType[int]
    _Pair = click.ParamType[tuple[float, float]]
    _Names = click.ParamType[tuple[str, ...]]
else:  # older clicks name no type
    _Whole = _Pair = _Names = click.ParamType

_AMOUNT = re.compile(r"(\d{1,19}(?:\.\d{1,18})?)([kmbt]?)", re.ASCII | re.IGNORECASE)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_MIX = re.compile(r"(\d{1,9}(?:\.\d{1,9})?):(\d{1,9}(?:\.\d{1,9})?)", re.ASCII)


class Tokens(_Whole):
    """A number of tokens such as ``10M``, ``1.5B``, ``250k`` or ``250000``."""

    name = "tokens"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return *value* as a whole number, or fail with what is allowed."""
        if isinstance(value, int):
            return value
        match = _AMOUNT.fullmatch(str(value).strip().replace("_", "").replace(",", ""))
        tokens = Decimal(match[1]) * _FACTORS[match[2].lower()] if match else Decimal(0)
        if not 1 <= tokens <= MOST_TOKENS or tokens != int(tokens):
            self.fail(f"{value!r} is no number of tokens: 250000, 250k, 10M and 1.5B are.", param, ctx)
        return int(tokens)


class Mix(_Pair):
    """Parts of the prompts and of the answers, such as ``3:1``."""

    name = "mix"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        """Return *value* as a pair of numbers, or fail with what is allowed."""
        if isinstance(value, tuple):
            return value
        match = _MIX.fullmatch(str(value).strip())
        parts = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
        if not sum(parts):
            self.fail(f"{value!r} is no mix: 3:1 (three parts of prompt and one of answer) or 0.8:0.2 are.", param, ctx)
        return parts


class Groups(_Names):
    """What costs are grouped by, such as ``provider,model``."""

    name = "groups"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return *value* as names, each once, or fail with what is allowed."""
        if isinstance(value, tuple):
            return value
        names = [name.strip() for name in str(value).split(",")]
        for name in names:
            if name not in GROUPS:
                self.fail(
                    f"{name!r} is none of {', '.join(GROUPS)}; several go with commas: provider,model.", param, ctx
                )
        return tuple(dict.fromkeys(names))


TOKENS = Tokens()
MIX = Mix()
GROUPED = Groups()
