"""How long, large and many the parts of a message may be."""

from __future__ import annotations

ID_LENGTH = 128
CODE_LENGTH = 64  # channel, merchant category
ATTRIBUTES = 64
ATTRIBUTE_NAME_LENGTH = 64
ATTRIBUTE_TEXT_LENGTH = 1024
AMOUNT_LIMIT = 10**12
AMOUNT_DECIMALS = 4
# A longer exponent is far outside of every limit, and `Decimal` itself fails on some of them.
EXPONENT_DIGITS = 6

TEXT_LENGTHS = {
    "transaction_id": ID_LENGTH,
    "account_id": ID_LENGTH,
    "merchant_id": ID_LENGTH,
    "merchant_category": CODE_LENGTH,
    "channel": CODE_LENGTH,
    "device_id": ID_LENGTH,
    "counterparty_id": ID_LENGTH,
    "customer_id": ID_LENGTH,
}
"""Fields that are free texts, with the most characters that each may have."""
