"""Pages to look things up: accounts, transactions, reason codes, the audit log."""

from __future__ import annotations

from fastapi import APIRouter, Response

from fraudwatch.casework import queue, records, views
from fraudwatch.casework.console import charts
from fraudwatch.casework.console.render import DeskDep
from fraudwatch.casework.context import SessionDep
from fraudwatch.casework.params import Cursor, KeyPath
from fraudwatch.casework.permissions import MayReadAudit, MayReadCases, MayReadTransactions

router = APIRouter()


@router.get("/accounts/{account_id:path}")
def account_page(
    account_id: KeyPath,
    desk: DeskDep,
    lens: MayReadTransactions,
    session: SessionDep,
    cursor: Cursor = None,
) -> Response:
    """An account's payments, newest first."""
    account = views.account_detail(session, lens, account_id)
    if cursor is None:
        shown = account.history
        more = account.transactions > len(shown)
        following = queue.make_cursor(shown[-1].transaction_id) if more else None
    else:
        page = views.transaction_page(session, lens, account_id, cursor=cursor, limit=views.HISTORY)
        shown, following = page.items, page.next_cursor
    return desk.page(
        "account.html",
        account=account,
        key=account_id,
        personal=lens.personal,
        rows=shown,
        following=following,
        continued=cursor is not None,
        chart=charts.timeline(shown, []),
    )


@router.get("/transactions/{transaction_id:path}")
def transaction_page(
    transaction_id: KeyPath, desk: DeskDep, lens: MayReadTransactions, session: SessionDep
) -> Response:
    """What came in, what the machine found, what people said."""
    found = views.transaction_detail(session, lens, transaction_id)
    return desk.page("transaction.html", row=found, personal=lens.personal)


@router.get("/reason-codes")
def reason_codes_page(desk: DeskDep, _: MayReadCases) -> Response:
    """What each reason for a decision means."""
    return desk.page("reason_codes.html")


@router.get("/audit")
def audit_page(
    desk: DeskDep,
    _: MayReadAudit,
    session: SessionDep,
    subject: str = "",
    cursor: Cursor = None,
) -> Response:
    """Who did what, newest first."""
    wanted = subject.replace("\x00", "").strip()[:256]
    page = records.audit_page(session, subject=wanted or None, cursor=cursor)
    return desk.page("audit.html", page=page, subject=wanted, continued=cursor is not None)
