"""The audit log."""

from __future__ import annotations

from fastapi import APIRouter

from fraudwatch.casework import audit, records
from fraudwatch.casework.context import SessionDep
from fraudwatch.casework.params import Cursor, KeyQuery, Limit
from fraudwatch.casework.permissions import MayReadAudit
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas import AuditCheckOut, AuditOut, Page

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
    "/audit/verify",
    operation_id="verifyAudit",
    summary="Check the hash chain",
    responses=responses(401, 403),
)
def verify_audit(_: MayReadAudit, session: SessionDep) -> AuditCheckOut:
    """Walks the whole log. Keep `head` elsewhere: it shows later that no newer row was cut off."""
    return AuditCheckOut.model_validate(audit.verify(session), from_attributes=True)
