"""What must never be, the database refuses, whichever program asks."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.domain.access import Role
from fraudwatch.domain.case import CaseStatus, pairs
from tests.api.seed import Seed

RESOLVED = (
    "UPDATE cases SET status = 'resolved', resolution = 'fraud', reason_codes = '{scam}',"
    " catalogue = 1, claimed_by = NULL, lease_until = NULL"
)
OUTCOME = (
    "INSERT INTO outcomes (case_id, transaction_id, action, reason_codes, decided_by, decider_kind,"
    " decided_at) SELECT id, 'tx-000000', {action}, '{{scam}}', {by}, {kind}, now() FROM cases"
)
MODEL = (
    "INSERT INTO models (name, sha256, status, manifest, created_at)"
    " SELECT 'm' || n, '', '{status}', '{{}}', now() FROM generate_series(1, 2) n"
)
SERVICE = "(SELECT id FROM users WHERE name = 'robot')"
PERSON = "(SELECT id FROM users WHERE name = 'ada')"
BY_PERSON = f"resolved_at = now(), resolved_by = {PERSON}, resolver_kind = 'person'"
CLAIMED = (
    "UPDATE cases SET status = 'claimed', lease_until = now() + interval '1 hour',"
    f" claimed_by = {PERSON}"
)
DECIDED = (
    "INSERT INTO case_decisions (case_id, round, look, decided_by, decider_kind, decided_at,"
    " version, resolution, reason_codes, catalogue, note, differing, rules_id, second_why)"
    " SELECT id, 1, {look}, {by}, '{kind}', now(), 1, 'fraud', '{{scam}}', 1, '', '[]', 1, {why}"
    " FROM cases"
)
FIRST = DECIDED.format(look=1, by=PERSON, kind="person", why="NULL")

REFUSED = {
    "a decision by nobody": RESOLVED,
    "a decision by a service": f"{RESOLVED}, resolved_at = now(), resolved_by = {SERVICE},"
    " resolver_kind = 'service'",
    "a decision by a service that calls itself a person": f"{RESOLVED}, resolved_at = now(),"
    f" resolved_by = {SERVICE}, resolver_kind = 'person'",
    "a decline by a service": OUTCOME.format(action="'decline'", by=SERVICE, kind="'service'"),
    "a decline by a service that calls itself a person": OUTCOME.format(
        action="'decline'", by=SERVICE, kind="'person'"
    ),
    "a decline by nobody": OUTCOME.format(action="'decline'", by="NULL", kind="'person'"),
    "a word to the payment system that there is not": OUTCOME.format(
        action="'block'", by="(SELECT id FROM users WHERE name = 'ada')", kind="'person'"
    ),
    "a resolution that nobody came to": f"{CLAIMED}; {RESOLVED}, {BY_PERSON}",
    "a resolution that awaits a second look": f"{CLAIMED};"
    f" {DECIDED.format(look=1, by=PERSON, kind='person', why=chr(39) + 'amount' + chr(39))};"
    f" {RESOLVED}, {BY_PERSON}",
    "a finding of a service": DECIDED.format(look=1, by=SERVICE, kind="person", why="NULL"),
    "two looks of the same person": f"{FIRST};"
    f" {DECIDED.format(look=2, by=PERSON, kind='person', why='NULL')}",
    "a word to the payment system before the case is resolved": OUTCOME.format(
        action="'release'", by=PERSON, kind="'person'"
    ),
    "a claim of one who must not look again": f"UPDATE cases SET barred = ARRAY[{PERSON}];"
    f" {CLAIMED}",
    "a step past the claim": f"{FIRST}; {RESOLVED}, {BY_PERSON}",
    "a merge by nobody": "UPDATE cases SET status = 'merged', merged_into = id",
    "a second open case of an account": "UPDATE cases SET account_id = 'acc-1'",
    "a second active policy": "INSERT INTO policies (status, review_from, high_risk_from,"
    " no_history_amount, no_history_count, blind_spot_rate, comment, proposed_at)"
    " VALUES ('active', 0.9, 0.99, 1, 1, 0, '', now())",
    "a second champion": MODEL.format(status="champion"),
    "a second challenger": MODEL.format(status="challenger"),
}


@pytest.fixture
def seeded(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    with sessions.begin() as session:
        seed = Seed(session)
        seed.user("ada")
        seed.user("robot", Role.SERVICE)
        seed.case("acc-1")
        seed.case("acc-2")
    return sessions


@pytest.mark.parametrize("what", REFUSED)
def test_the_database_refuses(seeded: sessionmaker[Session], what: str) -> None:
    with pytest.raises(IntegrityError), seeded.begin() as session:
        session.execute(text(REFUSED[what]))


def test_the_ledger_refuses_an_adverse_outcome(sessions: sessionmaker[Session]) -> None:
    with pytest.raises(IntegrityError, match="ck_ledger_outcome"), sessions.begin() as session:
        Seed(session).transaction("acc-1").outcome = 3


def test_what_is_refused_of_others_is_taken_from_a_person(seeded: sessionmaker[Session]) -> None:
    """Otherwise the refusals above might come from something else in the statement."""
    with seeded.begin() as session:
        session.execute(text(CLAIMED))
        session.execute(text(FIRST))
        session.execute(text(f"{RESOLVED}, {BY_PERSON}"))
        session.execute(text(OUTCOME.format(action="'decline'", by=PERSON, kind="'person'")))
        session.execute(text(MODEL.format(status="retired")))


def test_the_database_lets_a_case_go_where_the_table_of_moves_does(engine: Engine) -> None:
    """Two lists of the same thing drift apart unless they are compared."""
    states = [status.value for status in CaseStatus]
    asked = text(
        "SELECT was, becomes FROM unnest(CAST(:all AS text[])) was, unnest(CAST(:all AS text[]))"
        " becomes WHERE case_move_allowed(was, becomes)"
    )
    with engine.connect() as connection:
        found = {tuple(row) for row in connection.execute(asked, {"all": states})}
    assert found == {(was.value, becomes.value) for was, becomes in pairs()}


@pytest.mark.parametrize(
    "table",
    [
        "ledger",
        "audit_log",
        "case_events",
        "case_decisions",
        "case_links",
        "casework_rules",
        "labels",
        "outcomes",
        "dead_letters",
    ],
)
@pytest.mark.parametrize("act", ["UPDATE {} SET {}", "TRUNCATE {} CASCADE"])
def test_records_are_never_changed_nor_emptied(
    seeded: sessionmaker[Session], table: str, act: str
) -> None:
    column = {"ledger": "risk = 0", "dead_letters": "reason = ''"}.get(table, "id = id")
    with (
        pytest.raises(DBAPIError, match="never changed or removed"),
        seeded.begin() as session,
    ):
        session.execute(text(act.format(table, column)))
