"""The file of a case: one document with all that is known and was done, to print or to hand on."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from fraudwatch.casework import audit_heads, case_views, labels
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import OutcomeRow
from fraudwatch.casework.schemas import Answer
from fraudwatch.casework.schemas_cases import CaseDetail
from fraudwatch.domain.reason_codes import REASON_CODES

_STYLE = """
body { font: 10pt/1.4 sans-serif; margin: 2cm; color: #000; background: #fff }
table { border-collapse: collapse; width: 100%; margin: 0 0 1em } caption { text-align: left }
th, td { border: 1px solid #777; padding: 2px 6px; text-align: left; vertical-align: top }
h2 { margin-top: 1.5em } thead { display: table-header-group } tr { break-inside: avoid }
footer { margin-top: 2em; font-size: 8pt; overflow-wrap: anywhere } @page { margin: 1.5cm }
"""


class FileOutcome(Answer):
    """What the payment system was told of a transaction, when, and on which grounds."""

    transaction_id: str
    action: str
    reason_codes: list[str]
    decided_at: datetime


class FileLabel(Answer):
    """What became known of a transaction of the case."""

    transaction_id: str
    fraud: bool
    source: str
    known_at: datetime


class FileContent(Answer):
    """The case as its page shows it; outcomes and labels of its transactions; the definitions of
    all reason codes in it; row and hash at which the audit log stood."""

    case: CaseDetail
    outcomes: list[FileOutcome]
    labels: list[FileLabel]
    definitions: dict[str, str]
    audit_row: int
    audit_hash: str
    made_at: datetime
    made_by: str
    masked: bool = Field(description="Whether personal data are masked for its reader.")


class CaseFileOut(Answer):
    content: FileContent
    sha256: str


@dataclass(frozen=True, slots=True)
class PrintedFile:
    """A page that loads nothing, and the hash that a content security policy names its style by."""

    html: str
    style_hash: str


def case_file(session: Session, lens: Lens, case_id: int, *, now: datetime) -> CaseFileOut:
    """The file as the reader may see it. Raises `NotFound`."""
    case = case_views.case_detail(session, lens, case_id, now=now)
    outcomes = session.scalars(
        select(OutcomeRow).where(OutcomeRow.case_id == case_id).order_by(OutcomeRow.id)
    ).all()
    ids = [alert.transaction.transaction_id for alert in case.alerts]
    known = labels.of_transactions(session, ids)
    codes = {code for row in outcomes for code in row.reason_codes}
    codes |= {code for row in case.decisions for code in row.reason_codes}
    codes |= {code for row in case.events for code in row.reason_codes}
    head = audit_heads.current(session, now).changes
    content = FileContent(
        case=case,
        outcomes=[
            FileOutcome(
                transaction_id=row.transaction_id,
                action=row.action,
                reason_codes=row.reason_codes,
                decided_at=row.decided_at,
            )
            for row in outcomes
        ],
        labels=[
            FileLabel(
                transaction_id=row.transaction_id,
                fraud=row.fraud,
                source=lens.source(row.source),
                known_at=row.known_at,
            )
            for id_ in ids
            for row in known.get(id_, [])
        ],
        definitions={
            code: REASON_CODES[code].definition for code in sorted(codes & REASON_CODES.keys())
        },
        audit_row=head.id,
        audit_hash=head.hash,
        made_at=now,
        made_by=lens.actor.name,
        masked=not lens.personal,
    )
    return CaseFileOut(content=content, sha256=fingerprint(content.model_dump(mode="json")))


def fingerprint(content: dict[str, Any]) -> str:
    """SHA-256 of canonical JSON: names sorted, no blanks, UTF-8."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def page_of(made: CaseFileOut) -> PrintedFile:
    """The file as a page to print, complete in itself."""
    environment = Environment(
        loader=PackageLoader("fraudwatch.casework", "console/templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    html = environment.get_template("case_file.html").render(
        file=made.content, sha256=made.sha256, style=_STYLE
    )
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    return PrintedFile(html, f"sha256-{digest}")
