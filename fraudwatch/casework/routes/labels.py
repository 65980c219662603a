"""Late truth: chargebacks and appeals come in, and what is known of a transaction."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter

from fraudwatch.casework import labels as known
from fraudwatch.casework import late_truth, views
from fraudwatch.casework.bodies_labels import LabelsIn
from fraudwatch.casework.context import ServicesDep, SessionDep
from fraudwatch.casework.params import KeyPath
from fraudwatch.casework.permissions import MayReadTransactions, MayWriteLabels
from fraudwatch.casework.problems import responses
from fraudwatch.casework.schemas_labels import LabelHistory, LabelRecord, LabelsTaken
from fraudwatch.errors import Invalid, NotFound

router = APIRouter(prefix="/v1", tags=["labels"])


@router.post(
    "/labels",
    operation_id="addLabels",
    summary="Tell late truth",
    responses=responses(401, 403, 422, 503),
)
def add_labels(
    body: LabelsIn, lens: MayWriteLabels, services: ServicesDep, session: SessionDep
) -> LabelsTaken:
    """Up to 1,000 chargebacks or appeals, all or none. Sending them again is harmless.

    The transaction need not be known yet. A label that contradicts a decision raises the case for
    review; it decides nothing.
    """
    now = services.clock.now()
    latest = now + timedelta(seconds=services.settings.max_future_seconds)
    if any(label.known_at > latest for label in body.labels):
        raise Invalid("known_at must not lie in the future")
    done = late_truth.take_in(
        session, [label.label() for label in body.labels], by=lens.actor.user_id, now=now
    )
    return LabelsTaken(new=done.new, known=done.known, raised=list(done.raised))


@router.get(
    "/transactions/{transaction_id:path}/labels",
    operation_id="readLabels",
    summary="What became known of a transaction",
    responses=responses(401, 403, 404, 422),
)
def read_labels(
    transaction_id: KeyPath, lens: MayReadTransactions, session: SessionDep
) -> LabelHistory:
    """Every label with its source, the first recorded first. Nothing is ever changed or removed."""
    rows = known.history(session, transaction_id)
    if not rows and views.newest_row(session, transaction_id) is None:
        raise NotFound("there is no transaction with this id, and no label of it")
    return LabelHistory(
        labels=[
            LabelRecord(
                fraud=row.fraud,
                source=lens.source(row.source),
                known_at=row.known_at,
                recorded_at=row.created_at,
                case_id=row.case_id,
                by=by,
                counts=counts,
            )
            for row, by, counts in rows
        ]
    )
