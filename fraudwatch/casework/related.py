"""Which earlier cases are like this one, and which accounts it links with.

Both look among alerts, by index, back to a stated time, and at no more than a stated number: an
account that never had an alert is not found. Two queries in all, beside that of the case's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import (
    Executable,
    Row,
    TableValuedAlias,
    Text,
    func,
    literal,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session

from fraudwatch.casework import queue
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Alert, AlertTrace, Case, User
from fraudwatch.casework.models.details import TRACED
from fraudwatch.casework.schemas_details import LinkBy, LinkedAccount, SimilarCase
from fraudwatch.domain import likeness
from fraudwatch.domain.case import CaseStatus
from fraudwatch.domain.likeness import Trait

LOOK_BACK = timedelta(days=180)
OWN_ALERTS = 20  # the newest of the case
THEMES = 3  # heaviest reasons that candidates are looked for by
CANDIDATES = 300  # alerts for each of them, the newest
SIMILAR = 5
VALUES = 10  # of each kind
SHARING = 200  # alerts with a value, the newest
LINKED = 12


def own_traces(session: Session, case_id: int) -> Sequence[AlertTrace]:
    """Of the case's newest alerts. One query."""
    return session.scalars(
        select(AlertTrace)
        .join(Alert, Alert.id == AlertTrace.alert_id)
        .where(Alert.case_id == case_id, AlertTrace.read_at.is_not(None))
        .order_by(AlertTrace.alert_id.desc())
        .limit(OWN_ALERTS)
    ).all()


def similar(session: Session, case: Case, own: Sequence[AlertTrace]) -> list[SimilarCase]:
    """Decided cases with an alert like one of this case's, the most alike first. One query."""
    found = session.execute(_alike(case, own)).all()
    best: dict[int, tuple[float, Row[Any], AlertTrace]] = {}
    for trace in own:
        measured = likeness.likeness(
            _trait(trace), [_trait(row.AlertTrace, trace.features_version) for row in found]
        )
        for row, value in zip(found, measured, strict=True):
            if value > best.get(row.Case.id, (0.0,))[0]:
                best[row.Case.id] = float(value), row, trace
    ranked = sorted(best.values(), key=lambda each: (-each[0], -each[1].Case.id))[:SIMILAR]
    return [
        SimilarCase(
            case_id=row.Case.id,
            likeness=round(value, 3),
            shared_reasons=[name for name in trace.themes if name in row.AlertTrace.themes],
            resolution=row.Case.resolution,
            reason_codes=row.Case.reason_codes,
            resolved_at=row.Case.resolved_at,
            resolved_by=row.name,
        )
        for value, row, trace in ranked
    ]


def _alike(case: Case, own: Sequence[AlertTrace]) -> Executable:
    """Alerts with one of the case's heaviest reasons as theirs, of decided cases."""
    themes = list(dict.fromkeys(name for trace in own for name in trace.themes[:THEMES]))
    wanted = _each(themes[: 2 * THEMES], "wanted")
    newest = (
        select(AlertTrace.alert_id)
        .where(AlertTrace.theme == wanted.c.one)
        .order_by(AlertTrace.alert_id.desc())
        .limit(CANDIDATES)
        .correlate(wanted)
        .lateral("newest")
    )
    return (
        select(AlertTrace, Case, User.name)
        .select_from(wanted)
        .join(newest, true())
        .join(AlertTrace, AlertTrace.alert_id == newest.c.alert_id)
        .join(Alert, Alert.id == AlertTrace.alert_id)
        .join(Case, Case.id == Alert.case_id)
        .outerjoin(User, User.id == Case.resolved_by)
        .where(Case.status == CaseStatus.RESOLVED, Case.id != case.id)
    )


def _trait(trace: AlertTrace, version: str | None = None) -> Trait:
    """For comparing; without feature values where they are of another version."""
    features = None
    if trace.features and version in (None, trace.features_version):
        features = np.frombuffer(trace.features, dtype="<f8")
    return Trait(frozenset(trace.themes), features)


@dataclass(frozen=True, slots=True)
class _Shared:
    kind: str
    value: str


def linked(
    session: Session, lens: Lens, case: Case, own: Sequence[AlertTrace], now: datetime
) -> list[LinkedAccount]:
    """Other accounts whose alerts share a device, an address, a counterparty or a merchant with
    those of this case, the strongest link first. One query."""
    if not any(getattr(trace, kind) for kind in TRACED for trace in own):
        return []
    rows = session.execute(_sharing(own, now - LOOK_BACK)).all()
    accounts: dict[_Shared, set[str]] = {}
    for row in rows:
        accounts.setdefault(_Shared(row.kind, row.value), {case.account_id}).add(row.account_id)
    ties: dict[str, set[_Shared]] = {}
    newest: dict[str, Row[Any]] = {}
    for row in rows:
        if row.account_id != case.account_id:
            ties.setdefault(row.account_id, set()).add(_Shared(row.kind, row.value))
            known = newest.get(row.account_id)
            if known is None or known.Case.id < row.Case.id:
                newest[row.account_id] = row
    weighed = {
        account: sorted(
            ((likeness.strength(one.kind, len(accounts[one])), one) for one in shared),
            key=lambda each: (-each[0], each[1].kind, each[1].value),
        )
        for account, shared in ties.items()
    }
    total = {
        account: likeness.together([s for s, _ in parts]) for account, parts in weighed.items()
    }
    ranked = sorted(total, key=lambda account: (-total[account], account))[:LINKED]
    return [
        LinkedAccount(
            account_id=lens.id(account),
            strength=round(total[account], 3),
            links=[
                LinkBy(
                    kind=one.kind,
                    value=one.value if one.kind == "merchant_id" else lens.id(one.value),
                    accounts=len(accounts[one]),
                    strength=round(part, 3),
                )
                for part, one in weighed[account]
            ],
            case_id=newest[account].Case.id,
            status=queue.shown_status(newest[account].Case, now).value,
            resolution=newest[account].Case.resolution,
        )
        for account in ranked
    ]


def _sharing(own: Sequence[AlertTrace], since: datetime) -> Executable:
    """The newest alerts with each of the values, as far as the reader may know their cases."""
    parts = []
    for kind in TRACED:
        values = list(dict.fromkeys(v for trace in own if (v := getattr(trace, kind))))[:VALUES]
        column = getattr(AlertTrace, kind)
        value = _each(values, f"value_{kind}")
        newest = (
            select(AlertTrace.alert_id, AlertTrace.account_id)
            .where(column == value.c.one, AlertTrace.at >= since)
            .order_by(AlertTrace.at.desc())
            .limit(SHARING)
            .correlate(value)
            .lateral(f"newest_{kind}")
        )
        parts.append(
            select(
                literal(kind, literal_execute=True).label("kind"),
                value.c.one.label("value"),
                newest.c.alert_id,
                newest.c.account_id,
            )
            .select_from(value)
            .join(newest, true())
        )
    found = union_all(*parts).subquery()
    return (
        select(found.c.kind, found.c.value, found.c.account_id, Case)
        .join(Alert, Alert.id == found.c.alert_id)
        .join(Case, Case.id == Alert.case_id)
    )


def _each(values: Sequence[str], name: str) -> TableValuedAlias:
    """The values as a table with the column `one`."""
    found = func.unnest(literal(list(values), ARRAY(Text)))
    return found.table_valued("one", name=name).render_derived()
