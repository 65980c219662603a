"""Merchant profiles of the day, made from the ledger and the labels for all workers to score with.

One version a day, the first one wins; any worker may make it, one at a time.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from sqlalchemy import (
    BigInteger,
    Date,
    Double,
    Row,
    Select,
    case,
    cast,
    func,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import profile_store
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.ledger_tables import between, midnight, newest_table
from fraudwatch.casework.models import (
    LabelRow,
    LedgerRow,
    ModelRow,
    ProfileVersion,
    StreamOffset,
)
from fraudwatch.casework.repeating import Repeating
from fraudwatch.clock import Clock
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import AMOUNT_LIMIT_E4, hash_ids
from fraudwatch.features.profiles import (
    AMOUNT_LIMIT_E4 as MERCHANT_AMOUNT_LIMIT_E4,
)
from fraudwatch.features.profiles import (
    EPOCH_DAY,
    LABEL_DELAY_DAYS,
    LONGEST_DAYS,
    DayTable,
    build_profiles,
)

log = logging.getLogger(__name__)

_LOCK = 5_180_731  # of the advisory lock under which a version is made
_UTC = "UTC"


def refresh_profiles(session: Session, topic: str, now: datetime) -> str | None:
    """Make the profiles of the newest event day unless they are there; returns the version made.

    They know the ledger's transactions of earlier days, and the labels known before 00:00 UTC of
    that day. None: nothing to do, or another worker is at it. An event day in the future (clocks
    differ) waits until it has come.
    """
    newest = _newest_day(session, topic, now)
    if newest is None:
        return None
    version = newest.isoformat()
    if (session.scalar(select(func.max(ProfileVersion.version))) or "") >= version:
        return None
    if not session.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))):
        return None
    session.execute(text("SET LOCAL statement_timeout = 0"))
    tables = [_transactions(session, newest, _rates(session)), _frauds(session, newest)]
    return version if profile_store.save(session, build_profiles(newest, tables)) else None


def _newest_day(session: Session, topic: str, now: datetime) -> date | None:
    """The newest event day of the ledger that has come."""
    today = now.astimezone(UTC).date()
    table = newest_table(session)
    if table is None:
        return None
    if table.until - table.first == timedelta(days=1):
        return min(table.first, today)
    # Of many days: that of the newest of each partition's last rows, for times are nearly in order.
    days = between(midnight(table.first), midnight(table.until))
    last = [
        session.scalar(
            select(LedgerRow.event_time)
            .where(LedgerRow.partition == partition, days)
            .order_by(LedgerRow.offset.desc())
            .limit(1)
        )
        for partition in session.scalars(
            select(StreamOffset.partition).where(StreamOffset.topic == topic)
        ).all()
    ]
    found = [moment.astimezone(UTC).date() for moment in last if moment is not None]
    return min(max(found), today) if found else None


def _rates(session: Session) -> Mapping[str, float]:
    """Exchange rates of the champion's features."""
    manifest = session.scalar(select(ModelRow.manifest).where(ModelRow.status == "champion"))
    return FeatureSpec.from_dict(manifest["features"]).rates if manifest else {}


def _inside(as_of: date) -> tuple[Any, Any]:
    end = midnight(as_of)
    return (
        between(end - timedelta(days=LONGEST_DAYS + LABEL_DELAY_DAYS), end),
        LedgerRow.merchant_id.is_not(None),
    )


_DAY = cast(func.timezone(_UTC, LedgerRow.event_time), Date)


def _transactions(session: Session, as_of: date, rates: Mapping[str, float]) -> DayTable:
    # Amounts exactly as features convert them: PostgreSQL rounds a double half to even as well.
    e4 = cast(LedgerRow.amount * 10_000, BigInteger)
    amount: Any = e4
    if rates:
        rate = case(rates, value=LedgerRow.currency, else_=1.0)
        amount = case(
            (rate == 1.0, e4),
            else_=cast(
                func.least(func.round(cast(e4, Double) * rate), float(AMOUNT_LIMIT_E4)), BigInteger
            ),
        )
    amount = func.least(amount, MERCHANT_AMOUNT_LIMIT_E4)
    return _table(
        session,
        select(
            LedgerRow.merchant_id,
            _DAY,
            func.count(),
            cast(func.sum(amount), BigInteger),
            literal(0),
        )
        .where(*_inside(as_of))
        .group_by(LedgerRow.merchant_id, _DAY),
    )


def _frauds(session: Session, as_of: date) -> DayTable:
    """Frauds by the label that counted at the start of the day."""
    current = (
        select(LabelRow.transaction_id, LabelRow.fraud)
        .where(LabelRow.known_at < midnight(as_of))
        .ext(distinct_on(LabelRow.transaction_id))
        .order_by(
            LabelRow.transaction_id,
            LabelRow.precedence.desc(),
            LabelRow.known_at.desc(),
            LabelRow.id.desc(),
        )
        .subquery()
    )
    return _table(
        session,
        select(LedgerRow.merchant_id, _DAY, literal(0), literal(0), func.count())
        .join(current, current.c.transaction_id == LedgerRow.transaction_id)
        .where(*_inside(as_of), current.c.fraud)
        .group_by(LedgerRow.merchant_id, _DAY),
    )


def _table(session: Session, query: Select[Any, Any, Any, Any, Any]) -> DayTable:
    rows: Sequence[Row[Any, Any, Any, Any, Any]] = session.execute(query).all()
    merchant, day, count, amount, frauds = zip(*rows, strict=True) if rows else ((),) * 5
    return DayTable(
        hash_ids(np.array(merchant, dtype=object)),
        np.array([(one - EPOCH_DAY).days for one in day], dtype=np.int64),
        *(np.array(values, dtype=np.int64) for values in (count, amount, frauds)),
    )


class ProfileKeeper:
    """A thread beside a worker that keeps the profiles up to the day of the stream."""

    def __init__(
        self, sessions: sessionmaker[Session], topic: str, clock: Clock, *, seconds: float = 5.0
    ) -> None:
        self._sessions = sessions
        self._topic = topic
        self._clock = clock
        self._thread = Repeating(
            "profile-keeper",
            self.refresh,
            seconds,
            waits="no merchant profiles for now",
            ends="merchant profiles are no longer made",
            at_once=True,
        )
        self.start, self.stop = self._thread.start, self._thread.stop

    def refresh(self) -> str | None:
        """Look once; returns the version made, if any."""
        with connect_errors(), self._sessions.begin() as session:
            version = refresh_profiles(session, self._topic, self._clock.now())
        if version is not None:
            log.info("merchant profiles made", extra={"data": {"version": version}})
        return version
