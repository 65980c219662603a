"""What goes wrong while a day becomes a file: no row is lost, and the next run carries on."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from sqlalchemy import insert, text

from fraudwatch.casework import archive_files
from fraudwatch.casework.archive import archive
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.ledger_tables import LedgerTables, make_tables, read_tables
from fraudwatch.casework.models import LedgerRow
from fraudwatch.clock import FixedClock
from fraudwatch.errors import ArchiveError, ConfigurationError, Unavailable
from tests.pipeline.old_days import (
    BEFORE,
    FIRST,
    NEWEST,
    TOPIC,
    Sessions,
    fill,
    ok,
    row,
    run,
    seen,
)

EMPTY_DAY = FIRST.date().replace(month=2)

# A process of its own that archives, and is ended as `argv[3]` says: by the kernel when a file
# grows past some bytes, or by itself at a step.
_DYING = """
import os, resource, signal, sys
from datetime import date
from pathlib import Path
from sqlalchemy.engine import make_url
from fraudwatch.casework import db
from fraudwatch.casework.archive import archive

url, folder, how, before, topic = sys.argv[1:]
def die(step):
    if step == how:
        os.kill(os.getpid(), signal.SIGKILL)

if how == "middle of the file":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
if how in ("middle of the file", "full disk"):
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, 2_000))
sessions = db.session_factory(db.open_engine(make_url(url), pool_size=1))
archive(sessions, Path(folder), topic, date.fromisoformat(before), progress=die)
"""


@pytest.fixture
def old(sessions: Sessions) -> Sessions:
    """See `tests.pipeline.old_days.fill`."""
    fill(sessions)
    return sessions


def dying(sessions: Sessions, folder: Path, how: str) -> subprocess.CompletedProcess[str]:
    with sessions() as session:
        url = session.get_bind().engine.url.render_as_string(hide_password=False)
    return subprocess.run(
        [sys.executable, "-c", _DYING, url, str(folder), how, str(BEFORE), TOPIC],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


def untouched(sessions: Sessions) -> bool:
    with sessions() as session:
        return len(read_tables(session)) == 3 and read_archives(session) == []


def suffixes(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.iterdir() if path.name != ".lock")


@pytest.mark.parametrize("how", ["middle of the file", "written", "manifest", "dropped"])
def test_after_kill_9_everything_is_there_and_the_next_run_does_it(
    old: Sessions, tmp_path: Path, how: str
) -> None:
    """At the last step the table is dropped already, in a transaction that nobody commits."""
    before = seen(old)
    ended = dying(old, tmp_path, how).returncode
    assert ended == (-signal.SIGXFSZ if how == "middle of the file" else -signal.SIGKILL)
    assert seen(old) == before
    assert ok(old)
    assert untouched(old)
    assert run(old, tmp_path) == 2
    assert seen(old) == before
    assert ok(old)
    assert suffixes(tmp_path) == [".json", ".json", ".parquet", ".parquet"]


def test_a_full_disk_is_named_and_leaves_database_and_folder_as_they_were(
    old: Sessions, tmp_path: Path
) -> None:
    """The kernel refuses to let a file grow, as it does without room: no half file stays, which
    would keep the disk full."""
    ended = dying(old, tmp_path, "full disk")
    assert ended.returncode == 1
    assert (
        ended.stderr.splitlines()[-1]
        == f"fraudwatch.errors.Unavailable: the archive {tmp_path}: File too large; nothing is "
        "lost: make room and run the command again"
    )
    assert suffixes(tmp_path) == []
    assert untouched(old)
    assert run(old, tmp_path) == 2


@pytest.mark.parametrize("step", ["written", "compared", "named"])
def test_a_disk_that_is_full_at_a_later_step_leaves_what_was_done_before(
    old: Sessions, tmp_path: Path, step: str
) -> None:
    """Here the second day: the first one stays archived, and is told of."""
    told: list[object] = []
    before = seen(old)

    def fill_up(done: str) -> None:
        if told and done == step:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(Unavailable, match="No space left on device; nothing is lost"):
        archive(old, tmp_path, TOPIC, BEFORE, tell=told.append, progress=fill_up)
    with old() as session:
        assert len(read_archives(session)) == len(told) == 1
    assert seen(old) == before
    assert ok(old)
    assert run(old, tmp_path) == 1


def test_a_folder_that_cannot_be_used_is_named(old: Sessions, tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file stands here")
    with pytest.raises(ConfigurationError, match=r"archive: File exists; .*FRAUDWATCH_ARCHIVE_DIR"):
        run(old, tmp_path / "archive")
    assert untouched(old)


@pytest.mark.parametrize("damage", ["cut", "changed", "last rows gone", "gone"])
def test_what_the_disk_gives_back_otherwise_is_found_before_the_table_goes(
    old: Sessions, tmp_path: Path, damage: str
) -> None:
    def spoil(done: str) -> None:
        if done != "written":
            return
        (part,) = tmp_path.glob("*.part")
        content = bytearray(part.read_bytes())
        if damage == "cut":
            part.write_bytes(content[:-100])
        elif damage == "changed":
            content[4:400] = bytes(byte ^ 255 for byte in content[4:400])
            part.write_bytes(content)
        elif damage == "last rows gone":
            archive_files.write_part(part.with_suffix(""), [])
        else:
            part.unlink()

    with pytest.raises(ArchiveError, match="what was read back is not what was written"):
        run(old, tmp_path, spoil)
    assert untouched(old)
    assert run(old, tmp_path) == 2


def test_an_empty_day_is_dropped_without_a_file_and_stays_open(
    old: Sessions, tmp_path: Path
) -> None:
    """A table was made for it, and then the batch was given up."""
    with old.begin() as session:
        make_tables(session, [EMPTY_DAY], NEWEST.date())
    before = seen(old)
    outcomes = archive(old, tmp_path, TOPIC, BEFORE)
    assert [(o.table.first, o.dropped, o.reason) for o in outcomes] == [
        (EMPTY_DAY, True, ""),
        (FIRST.date(), False, ""),
        (FIRST.date().replace(day=2), False, ""),
    ]
    assert seen(old) == before
    assert ok(old)
    assert len(list(tmp_path.glob("*.parquet"))) == 2
    tables = LedgerTables(old, FixedClock(NEWEST))
    tables.prepare([EMPTY_DAY], [(0, 13, 14)])
    assert tables.of(EMPTY_DAY) is not None
    assert not tables.is_closed(EMPTY_DAY)


def test_a_row_that_comes_while_its_empty_day_is_dropped_keeps_the_day(
    old: Sessions, tmp_path: Path
) -> None:
    """Between our look and the lock: then the day is archived, with the row."""
    with old.begin() as session:
        make_tables(session, [EMPTY_DAY], NEWEST.date())
    late = row(0, 13, datetime.combine(EMPTY_DAY, time(9), UTC))

    def come(done: str) -> None:
        if done == "empty":
            with old.begin() as session:
                session.execute(insert(LedgerRow), [late])
                session.execute(
                    text(
                        "UPDATE stream_offsets SET next_offset = 14, published_offset = 14"
                        " WHERE partition = 0"
                    )
                )

    assert run(old, tmp_path, come) == 3
    assert ok(old)
    with old() as session:
        assert [archived.rows for archived in read_archives(session)] == [1, 12, 12]
