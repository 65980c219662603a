"""People at the same case at the same moment, with real threads on a real database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from threading import Barrier
from time import sleep
from typing import TypeVar

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from fraudwatch.casework import audit, claims, queue, resolutions
from fraudwatch.casework.auth import actor_of
from fraudwatch.casework.case_rows import Act
from fraudwatch.casework.models import AuditRow, Case, LabelRow, OutboxRow
from fraudwatch.domain.access import Actor, Role
from fraudwatch.domain.finding import Finding
from fraudwatch.domain.reason_codes import Resolution
from fraudwatch.errors import Conflict
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
            case = queue.next_case(session, actor, now=api.clock.now(), lease=LEASE)
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
