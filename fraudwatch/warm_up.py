"""Compile ahead of the first batch, so that no payment waits for it and no watchdog takes it for a
hang. The first start compiles for some seconds; later ones load what numba kept on disk.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import numpy as np

from fraudwatch.casework.copy_rows import Rows
from fraudwatch.detectors.model import Model
from fraudwatch.domain.transaction import Transaction
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions
from fraudwatch.features.profiles import EMPTY_PROFILES
from fraudwatch.features.state import AccountState
from streams.record_batches import record_batches
from streams.record_fields import find_fields
from streams.source import Message

_PAYMENT = Transaction(
    transaction_id="warm-up",
    account_id="warm-up",
    event_time=datetime(2026, 1, 1, tzinfo=UTC),
    amount=Decimal("1.00"),
    currency="EUR",
    merchant_id="warm-up",
)
_ACCOUNTS = 256  # more than an empty index has room for
_FEW, _MANY = 1, 64  # rows; a few take another way through the trees than many


def warm_up() -> None:
    """Everything on the way of a transaction but the model."""
    spec = FeatureSpec()
    state = AccountState(spec)
    others = [msgspec.structs.replace(_PAYMENT, account_id=str(n)) for n in range(_ACCOUNTS)]
    state.extend(from_transactions([_PAYMENT, _PAYMENT, *others], spec), EMPTY_PROFILES)
    state.normal_range(np.array([1]))
    AccountState(spec).add(state.dump())
    rows = Rows(1)
    rows.same(b"")
    rows.written()
    record_batches([Message(b"", b"", (("", b""),))], 0, 1)
    find_fields(b"", 0, 0, 0)


def warm_up_model(model: Model) -> None:
    """What scores and explains."""
    width = len(model.manifest.feature_names)
    unknown = np.full((1, width), np.nan)
    for rows in (_FEW, _MANY):
        model.score(np.zeros((rows, width)))
    model.reasons(np.zeros((1, width)), unknown, unknown)
