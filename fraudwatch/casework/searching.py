"""One search over notes, accounts, merchants and ids: by words in notes, by exact ids elsewhere,
and by the beginning of an account for who may see accounts.

Each kind is one query by index with a bound on what it gives. Who sees personal data masked finds
what they know the whole id of, and nothing by the words of notes, which may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import ColumnElement, Executable, func, literal_column, or_, select
from sqlalchemy.orm import Session

from fraudwatch.casework import queue
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Alert, AlertTrace, Case, CaseEvent
from fraudwatch.casework.models.details import TRACED
from fraudwatch.casework.schemas_search import SearchHit, SearchOut

MOST = 25  # of each kind
SHORTEST = 3  # characters of the beginning of an account
_SNIPPET = 200
_LARGEST_ID = 2**62

_SIMPLE: ColumnElement[str] = literal_column("'simple'::regconfig")
_WORDS = func.to_tsvector(_SIMPLE, CaseEvent.data["text"].astext)


def search(session: Session, lens: Lens, text: str, *, now: datetime) -> SearchOut:
    """What is found for the text, ids first, then notes; the newest first within a kind. At most
    eight queries."""
    text = text.strip()
    hits: list[SearchHit] = []

    def add(kind: str, found: Executable, matched: str | None) -> None:
        for case, event in _rows(session, found):
            hits.append(_hit(lens, kind, case, event, matched, now))

    if text.isascii() and text.isdigit() and int(text) < _LARGEST_ID:
        add("case", select(Case).where(Case.id == int(text)), text)
    add("account", _accounts(lens, text), None)
    by_transaction = select(Case).join(Alert, Alert.case_id == Case.id)
    add("transaction", by_transaction.where(Alert.transaction_id == text).limit(MOST), text)
    for kind in TRACED:
        shown = text if kind == "merchant_id" else lens.id(text)
        add(kind.removesuffix("_id"), _sharing(kind, text), shown)
    if lens.personal:
        add("note", _notes(text), None)
    return SearchOut(items=hits)


def _rows(session: Session, found: Executable) -> Iterable[tuple[Case, CaseEvent | None]]:
    for row in session.execute(found):
        yield row[0], row[1] if len(row) > 1 else None


def _accounts(lens: Lens, text: str) -> Executable:
    """By the whole id; by its beginning only where ids are shown, or they could be guessed at."""
    found = Case.account_id == text
    if lens.personal and len(text) >= SHORTEST:
        found = or_(found, Case.account_id.startswith(text, autoescape=True))
    return select(Case).where(found).order_by(Case.id.desc()).limit(MOST)


def _sharing(kind: str, text: str) -> Executable:
    """Cases with an alert of that value, the newest alerts first."""
    column = getattr(AlertTrace, kind)
    newest = (
        select(AlertTrace.alert_id)
        .where(column == text)
        .order_by(AlertTrace.at.desc())
        .limit(2 * MOST)
        .subquery()
    )
    ids = select(Alert.case_id).join(newest, newest.c.alert_id == Alert.id)
    return select(Case).where(Case.id.in_(ids)).order_by(Case.id.desc()).limit(MOST)


def _notes(text: str) -> Executable:
    wanted = func.websearch_to_tsquery(_SIMPLE, text)
    return (
        select(Case, CaseEvent)
        .join(CaseEvent, CaseEvent.case_id == Case.id)
        .where(CaseEvent.data.has_key("text"), _WORDS.op("@@")(wanted))
        .order_by(CaseEvent.id.desc())
        .limit(MOST)
    )


def _hit(
    lens: Lens, kind: str, case: Case, event: CaseEvent | None, matched: str | None, now: datetime
) -> SearchHit:
    return SearchHit(
        kind=kind,
        case_id=case.id,
        account_id=lens.id(case.account_id),
        status=queue.shown_status(case, now).value,
        resolution=case.resolution,
        opened_at=case.opened_at,
        matched=matched,
        snippet=event.data["text"][:_SNIPPET] if event is not None else None,
    )
