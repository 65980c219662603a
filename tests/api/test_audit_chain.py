"""Whatever is done to rows of the audit log, by whoever may do anything, is found and named."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import audit, audit_chain, looks
from fraudwatch.casework.audit_chain import Fault, FaultKind, Head
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import AuditRow, LookRow, PendingChange, PendingLook
from fraudwatch.domain.access import Actor, Permission, Role
from tests.api.seed import NOW

ACTOR = Actor(7, "ada", Role.ANALYST, True, frozenset({Permission.PERSONAL_READ}))
KEY = b"k" * 32
REHASH = (
    "UPDATE {table} SET hash = sha256(previous_hash || int8send(id) || {digest}) WHERE id = {id}"
)


def change(session: Session, number: int) -> None:
    audit.append(
        session,
        at=NOW,
        actor=None,
        action="test",
        subject=f"case:{number}",
        data={"text": "é \u2013 \u2028", "share": 0.1, "at": NOW, "list": [1, None, True]},
    )


def look(session: Session, number: int) -> None:
    lens = Lens(ACTOR, KEY)
    lens.id(f"acc-{number:012d}")
    looks.record(session, lens, at=NOW, where="GET /v1/cases/{case_id}", asked={"case_id": number})


@pytest.fixture
def filled(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Six rows in each chain; the last of looks is marked, which is the seventh change."""
    for number in range(1, 7):
        with sessions.begin() as session:
            change(session, number)
            look(session, number)
    with sessions.begin() as session:
        assert looks.seal(session) == 6
        assert looks.mark(session, NOW)
    return sessions


def forged(session: Session, table: str, number: int) -> None:
    """Give a changed row the hash that it would have had."""
    model = AuditRow if table == "audit_log" else LookRow
    session.expire_all()
    row = session.get_one(model, number)
    content = {c: getattr(row, c) for c in ("at", "actor_id", "actor", "action", "subject", "data")}
    session.execute(
        text(REHASH.format(table=table, digest=":digest", id=number)),
        {"digest": audit_chain.digest(**content)},
    )


# What is done, by table name {t}, and what has to be told of it. `hash N` forges a row's hash.
TAMPERINGS: dict[str, tuple[Sequence[str], list[tuple[int, FaultKind]]]] = {
    "another actor": (["UPDATE {t} SET actor = 'x' WHERE id = 3"], [(3, FaultKind.CHANGED)]),
    "another time": (
        ["UPDATE {t} SET at = at + interval '1 second' WHERE id = 3"],
        [(3, FaultKind.CHANGED)],
    ),
    "other data": (
        ['UPDATE {t} SET data = data || \'{{"share": "0.2"}}\' WHERE id = 3'],
        [(3, FaultKind.CHANGED)],
    ),
    "a row and its hash": (
        ["UPDATE {t} SET actor = 'x' WHERE id = 3", "hash 3"],
        [(3, FaultKind.CHANGED)],
    ),
    "the first row and its hash": (
        ["UPDATE {t} SET previous_hash = sha256('x') WHERE id = 1", "hash 1"],
        [(1, FaultKind.CHANGED)],
    ),
    "a hash alone": (
        ["UPDATE {t} SET hash = previous_hash WHERE id = 3"],
        [(3, FaultKind.CHANGED)],
    ),
    "a row is gone": (["DELETE FROM {t} WHERE id = 3"], [(3, FaultKind.REMOVED)]),
    "the first rows are gone": (["DELETE FROM {t} WHERE id < 3"], [(1, FaultKind.REMOVED)]),
    "a row is gone and the others close up": (
        [
            "DELETE FROM {t} WHERE id = 3",
            "UPDATE {t} SET id = -id WHERE id > 3",
            "UPDATE {t} SET id = -id - 1 WHERE id < 0",
        ],
        [(3, FaultKind.REMOVED), (3, FaultKind.MOVED), (4, FaultKind.MOVED)],
    ),
    "a row between two others": (
        [
            "UPDATE {t} SET id = -id WHERE id >= 3",
            "UPDATE {t} SET id = 1 - id WHERE id < 0",
            "INSERT INTO {t} SELECT 3, at, actor_id, actor, 'forged', subject, data, hash, hash"
            " FROM {t} WHERE id = 2",
            "hash 3",
        ],
        [(3, FaultKind.INSERTED), (4, FaultKind.MOVED), (5, FaultKind.MOVED)],
    ),
    "two rows in each other's place": (
        [
            "UPDATE {t} SET id = -1 WHERE id = 3",
            "UPDATE {t} SET id = 3 WHERE id = 5",
            "UPDATE {t} SET id = 5 WHERE id = -1",
        ],
        [(3, FaultKind.MOVED), (5, FaultKind.MOVED)],
    ),
    "a row out of the way": (
        ["UPDATE {t} SET id = -id WHERE id = 1"],
        [(-1, FaultKind.MOVED)],
    ),
}


def told(faults: Sequence[Fault]) -> list[tuple[int, FaultKind]]:
    return [(fault.row, fault.kind) for fault in faults]


def tamper(session: Session, table: str, acts: Sequence[str]) -> None:
    session.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
    for act in acts:
        if act.startswith("hash "):
            forged(session, table, int(act.removeprefix("hash ")))
        else:
            session.connection().exec_driver_sql(act.format(t=table))
    session.expire_all()


@pytest.mark.parametrize("table", ["audit_log", "looks"])
def test_a_tampered_row_is_found_and_named(filled: sessionmaker[Session], table: str) -> None:
    """By somebody who may switch off the triggers that refuse changes."""
    verify = audit.verify if table == "audit_log" else looks.verify
    with filled() as session:
        whole = verify(session)
    assert (whole.ok, whole.faults) == (True, ())
    for what, (acts, wanted) in TAMPERINGS.items():
        with filled() as session:
            tamper(session, table, acts)
            check = verify(session)
            session.rollback()
        assert not check.ok, what
        assert told(check.faults)[: len(wanted)] == wanted, what
        assert check.broken_at == wanted[0][0], what


def rewrite(session: Session, table: str, first: int) -> None:
    """Change a row and compute every later hash anew: the chain itself shows nothing then."""
    tamper(session, table, [f"UPDATE {table} SET actor = 'x' WHERE id = {first}"])
    last = session.scalar(text(f"SELECT max(id) FROM {table}"))
    for number in range(first, last + 1):
        session.execute(
            text(
                f"UPDATE {table} SET previous_hash = coalesce((SELECT p.hash FROM {table} p"
                f" WHERE p.id = {number} - 1), previous_hash) WHERE id = {number}"
            )
        )
        forged(session, table, number)
    session.expire_all()


def test_a_rewritten_chain_is_found_by_a_head_from_elsewhere(
    filled: sessionmaker[Session],
) -> None:
    with filled() as session:
        hashes = {row.id: row.hash.hex() for row in session.query(AuditRow)}
        heads = [Head(number, hashes[number]) for number in (2, 5, 7)]
        assert audit.verify(session, heads).ok
        rewrite(session, "audit_log", 4)
        assert audit.verify(session).ok
        check = audit.verify(session, heads)
    assert told(check.faults) == [(5, FaultKind.REWRITTEN), (7, FaultKind.REWRITTEN)]
    assert "after row 2" in check.faults[0].detail


def test_rewritten_looks_are_found_by_the_chain_of_changes(filled: sessionmaker[Session]) -> None:
    with filled() as session:
        rewrite(session, "looks", 4)
        check = looks.verify(session)
    assert told(check.faults) == [(6, FaultKind.REWRITTEN)]


def test_cut_off_rows_are_found_by_a_head_from_elsewhere(filled: sessionmaker[Session]) -> None:
    with filled() as session:
        newest = audit.verify(session)
        tamper(session, "audit_log", ["DELETE FROM {t} WHERE id > 5"])
        assert audit.verify(session).ok
        check = audit.verify(session, [Head(newest.last, newest.head)])
        assert told(check.faults) == [(6, FaultKind.REMOVED)]
        tamper(session, "looks", ["DELETE FROM {t} WHERE id > 5"])
        assert looks.verify(session).ok  # the mark was cut off as well
        session.rollback()
        tamper(session, "looks", ["DELETE FROM {t} WHERE id > 5"])
        assert told(looks.verify(session).faults) == [(6, FaultKind.REMOVED)]


def test_rows_of_version_0_1_still_fit(filled: sessionmaker[Session]) -> None:
    """Their hash was of other bytes; updating the program must not look like tampering."""
    with filled() as session:
        tamper(session, "audit_log", ["DELETE FROM {t} WHERE id > 1"])
        canonical = (
            '{"action":"test","actor":"fraudwatch","actor_id":null,'
            '"at":"2026-03-02T12:00:00.000000+00:00","data":{"share":"0.1"},"id":2,'
            '"subject":"case:2"}'
        )
        session.execute(
            text(
                "INSERT INTO audit_log SELECT 2, at, actor_id, actor, action, 'case:2',"
                " '{\"share\": \"0.1\"}', hash, sha256(hash || convert_to(:content, 'UTF8'))"
                " FROM audit_log WHERE id = 1"
            ),
            {"content": canonical},
        )
        change(session, 3)
        session.execute(text("SET CONSTRAINTS ALL IMMEDIATE"))
        check = audit.verify(session)
        assert (check.ok, check.rows) == (True, 3)


def test_a_change_and_its_row_are_one(sessions: sessionmaker[Session]) -> None:
    """What is undone leaves no row and no gap, a part of a transaction as well as a whole one."""
    with sessions() as session:
        change(session, 1)
        session.rollback()
        change(session, 2)
        with session.begin_nested() as nested:
            change(session, 3)
            nested.rollback()
        change(session, 4)
        session.commit()
        found = [(row.id, row.subject) for row in session.query(AuditRow).order_by(AuditRow.id)]
        assert found == [(1, "case:2"), (2, "case:4")]
        assert session.query(PendingChange).count() == 0
        assert audit.verify(session).ok


def test_many_at_once_make_one_chain(sessions: sessionmaker[Session]) -> None:
    """No one waits while another's transaction is open: the place in the chain is of the commit."""
    barrier = threading.Barrier(8)

    def work(first: int) -> None:
        barrier.wait()
        for number in range(first, first + 10):
            with sessions.begin() as session:
                change(session, number)
                look(session, number)

    with sessions.begin() as open_one:
        change(open_one, 0)
        threads = [threading.Thread(target=work, args=(n * 10,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with sessions.begin() as session:
        assert looks.seal(session) == 80
    with sessions() as session:
        check, seen = audit.verify(session), looks.verify(session)
        assert (check.ok, check.rows, seen.ok, seen.rows) == (True, 81, True, 80)
        assert session.get_one(AuditRow, 81).subject == "case:0"
        assert session.query(PendingLook).count() == 0


def test_one_seals_at_a_time(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        look(session, 1)
    with sessions() as first, sessions() as second:
        assert looks.seal(first) == 1
        assert looks.seal(second) == 0
        first.rollback()
        assert looks.seal(second) == 1
        second.commit()


def test_looks_are_never_changed_nor_removed(filled: sessionmaker[Session]) -> None:
    for act in ("UPDATE looks SET id = id", "DELETE FROM looks", "TRUNCATE looks"):
        with filled.begin() as session, pytest.raises(DBAPIError, match="never changed or removed"):
            session.execute(text(act))
