"""The prices of the article that the design began with: claims, kept apart from everything that is reckoned with."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import cache

import msgspec

from failsafe.pricing import Price


class ArticlePrices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    The whole of ``article_prices.toml``: USD per million tokens, whether of the prompt or the answer.

    Attributes:
        mark: What has to stand beside each of them.
        as_of: When they were claimed.
        official: What the article calls the official price, by model.
        holysheep: What it says that HolySheep AI charges.
    """

    mark: str
    as_of: date
    official: dict[str, Decimal]
    holysheep: dict[str, Decimal]

    def price(self, column: str, model: str) -> Price | None:
        """What *model* costs by the *column* ``official`` or ``holysheep``; None where the article does not say."""
        rate: Decimal | None = getattr(self, column).get(model)
        if rate is None:
            return None
        return Price(input=rate, output=rate, assumed=True, source=self.mark, as_of=self.as_of)


@cache
def article_prices() -> ArticlePrices:
    """The shipped figures, read once a process."""
    from importlib.resources import files  # slow to import, and hardly any program reads these

    return msgspec.toml.decode(files("failsafe").joinpath("article_prices.toml").read_bytes(), type=ArticlePrices)
