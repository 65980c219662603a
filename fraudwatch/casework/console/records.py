"""Pages to look things up: accounts, transactions, reason codes, the audit log."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import APIRouter, Response

from fraudwatch.casework import queue, records, unmasking, views
from fraudwatch.casework.console import charts, forms
from fraudwatch.casework.console.forms import Fault, Faulty, Filled, FormDep
from fraudwatch.casework.console.render import DeskDep
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import Cursor, KeyPath
from fraudwatch.casework.permissions import (
    MayReadAudit,
    MayReadCases,
    MayReadTransactions,
    MayUnmask,
)
from fraudwatch.casework.schemas_audit import UnmaskedOut, UnmaskIn
from fraudwatch.errors import Invalid

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
    fields = [*unmasking.FIELDS, *(f"{unmasking.ATTRIBUTE}{name}" for name in found.attributes)]
    return desk.page("transaction.html", row=found, personal=lens.personal, fields=fields)


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


@router.get("/audit/looks")
def looks_page(
    desk: DeskDep, _: MayReadAudit, session: SessionDep, cursor: Cursor = None
) -> Response:
    """Who saw whose data."""
    page = records.look_page(session, cursor=cursor)
    return desk.page(
        "audit_list.html",
        title="Looks at personal data",
        about="Each request that showed any, with the pseudonyms of the ids that it showed.",
        path="/audit/looks",
        names=("Where", "Shown"),
        rows=[(row, (row.where, " ".join(row.shown))) for row in page.items],
        following=page.next_cursor,
        continued=cursor is not None,
    )


@router.get("/audit/unmaskings")
def unmaskings_page(
    desk: DeskDep, _: MayReadAudit, session: SessionDep, cursor: Cursor = None
) -> Response:
    """What was unmasked, and why."""
    page = unmasking.report(session, cursor=cursor)
    return desk.page(
        "audit_list.html",
        title="Unmasked fields",
        about="Each masked field that somebody had shown to them; never what stood in it.",
        path="/audit/unmaskings",
        names=("Field", "Why"),
        rows=[(row, (row.field, row.why)) for row in page.items],
        following=page.next_cursor,
        continued=cursor is not None,
    )


@router.post("/unmaskings")
def unmask(
    form: FormDep, desk: DeskDep, lens: MayUnmask, services: ServicesDep, session: SessionDep
) -> Response:
    """Show one masked field of a transaction, this once."""
    shown: UnmaskedOut | None = None
    subject, back, filled = "", "/", Filled()
    try:
        body = forms.read(UnmaskIn, form)
        subject = body.transaction_id or ""
        back = f"/transactions/{quote(subject, safe='')}"
        value = unmasking.of_transaction(
            session, lens, subject, body.field, body.why, services.clock.now()
        )
        shown = UnmaskedOut(field=body.field, value=value)
    except Invalid as error:
        filled = Filled(forms.texts(form), (Fault("why", forms.sentence(str(error))),))
    except Faulty as wrong:
        filled = Filled(forms.texts(form), wrong.faults)
    status = 422 if filled.faults else 200
    return desk.page(
        "unmasked.html", status, shown=shown, subject=subject, back=back, filled=filled
    )
