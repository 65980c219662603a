"""Puts accounts, cases and people into a database, as the stream and the operator would."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sqlalchemy.orm import Session

from fraudwatch.casework import users
from fraudwatch.casework.auth import Passwords
from fraudwatch.casework.ledger_tables import make_tables
from fraudwatch.casework.models import Alert, Case, CaseEvent, LedgerRow, User
from fraudwatch.domain.access import SERVICES, Role
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.domain.transaction import Transaction, encode

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PASSWORD = "several unrelated words"

# Cheap on purpose: what is tested is not how slow argon2 can be.
PASSWORDS = Passwords(memory_kib=8, passes=1)

REASONS = [
    {
        "feature": "amount_ratio",
        "value": 9.0,
        "sentence": "The amount is 9 times what this account usually pays.",
        "weight": 0.3,
        "normal_low": 0.2,
        "normal_high": 3.0,
        "normal_of": "account",
    },
    {
        "feature": "new_country",
        "value": 1.0,
        "sentence": "The account never paid in this country.",
        "weight": 0.7,
        "normal_low": None,
        "normal_high": None,
        "normal_of": "everyone",
    },
]


@dataclass
class Seed:
    """Adds rows through one session; every transaction gets the next offset of partition 0."""

    session: Session
    now: datetime = NOW
    offsets: itertools.count[int] = field(default_factory=itertools.count)

    def user(
        self,
        name: str,
        role: Role = Role.ANALYST,
        password: str = PASSWORD,
        must_change_password: bool = False,
    ) -> User:
        """A person, or for the role `service` a service."""
        return users.create_user(
            self.session,
            PASSWORDS,
            name=name,
            role=role,
            password=None if role in SERVICES else password,
            now=self.now,
            must_change_password=must_change_password,
        )

    def transaction(
        self,
        account_id: str,
        *,
        outcome: Outcome = Outcome.AUTO_CLEAR,
        rule: Rule = Rule.RISK,
        risk: float | None = 0.5,
        at: datetime | None = None,
        amount: str = "12.50",
    ) -> LedgerRow:
        """A scored transaction in the ledger."""
        offset = next(self.offsets)
        received = Transaction(
            transaction_id=f"tx-{offset:06d}",
            account_id=account_id,
            event_time=at or self.now - timedelta(minutes=5),
            amount=Decimal(amount),
            currency="EUR",
            merchant_id="shop-1",
            merchant_category="5411",
            channel="online",
            country="FR",
            device_id=f"device-of-{account_id}",
            ip="192.0.2.17",
            latitude=48.85661,
            longitude=2.35222,
            counterparty_id="counterparty-77",
            customer_id=f"customer-of-{account_id}",
            attributes={"score": 0.25, "email": "somebody@example.org"},
        )
        alert = outcome > Outcome.AUTO_CLEAR or rule is Rule.BLIND_SPOT
        row = LedgerRow(
            partition=0,
            offset=offset,
            transaction_id=received.transaction_id,
            account_id=account_id,
            event_time=received.event_time,
            amount=received.amount,
            currency=received.currency,
            merchant_id=received.merchant_id,
            merchant_category=received.merchant_category,
            channel=received.channel,
            country=received.country,
            device_id=received.device_id,
            payload=encode(received),
            features=b"",
            features_version="test",
            anomaly_score=risk,
            risk=risk,
            outcome=outcome,
            rule=rule,
            reasons=REASONS if alert else None,
            policy_id=1,
            profile_version="",
            scored_at=self.now,
        )
        make_tables(self.session, [row.event_time.date()], self.now.date())
        self.session.add(row)
        return row

    def case(
        self,
        account_id: str,
        *,
        outcomes: Sequence[Outcome] = (Outcome.REVIEW,),
        rule: Rule = Rule.RISK,
        risk: float | None = 0.995,
        priority: float = 1.0,
        opened_at: datetime | None = None,
    ) -> Case:
        """An open case with one alert for each outcome; `rule` is the first alert's."""
        opened = opened_at or self.now - timedelta(minutes=1)
        shown = max(*outcomes, Outcome.REVIEW)
        case = Case(
            account_id=account_id,
            status="new",
            outcome=shown,
            risk=risk,
            amount=Decimal("12.50") * len(outcomes),
            alert_count=len(outcomes),
            priority=priority,
            version=1,
            opened_at=opened,
            updated_at=opened,
            due_at=opened + timedelta(hours=4),
        )
        self.session.add(case)
        self.session.flush()
        self.session.add(CaseEvent(case_id=case.id, kind="opened", at=opened, data={}))
        for number, outcome in enumerate(outcomes):
            row = self.transaction(
                account_id, outcome=outcome, rule=rule if number == 0 else Rule.RISK, risk=risk
            )
            self.session.flush()
            self.session.add(
                Alert(
                    case_id=case.id,
                    partition=row.partition,
                    offset=row.offset,
                    transaction_id=row.transaction_id,
                    event_time=row.event_time,
                    outcome=row.outcome,
                    rule=row.rule,
                    risk=row.risk,
                    added_at=opened,
                )
            )
            self.session.add(
                CaseEvent(
                    case_id=case.id,
                    kind="alert_added",
                    at=opened,
                    data={"transaction_id": row.transaction_id},
                )
            )
        self.session.flush()
        return case

    def blind_spot_case(self, account_id: str, *, priority: float = 1.0) -> Case:
        """A case of one transaction that was cleared and drawn for the blind-spot sample."""
        return self.case(
            account_id,
            outcomes=(Outcome.AUTO_CLEAR,),
            rule=Rule.BLIND_SPOT,
            risk=0.4,
            priority=priority,
        )


def sha256(text: str) -> bytes:
    """How tokens are stored."""
    return hashlib.sha256(text.encode()).digest()
