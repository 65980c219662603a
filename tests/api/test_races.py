"""People at the same case at the same moment, with real threads on a real database."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from time import sleep
from typing import TypeVar

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, claims, handling, next_case, resolutions
from fraudwatch.casework.auth import actor_of
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.models import (
    AuditRow,
    Case,
    CaseDecision,
    CaseEvent,
    LabelRow,
    OutboxRow,
)
from fraudwatch.domain.access import Actor, Role
from fraudwatch.domain.finding import Finding
from fraudwatch.domain.reason_codes import Resolution
from fraudwatch.errors import Conflict, NotAllowed
from tests.api.case_checks import check
from tests.api.cases import add_alert, set_rules
from tests.api.conftest import Api

T = TypeVar("T")
LEASE = timedelta(minutes=15)


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Run all calls from threads that start together."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def people(api: Api, number: int) -> list[Actor]:
    with api.seed() as seed:
        return [actor_of(seed.user(f"analyst-{i}", Role.ANALYST)) for i in range(number)]


def test_no_case_is_given_to_two_analysts(api: Api) -> None:
    """Twenty ask for the next of ten cases: each case goes to exactly one of them."""
    with api.seed() as seed:
        for number in range(10):
            seed.case(f"acc-{number:012d}", priority=float(number))

    def ask(actor: Actor) -> int | None:
        with api.services.sessions.begin() as session:
            case = next_case.next_case(session, actor, now=api.clock.now(), lease=LEASE)
            return case.id if case else None

    actors = people(api, 20)
    given = at_once([partial(ask, actor) for actor in actors])
    found = [case_id for case_id in given if case_id is not None]
    # Who asks while the last waiting rows are locked by others is told that none waits.
    assert len(found) == len(set(found))
    rest = [ask(actors[0]) for _ in range(10 - len(found))]
    assert ask(actors[0]) is None
    assert sorted(case_id for case_id in [*found, *rest] if case_id is not None) == [
        case.id for case in api.rows(Case)
    ]
    assert all(case.status == "claimed" for case in api.rows(Case))


def test_two_claims_of_one_case(api: Api) -> None:
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id

    def claim(actor: Actor) -> bool:
        try:
            with api.services.sessions.begin() as session:
                claims.claim(session, case_id, Act(actor, api.clock.now(), 1), lease=LEASE)
        except Conflict:
            return False
        return True

    assert sorted(at_once([partial(claim, actor) for actor in people(api, 8)])) == (
        [False] * 7 + [True]
    )


def test_two_resolves_of_one_case_write_one_decision(api: Api) -> None:
    """A double click, or two tabs of the same analyst, must not tell the payment system twice."""
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
    (actor,) = people(api, 1)
    with api.services.sessions.begin() as session:
        act = Act(actor, api.clock.now(), 1)
        version = claims.claim(session, case_id, act, lease=LEASE).version

    def resolve(resolution: Resolution, reason: str) -> object:
        try:
            with api.services.sessions.begin() as session:
                act = Act(actor, api.clock.now(), version)
                finding = Finding(resolution, (reason,))
                resolutions.decide(session, case_id, act, finding, key=b"k", topic="outcomes")
        except Conflict as conflict:
            return conflict.current["status"]
        return "done"

    calls = [
        partial(resolve, Resolution.FRAUD, "scam"),
        partial(resolve, Resolution.LEGITIMATE, "travel"),
    ] * 3
    assert sorted(map(str, at_once(calls))) == ["done"] + ["resolved"] * 5
    assert len(api.rows(LabelRow)) == len(api.rows(OutboxRow)) == 1


def test_reopening_while_the_stream_opens_a_case_of_the_account(api: Api) -> None:
    """One open case per account, also when neither of the two can see the other yet."""
    with api.seed() as seed:
        case_id = seed.case("acc-000000000111").id
        senior = actor_of(seed.user("senior", Role.SENIOR))
        now = seed.now
    with api.services.sessions.begin() as session:
        version = claims.claim(session, case_id, Act(senior, now, 1), lease=LEASE).version
    with api.services.sessions.begin() as session:
        scam = Finding(Resolution.FRAUD, ("scam",))
        act = Act(senior, now, version)
        version = resolutions.decide(
            session, case_id, act, scam, key=b"k", topic="outcomes"
        ).version

    def reopen() -> None:
        with api.services.sessions.begin() as session:
            resolutions.reopen(session, case_id, Act(senior, now, version), reason="x")

    with ThreadPoolExecutor(1) as pool:
        with api.seed() as stream:
            stream.offsets = itertools.count(100)
            stream.case("acc-000000000111")
            reopened = pool.submit(reopen)
            wait_for_lock(stream.session)
        with pytest.raises(Conflict, match="another open case"):
            reopened.result()
    assert [case.status for case in api.rows(Case)] == ["resolved", "new"]


def wait_for_lock(session: Session) -> None:
    """Return once another connection waits for what this session holds."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    for _ in range(1000):
        if session.scalar(waiting):
            return
        sleep(0.01)
    raise AssertionError("nobody waits")


def test_the_audit_chain_holds_when_many_write_at_once(api: Api) -> None:
    """Two rows on the same predecessor would break the chain that proves the log whole."""
    actors = people(api, 12)

    def write(actor: Actor) -> None:
        for number in range(5):
            with api.services.sessions.begin() as session:
                audit.append(
                    session,
                    at=api.clock.now(),
                    actor=actor,
                    action="test",
                    subject=f"case:{number}",
                    data={"n": number, "share": 0.1, "big": 1e22, "none": None},
                )

    at_once([partial(write, actor) for actor in actors])
    with api.services.sessions() as session:
        check = audit.verify(session)
    assert check.ok
    assert check.rows == len(api.rows(AuditRow)) == 12 + 60


class Racer:
    """One analyst who takes whatever case they find and does something to it, again and again.

    What was carried out is counted only after its commit; what was refused, too.
    """

    def __init__(self, api: Api, actor: Actor, accounts: Sequence[str], seed: int) -> None:
        self.api = api
        self.actor = actor
        self.accounts = accounts
        self.random = random.Random(seed)
        self.done: Counter[tuple[str, int]] = Counter()
        self.lost = 0

    def run(self, attempts: int) -> None:
        for _ in range(attempts):
            account = self.random.choice(self.accounts)
            newest = select(Case).where(Case.account_id == account).order_by(Case.id.desc())
            with self.api.services.sessions() as session:
                case = session.scalars(newest.limit(1)).one()
                case_id = case.id
                act = Act(self.actor, self.api.clock.now(), case.version)
                made = self._choose(case)
            try:
                with self.api.services.sessions.begin() as session:
                    self._carry_out(session, made, case_id, act)
            except (Conflict, NotAllowed):
                self.lost += 1
            else:
                self.done[made, case_id] += 1

    def _choose(self, case: Case) -> str:
        """By what they saw, which may be over by the time they act."""
        if case.status == "resolved":
            return "reopened"
        if case.claimed_by == self.actor.user_id:
            return self.random.choice(("decide", "decide", "released", "noted"))
        return self.random.choice(("claimed", "claimed", "claimed", "taken_over", "noted"))

    def _carry_out(self, session: Session, made: str, case_id: int, act: Act) -> None:
        if made == "claimed":
            claims.claim(session, case_id, act, lease=LEASE)
        elif made == "taken_over":
            claims.take_over(session, case_id, act, reason="x", lease=LEASE)
        elif made == "released":
            claims.release(session, case_id, act)
        elif made == "noted":
            handling.note(session, case_id, act, text="x")
        elif made == "reopened":
            resolutions.reopen(session, case_id, act, reason="x")
        else:
            found = self.random.choice((Resolution.FRAUD, Resolution.LEGITIMATE))
            code = {Resolution.FRAUD: "scam", Resolution.LEGITIMATE: "travel"}[found]
            finding = Finding(found, (code,))
            resolutions.decide(session, case_id, act, finding, key=b"k", topic="outcomes")


@pytest.mark.parametrize(
    "attempts", [1_000, pytest.param(10_000, marks=pytest.mark.soak)], ids=["some", "all"]
)
def test_many_analysts_race_for_few_cases(api: Api, attempts: int) -> None:
    """Whatever was answered as done is there once, what was refused left nothing.

    Eight analysts with connections of their own, three cases, half of the decisions looked at
    twice, while the stream adds alerts to the cases.
    """
    accounts = [f"acc-{number}" for number in range(3)]
    with api.seed() as seed:
        for account in accounts:
            seed.case(account)
        actors = [actor_of(seed.user(f"senior-{n}", Role.SENIOR)) for n in range(8)]
    set_rules(api, second_share=0.5)
    racers = [Racer(api, actor, accounts, n) for n, actor in enumerate(actors)]

    def stream() -> None:
        for number in range(attempts // 50):
            add_alert(api, account=accounts[number % 3])

    share = -(-attempts // len(racers))
    calls: list[Callable[[], None]] = [partial(racer.run, share) for racer in racers]
    at_once([*calls, stream])

    done: Counter[tuple[str, int]] = Counter()
    for racer in racers:
        done += racer.done
    assert sum(racer.lost for racer in racers) > attempts / 20, "they got into each other's way"
    events = Counter((row.kind, row.case_id) for row in api.rows(CaseEvent))
    decisions = Counter(row.case_id for row in api.rows(CaseDecision))
    ids = {case.id for case in api.rows(Case)}
    for case_id in ids:
        for kind in ("claimed", "taken_over", "released", "noted", "reopened"):
            assert events[kind, case_id] == done[kind, case_id], kind
        assert decisions[case_id] == done["decide", case_id]
    assert sum(events["alert_added", case_id] for case_id in ids) == 3 + attempts // 50
    with api.services.sessions() as session:
        check(session, accounts)
        assert audit.verify(session).ok
