"""The code lists hold what payments need, and nothing malformed."""

from __future__ import annotations

import pytest

from fraudwatch.domain.codes import COUNTRIES, CURRENCY_DECIMALS, is_mcc


@pytest.mark.parametrize(
    ("currency", "decimals"),
    [("EUR", 2), ("USD", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("TND", 3), ("CLF", 4)],
)
def test_currencies_have_the_decimals_of_iso_4217(currency: str, decimals: int) -> None:
    assert CURRENCY_DECIMALS[currency] == decimals


def test_currencies_of_recorded_data_are_known_and_metals_are_not() -> None:
    assert {"HRK", "LTL", "BGN"} <= set(CURRENCY_DECIMALS)
    assert not {"XAU", "XXX", "XTS", "XDR"} & set(CURRENCY_DECIMALS)


def test_lists_are_complete_and_well_formed() -> None:
    assert len(COUNTRIES) == 250  # 249 of ISO 3166-1, and XK
    assert all(len(code) == 2 and code.isascii() and code.isupper() for code in COUNTRIES)
    assert len(CURRENCY_DECIMALS) > 160
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCY_DECIMALS)


@pytest.mark.parametrize(
    ("category", "is_code"),
    [("5411", True), ("0001", True), ("541", False), ("54111", False), ("٥٤١١", False)],
)
def test_a_merchant_category_code_is_four_digits(category: str, is_code: bool) -> None:
    assert is_mcc(category) is is_code
