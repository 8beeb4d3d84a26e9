"""Amounts of money as a person reads them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from failsafe.money import in_usd


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (Decimal(0), "$0"),
        (0.0, "$0"),
        (Decimal("1234567.891"), "$1,234,567.89"),
        (Decimal("0.1"), "$0.10"),
        (1, "$1.00"),
        (Decimal("0.0999999"), "$0.1"),
        (Decimal("0.00000285"), "$0.00000285"),
        (Decimal("0.0012345"), "$0.00123"),
        (0.02, "$0.02"),
        (Decimal("-0.5"), "-$0.50"),
        (Decimal("1E+3"), "$1,000.00"),
        (Decimal("12345678901234567890.12"), "$12,345,678,901,234,567,890.12"),
    ],
)
def test_an_amount_shows_what_counts_of_it(amount: Decimal | float, shown: str) -> None:
    assert in_usd(amount) == shown
