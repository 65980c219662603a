"""The archive of the ledger: whatever happens while a day becomes a file, no row is lost, and
readers see it as before."""

from __future__ import annotations

import json
from datetime import timedelta
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import case_views, ledger, stored_messages, views
from fraudwatch.casework.archive import archive, delete_old
from fraudwatch.casework.archive_files import pack_spans, unpack_spans
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.ledger_tables import LedgerTables, read_tables
from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import (
    Alert,
    Case,
    KeptRow,
    LedgerRow,
)
from fraudwatch.casework.repeats import reject_repeats
from fraudwatch.casework.scored import Scored
from fraudwatch.casework.verify import verify
from fraudwatch.clock import FixedClock
from fraudwatch.domain.access import Actor, Permission, Role
from fraudwatch.domain.decision import Versions
from fraudwatch.domain.transaction import Transaction, encode
from fraudwatch.errors import ArchiveError, Invalid, NotFound, Unavailable
from fraudwatch.features.columns import from_transactions
from fraudwatch.history import from_ledger
from streams.arrivals import Arrivals
from tests.pipeline.old_days import (
    BEFORE,
    FIRST,
    NEWEST,
    ROWS,
    SPEC,
    TOPIC,
    Sessions,
    fill,
    ok,
    row,
    run,
    seen,
    transaction,
)


@pytest.fixture
def old(sessions: Sessions) -> Sessions:
    """See `tests.pipeline.old_days.fill`."""
    fill(sessions)
    return sessions


def replayed(session: Session) -> list[int]:
    """Offsets of partition 0 as account state is made of them again."""
    found = list(chain.from_iterable(stored_messages.replay(session, 0, 0, 99, chunk=5)))
    known = {(one["partition"], one["offset"]): one for one in ROWS}
    for message in found:
        one = known[0, message.offset]
        assert (message.account_id, message.payload) == (one["account_id"], one["payload"])
    return [message.offset for message in found]


def test_readers_see_archived_rows_as_before(old: Sessions, tmp_path: Path) -> None:
    """Replay in offset order, history for training, the proof, and what the manifest says."""
    before, since, until = seen(old), FIRST, NEWEST + timedelta(days=1)
    with old() as session:
        history = from_ledger(session, SPEC, since=since, until=until)
    assert run(old, tmp_path) == 2
    assert seen(old) == before
    with old() as session:
        again = from_ledger(session, SPEC, since=since, until=until)
        first, second = read_archives(session)
        assert session.query(LedgerRow).count() == 2
        assert [
            past.offset for piece in stored_messages.replay(session, 0, 0, 99) for past in piece
        ] == [*range(13)]
    with old() as session:
        proof = verify(session, TOPIC)
    order = np.argsort(history.transaction), np.argsort(again.transaction)
    assert np.array_equal(history.features[order[0]], again.features[order[1]])
    assert np.array_equal(again.time_us, np.sort(history.time_us))
    assert proof.ok
    assert (proof.archived_rows, [p.rows for p in proof.partitions]) == (24, [13, 13])
    manifest = json.loads(first.path.with_suffix(".json").read_text())
    assert (manifest["rows"], manifest["sha256"]) == (12, first.sha256)
    assert manifest["offsets"]["1"] == {"first": 0, "next": 11, "rows": 6}
    assert pq.read_table(second.path)["offset"].to_pylist() == [1, 3, 5, 7, 9, 11] * 2
    assert run(old, tmp_path) == 0


@pytest.mark.parametrize("step", ["written", "compared", "named", "manifest", "dropped"])
def test_a_run_that_is_cut_short_loses_nothing_and_can_be_run_again(
    old: Sessions, tmp_path: Path, step: str
) -> None:
    before = seen(old)

    def die(done: str) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(old, tmp_path, die)
    assert seen(old) == before
    assert ok(old)
    with old() as session:
        assert (len(read_tables(session)), read_archives(session)) == (3, [])
    assert run(old, tmp_path) == 2
    assert seen(old) == before
    assert ok(old)
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.name != ".lock") == [
        ".json",
        ".json",
        ".parquet",
        ".parquet",
    ]


def test_rows_that_come_during_the_export_are_exported_too(old: Sessions, tmp_path: Path) -> None:
    late = row(0, 13, FIRST + timedelta(hours=1))
    came: list[str] = []

    def come(done: str) -> None:
        if done == "manifest" and not came:
            came.append(done)
            with old.begin() as session:
                session.execute(insert(LedgerRow), [late])
                session.execute(
                    text(
                        "UPDATE stream_offsets SET next_offset = 14, published_offset = 14"
                        " WHERE partition = 0"
                    )
                )

    assert run(old, tmp_path, come) == 2
    assert ok(old)
    with old() as session:
        assert [archived.rows for archived in read_archives(session)] == [13, 12]


def test_what_is_not_published_or_too_new_stays(old: Sessions, tmp_path: Path) -> None:
    with old.begin() as session:
        session.execute(text("UPDATE stream_offsets SET published_offset = 11 WHERE partition = 1"))
    first, second = archive(old, tmp_path, TOPIC, BEFORE)
    assert first.archived is not None
    assert first.archived.first == FIRST.date()
    assert second.reason == "decisions of it are not published yet"
    with pytest.raises(Invalid, match="120 days"):
        archive(old, tmp_path, TOPIC, NEWEST.date())


def test_a_damaged_or_missing_file_is_named(old: Sessions, tmp_path: Path) -> None:
    run(old, tmp_path)
    with old() as session:
        first, second = read_archives(session)
    content = bytearray(first.path.read_bytes())
    content[len(content) // 2] ^= 1
    first.path.write_bytes(content)
    second.path.unlink()
    with old() as session:
        proof = verify(session, TOPIC)
    assert not proof.ok
    assert [fault.split(":")[0] for fault in proof.archive_faults] == [
        f"{first.path} is not as it was written",
        f"{second.path} is missing",
    ]
    with pytest.raises(ArchiveError, match="put back a copy with SHA-256"):
        seen(old)


def test_what_went_to_people_stays_readable_without_the_archive(
    old: Sessions, tmp_path: Path
) -> None:
    (of_case,) = [found for found in ROWS if found["transaction_id"] == "t-4"]
    with old.begin() as session:
        case = Case(
            account_id=of_case["account_id"],
            outcome=1,
            amount=1,
            alert_count=1,
            priority=1,
            opened_at=NEWEST,
            updated_at=NEWEST,
            due_at=NEWEST,
        )
        session.add(case)
        session.flush()
        session.add(
            Alert(
                case_id=case.id,
                partition=0,
                offset=4,
                transaction_id="t-4",
                event_time=of_case["event_time"],
                outcome=1,
                rule=0,
                added_at=NEWEST,
            )
        )
    run(old, tmp_path)
    for path in tmp_path.glob("*.parquet"):
        path.unlink()
    lens = Lens(
        Actor(1, "ola", Role.RISK_OFFICER, True, frozenset({Permission.PERSONAL_READ})), b"k" * 32
    )
    with old() as session:
        assert session.scalars(select(KeptRow.transaction_id)).all() == ["t-4"]
        (alert,) = case_views.case_detail(session, lens, case.id, now=NEWEST).alerts
        assert alert.transaction.transaction_id == "t-4"
        assert [reason.feature for reason in alert.reasons] == ["f"]
        assert views.transaction_detail(session, lens, "t-4").event_time == of_case["event_time"]
        with pytest.raises(NotFound):
            views.transaction_detail(session, lens, "t-5")


def test_files_are_deleted_for_their_age_and_the_proof_says_so(
    old: Sessions, tmp_path: Path
) -> None:
    run(old, tmp_path)
    assert delete_old(old, tmp_path, FIRST.date() + timedelta(days=1), NEWEST) == 1
    assert delete_old(old, tmp_path, FIRST.date() + timedelta(days=1), NEWEST) == 0
    assert len(list(tmp_path.glob("*.parquet"))) == len(list(tmp_path.glob("*.json"))) == 1
    with old() as session:
        proof = verify(session, TOPIC)
    assert (proof.ok, proof.archived_rows, proof.deleted_rows) == (True, 12, 12)
    with old() as session:
        left = [
            past.offset for piece in stored_messages.replay(session, 0, 0, 99) for past in piece
        ]
    assert left == [1, 3, 5, 7, 9, 11, 12]
    with pytest.raises(ArchiveError, match="deleted for its age"):
        seen(old)


def arrivals(*items: Transaction) -> Arrivals[Transaction]:
    payloads = [encode(item) for item in items]
    n = len(items)
    return Arrivals(0, list(range(n)), list(items), payloads, [None] * n)


def scored(item: Transaction) -> Scored:
    nothing = np.full(1, np.nan)
    return Scored(
        partitions=[0],
        offsets=[13],
        transactions=[item],
        time_us=from_transactions([item], SPEC).time_us,
        payloads=[encode(item)],
        features=np.zeros((1, len(SPEC.names))),
        features_version=SPEC.version,
        anomaly_score=nothing,
        risk=nothing,
        challenger_risk=nothing,
        outcome=np.zeros(1, dtype=np.int8),
        rule=np.zeros(1, dtype=np.int8),
        reasons={},
        versions=Versions(None, 1, ""),
        challenger_id=None,
        scored_at=NEWEST,
    )


def test_a_day_in_the_archive_is_closed_also_for_who_knew_its_table(
    old: Sessions, tmp_path: Path
) -> None:
    """A worker that remembers the table puts late messages and repeats aside, and never makes the
    table anew; a batch computed before is given up."""
    tables = LedgerTables(old, FixedClock(NEWEST))
    days = [FIRST.date(), NEWEST.date()]
    tables.prepare(days, [(0, 0, 13)])
    run(old, tmp_path)
    with old() as session, pytest.raises(ledger.AlreadyDecided, match="archived"):
        ledger.write(session, scored(transaction(99, FIRST)), tables)
    came = arrivals(
        transaction(0, FIRST), transaction(77, FIRST), transaction(78, NEWEST + timedelta(hours=1))
    )
    with old() as session:
        reject_repeats(session, [came], tables)
    assert [(r.offset, r.reason) for r in came.rejected] == [(0, "closed_day"), (1, "closed_day")]
    assert [kept.transaction_id for kept in came.items] == ["t-78"]
    fresh = LedgerTables(old, FixedClock(NEWEST))
    fresh.prepare(days, [(0, 13, 14)])
    with old() as session:
        assert len([t for t in read_tables(session) if FIRST.date() in t]) == 0
    with old() as session, pytest.raises(ledger.AlreadyDecided, match="archived"):
        ledger.write(session, scored(transaction(99, FIRST)), fresh)


def test_room_for_offsets_of_a_table_that_is_gone_is_not_asked_for(
    old: Sessions, tmp_path: Path
) -> None:
    tables = LedgerTables(old, FixedClock(NEWEST))
    tables.prepare([FIRST.date()], [(0, 0, 13)])
    run(old, tmp_path)
    tables.prepare([FIRST.date()], [(0, 0, 200_000)])
    with old() as session, pytest.raises(ledger.AlreadyDecided, match="archived"):
        ledger.write(session, scored(transaction(99, FIRST)), tables)


def test_archiving_waits_for_who_reads_the_list_of_tables(
    old: Sessions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fraudwatch.casework.archive._TRIES", 1)
    before = seen(old)
    with old() as session:
        read_tables(session)
        with pytest.raises(Unavailable):
            run(old, tmp_path)
    assert seen(old) == before
    assert run(old, tmp_path) == 2


def test_spans_come_back_as_they_were_packed() -> None:
    spans = np.array([[0, 3], [7, 8], [2**40, 2**40 + 5]], dtype=np.int64)
    assert np.array_equal(unpack_spans(pack_spans(spans)), spans)
