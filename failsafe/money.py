"""Amounts of money as a person reads them."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Context, Decimal

_SHORT = Context(prec=3, rounding=ROUND_HALF_EVEN)
_WHOLE = Context(prec=60, rounding=ROUND_HALF_EVEN)
_CENT = Decimal("0.01")


def in_usd(amount: Decimal | float) -> str:
    """*amount* of USD: in cents from ten cents on (``$1,234.50``), else with three digits that count (``$0.00285``)."""
    exact = amount if isinstance(amount, Decimal) else Decimal(repr(float(amount)))
    if not exact:
        return "$0"
    size, sign = abs(exact), "-" if exact < 0 else ""
    if size >= Decimal("0.1"):
        return f"{sign}${size.quantize(_CENT, context=_WHOLE):,f}"
    return f"{sign}${size.normalize(_SHORT):f}"
