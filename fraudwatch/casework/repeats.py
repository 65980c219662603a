"""Transactions that come twice: decided once, and accounted for."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.orm import Session

from fraudwatch.casework import ledger
from fraudwatch.domain.transaction import Transaction, content_equal
from streams.arrivals import Arrivals


def reject_repeats(session: Session, arrivals: Sequence[Arrivals[Transaction]]) -> None:
    """Put aside transactions whose id was decided before, or comes twice in these batches.

    The same content is a `duplicate`, harmless; other content under a known id is a `conflict`.
    """
    ids = [t.transaction_id for arrived in arrivals for t in arrived.items]
    if not ids:
        return
    known = {
        transaction_id: ledger.stored(payload)
        for transaction_id, payload in ledger.stored_payloads(session, ids).items()
    }
    for arrived in arrivals:
        repeats = set()
        for index, transaction in enumerate(arrived.items):
            first = known.setdefault(transaction.transaction_id, transaction)
            if first is not transaction:
                same = content_equal(first, transaction)
                arrived.reject(index, "duplicate" if same else "conflict", "transaction_id")
                repeats.add(index)
        arrived.drop(repeats)
