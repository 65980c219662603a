"""Any sequence of acts by several people keeps the promises of a case."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, claims, handling, intake, queue, resolutions
from fraudwatch.casework.auth import actor_of
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.models import (
    Alert,
    AuditRow,
    Case,
    CaseEvent,
    LabelRow,
    OutboxRow,
    OutcomeRow,
)
from fraudwatch.domain.access import Actor, Role
from fraudwatch.domain.case import OPEN
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.domain.finding import Finding
from fraudwatch.domain.reason_codes import REASON_CODES, Resolution
from fraudwatch.errors import Conflict, NotAllowed
from tests.api.conftest import Api
from tests.api.seed import Seed

LEASE = timedelta(minutes=15)
ACCOUNTS = ("acc-a", "acc-b", "acc-c")


class World:
    """Draws acts at random; each act commits, or changes nothing."""

    def __init__(self, api: Api, seed: int) -> None:
        self.api = api
        self.random = random.Random(seed)
        self.done: list[str] = []
        with api.seed() as rows:
            self.people = [
                actor_of(rows.user(f"person-{n}", role))
                for n, role in enumerate((Role.ANALYST, Role.ANALYST, Role.SENIOR, Role.SENIOR))
            ]
            self.offsets = rows.offsets

    def step(self) -> None:
        acts: list[Callable[[Session, Actor], None]] = [
            self.alert,
            self.next,
            self.claim,
            self.renew,
            self.release,
            self.note,
            self.resolve,
            self.resolve,
            self.reopen,
            self.wait,
        ]
        act = self.random.choice(acts)
        actor = self.random.choice(self.people)
        try:
            with self.api.services.sessions.begin() as session:
                act(session, actor)
        except (Conflict, NotAllowed):
            return
        self.done.append(act.__name__)

    def alert(self, session: Session, actor: Actor) -> None:
        seed = Seed(session, self.api.clock.now(), self.offsets)
        rule = self.random.choice((Rule.RISK, Rule.BLIND_SPOT))
        outcome = Outcome.AUTO_CLEAR if rule is Rule.BLIND_SPOT else Outcome.REVIEW
        row = seed.transaction(self.random.choice(ACCOUNTS), outcome=outcome, rule=rule)
        session.flush()
        intake.open_cases(
            session,
            [
                intake.NewAlert(
                    row.partition,
                    row.offset,
                    row.transaction_id,
                    row.account_id,
                    row.event_time,
                    row.outcome,
                    row.rule,
                    row.risk,
                    0.99,
                    row.amount,
                )
            ],
            seed.now,
        )

    def case(self, session: Session, *statuses: str) -> int:
        query = session.query(Case.id).order_by(Case.id)
        ids = (query.filter(Case.status.in_(statuses)) if statuses else query).all()
        if not ids:
            raise Conflict("no case yet")
        return int(self.random.choice(ids)[0])

    def next(self, session: Session, actor: Actor) -> None:
        queue.next_case(session, actor, now=self.api.clock.now(), lease=LEASE)

    def act(self, session: Session, actor: Actor, case_id: int) -> Act:
        """On the version that the case has at this moment."""
        return Act(actor, self.api.clock.now(), session.get_one(Case, case_id).version)

    def claim(self, session: Session, actor: Actor) -> None:
        case_id = self.case(session)
        claims.claim(session, case_id, self.act(session, actor, case_id), lease=LEASE)

    def renew(self, session: Session, actor: Actor) -> None:
        act = Act(actor, self.api.clock.now())
        claims.renew(session, self.case(session), act, lease=LEASE)

    def release(self, session: Session, actor: Actor) -> None:
        case_id = self.case(session)
        claims.release(session, case_id, self.act(session, actor, case_id))

    def note(self, session: Session, actor: Actor) -> None:
        case_id = self.case(session)
        handling.note(session, case_id, self.act(session, actor, case_id), text="x")

    def resolve(self, session: Session, actor: Actor) -> None:
        found = session.get_one(Case, self.case(session))
        resolution = self.random.choice(list(Resolution))
        codes = [r.code for r in REASON_CODES.values() if r.resolution is resolution]
        held = found.claimed_by == actor.user_id and found.lease_until is not None
        running = held and found.lease_until > self.api.clock.now()  # type: ignore[operator]
        finding = Finding(resolution, (self.random.choice(codes),), "because")
        act = self.act(session, actor, found.id)
        resolutions.decide(session, found.id, act, finding, key=b"k", topic="outcomes")
        assert running, "only the holder of a running lease decides"

    def reopen(self, session: Session, actor: Actor) -> None:
        case_id = self.case(session, "resolved")
        resolutions.reopen(session, case_id, self.act(session, actor, case_id), reason="x")

    def wait(self, session: Session, actor: Actor) -> None:
        self.api.clock.moment += timedelta(minutes=self.random.choice((1, 20)))


def check(api: Api) -> None:
    cases, events = api.rows(Case), api.rows(CaseEvent)
    open_accounts = [case.account_id for case in cases if case.status in OPEN]
    assert len(open_accounts) == len(set(open_accounts)), "one open case per account"
    for case in cases:
        history = [event.kind for event in events if event.case_id == case.id]
        decided = history.count("resolved") - history.count("reopened")
        assert decided == (1 if case.status == "resolved" else 0)
        ended = sum(history.count(kind) for kind in ("released", "expired", "resolved"))
        assert history.count("claimed") - ended == (1 if case.status == "claimed" else 0)
    alerts = {alert.transaction_id: alert for alert in api.rows(Alert)}
    outcomes, messages = api.rows(OutcomeRow), api.rows(OutboxRow)
    assert len(outcomes) == len(messages) == len({row.message_id for row in messages})
    by_case = {case.id: case for case in cases}
    for transaction_id, alert in alerts.items():
        told = [row.action for row in outcomes if row.transaction_id == transaction_id]
        case = by_case[alert.case_id]
        if case.status == "resolved":
            wanted = "decline" if case.resolution == "fraud" else "release"
            cleared_at_once = alert.rule == Rule.BLIND_SPOT and not told
            assert (told[-1:] or ["release"]) == [wanted]
            assert told or cleared_at_once
    for label in api.rows(LabelRow):
        draw = alerts[label.transaction_id].rule == Rule.BLIND_SPOT
        assert label.source == ("blind_spot" if draw else "analyst")
    with api.services.sessions() as session:
        assert audit.verify(session).ok
    acts = [e for e in events if e.kind not in {"opened", "alert_added", "expired"}]
    assert len([r for r in api.rows(AuditRow) if r.subject.startswith("case:")]) == len(acts)


@pytest.mark.parametrize("seed", [1, 2])
def test_any_sequence_of_acts_keeps_the_promises(api: Api, seed: int) -> None:
    """One decision at a time, told once; leases end; nothing is left half done."""
    world = World(api, seed)
    for number in range(250):
        world.step()
        if number % 40 == 0:
            check(api)
    check(api)
    assert set(world.done) == {
        "alert",
        "next",
        "claim",
        "renew",
        "release",
        "note",
        "resolve",
        "reopen",
        "wait",
    }
