"""The audit log: changes, looks at personal data, unmaskings."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query

from fraudwatch.casework import audit, looks, records, unmasking
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import Cursor, KeyQuery, Limit
from fraudwatch.casework.permissions import MayReadAudit, MayUnmask
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import AuditOut, Page
from fraudwatch.casework.schemas_audit import (
    AuditCheckOut,
    LookOut,
    UnmaskedOut,
    UnmaskIn,
    UnmaskingOut,
)
from fraudwatch.errors import Invalid

router = APIRouter(prefix="/v1", tags=["audit"])


@router.get(
    "/audit",
    operation_id="listAudit",
    summary="Who did what",
    responses=responses(401, 403, 422),
)
def list_audit(
    _: MayReadAudit,
    session: SessionDep,
    subject: KeyQuery | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[AuditOut]:
    """Newest first; `subject` is for example `case:17`."""
    return records.audit_page(session, subject=subject, cursor=cursor, limit=limit)


@router.get(
    "/audit/looks",
    operation_id="listLooks",
    summary="Who saw whose data",
    responses=responses(401, 403, 422),
)
def list_looks(
    lens: MayReadAudit,
    session: SessionDep,
    subject: KeyQuery | None = None,
    actor: KeyQuery | None = None,
    person: Annotated[
        KeyQuery | None, Query(description="An id of theirs: account, device, customer.")
    ] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LookOut]:
    """Each request that showed personal data, newest first. One joins the list after a second."""
    return records.look_page(
        session,
        subject=subject,
        actor=actor,
        shown=lens.pseudonym(person) if person else None,
        cursor=cursor,
        limit=limit,
    )


@router.get(
    "/audit/verify",
    operation_id="verifyAudit",
    summary="Check the hash chains",
    responses=responses(401, 403),
)
def verify_audit(_: MayReadAudit, session: SessionDep) -> AuditCheckOut:
    """Walks both logs. Keep `head` elsewhere: it shows later that no row was rewritten or cut off
    (`fraudwatch audit verify --heads` compares)."""
    changes, seen = asdict(audit.verify(session)), asdict(looks.verify(session))
    return AuditCheckOut.model_validate({**changes, "looks": seen})


@router.get(
    "/audit/unmaskings",
    operation_id="listUnmaskings",
    summary="What was unmasked, and why",
    responses=responses(401, 403, 422),
)
def list_unmaskings(
    _: MayReadAudit, session: SessionDep, cursor: Cursor = None, limit: Limit = 50
) -> Page[UnmaskingOut]:
    """Each field that somebody had shown to them, newest first; never what stood in it."""
    return unmasking.report(session, cursor=cursor, limit=limit)


@router.post(
    "/unmaskings",
    operation_id="unmask",
    summary="Show one masked field",
    responses=responses(401, 403, 404, 422),
)
def unmask(
    body: UnmaskIn, lens: MayUnmask, services: ServicesDep, session: SessionDep
) -> UnmaskedOut:
    """Of one transaction or case, with a reason. It stands in the audit log and in a report."""
    now = services.clock.now()
    value: str | float | None
    if body.case_id is not None:
        value = unmasking.of_case(session, lens, body.case_id, body.field, body.why, now)
    elif body.transaction_id is not None:
        value = unmasking.of_transaction(
            session, lens, body.transaction_id, body.field, body.why, now
        )
    else:
        raise Invalid("name a case_id or a transaction_id")
    return UnmaskedOut(field=body.field, value=value)
