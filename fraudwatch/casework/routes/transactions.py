"""Transactions and accounts."""

from __future__ import annotations

from fastapi import APIRouter

from fraudwatch.casework import views
from fraudwatch.casework.context import SessionDep
from fraudwatch.casework.params import Cursor, KeyPath, KeyQuery, Limit
from fraudwatch.casework.permissions import MayReadTransactions
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import (
    AccountDetail,
    Page,
    TransactionDetail,
    TransactionOut,
)

router = APIRouter(prefix="/v1", tags=["transactions"])


@router.get(
    "/transactions",
    operation_id="listTransactions",
    summary="Transactions of an account",
    responses=responses(401, 403, 422),
)
def list_transactions(
    account_id: KeyQuery,
    lens: MayReadTransactions,
    session: SessionDep,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[TransactionOut]:
    """Newest first."""
    return views.transaction_page(session, lens, account_id, cursor=cursor, limit=limit)


@router.get(
    "/transactions/{transaction_id:path}",
    operation_id="readTransaction",
    summary="Read a transaction",
    responses=responses(401, 403, 404),
)
def read_transaction(
    transaction_id: KeyPath, lens: MayReadTransactions, session: SessionDep
) -> TransactionDetail:
    """What came in, what the machine decided and why, what people said."""
    return views.transaction_detail(session, lens, transaction_id)


@router.get(
    "/accounts/{account_id:path}",
    operation_id="readAccount",
    summary="Read an account",
    responses=responses(401, 403, 404),
)
def read_account(
    account_id: KeyPath, lens: MayReadTransactions, session: SessionDep
) -> AccountDetail:
    """Sums, cases and the newest transactions."""
    return views.account_detail(session, lens, account_id)
