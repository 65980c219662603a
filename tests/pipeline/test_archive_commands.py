"""The commands that make, list and read the archive: `ledger`, `verify`, `replay`, `grow`."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, text

from fraudwatch import cli
from fraudwatch.casework import db
from fraudwatch.casework.archive_rows import read_archives
from fraudwatch.casework.ledger_tables import make_tables
from fraudwatch.clock import FixedClock
from streams.growth import partitions_there
from streams.source import Message
from tests.pipeline.old_days import BEFORE, FIRST, NEWEST, Sessions, fill, ok, seen
from tests.pipeline.test_growth import FEW, MANY, Stream, files
from tests.pipeline.worlds import KEY, LIVE, Installation

Install = Callable[[], Installation]


@dataclass(frozen=True)
class Ended:
    """What a command wrote, and its exit code."""

    code: int | str | None
    out: str
    err: str


class Commands:
    """Runs `fraudwatch …` in this process: one of its own would take seconds for each."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], data: Path
    ) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.data = data
        self.set(DATA_DIR=str(data), SECRET_KEY=KEY.decode())
        monkeypatch.setenv("COLUMNS", "240")

    def set(self, **settings: str) -> None:
        for name, value in settings.items():
            self._monkeypatch.setenv(f"FRAUDWATCH_{name}", value)

    def __call__(self, *arguments: str) -> Ended:
        self._monkeypatch.setattr(sys, "argv", ["fraudwatch", *arguments])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        written = self._capsys.readouterr()
        return Ended(end.value.code, written.out, written.err)


@pytest.fixture
def commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Commands]:
    """Ends the commands' connections, as the end of their process does."""
    engines = []
    open_engine = db.open_engine

    def remember(url: URL, *, pool_size: int = 10) -> Engine:
        engines.append(open_engine(url, pool_size=pool_size))
        return engines[-1]

    monkeypatch.setattr(db, "open_engine", remember)
    yield Commands(monkeypatch, capsys, tmp_path / "data")
    for engine in engines:
        engine.dispose()


def of_database(commands: Commands, sessions: Sessions) -> None:
    with sessions() as session:
        url = session.get_bind().engine.url
    commands.set(DATABASE_URL=url.render_as_string(hide_password=False))


@pytest.fixture
def old(sessions: Sessions, commands: Commands) -> Sessions:
    """See `tests.pipeline.old_days.fill`; the commands work on it."""
    fill(sessions)
    of_database(commands, sessions)
    return sessions


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """The clock of `fraudwatch ledger`."""
    monkeypatch.setattr("fraudwatch.cli.ledger.SystemClock", lambda: FixedClock(moment))


# -- `fraudwatch ledger` --------------------------------------------------------------------------


def test_days_become_files_and_are_listed_as_such(commands: Commands, old: Sessions) -> None:
    with old.begin() as session:
        make_tables(session, [FIRST.date() - timedelta(days=9)], NEWEST.date())
    assert commands("ledger", "list").out.count("online") == 4
    before = seen(old)
    done = commands("ledger", "archive", "--before", str(BEFORE))
    assert (done.code, done.err) == (0, "")
    *days, last = done.out.splitlines()
    assert last == "2 archived, 1 dropped empty, 0 deleted for their age"
    assert days[0].endswith(": empty, dropped")
    with old() as session:
        archives = read_archives(session)
    assert days[1:] == [f"{a.path}: 12 rows, SHA-256 {a.sha256}" for a in archives]
    assert all(archived.path.parent == commands.data / "archive" for archived in archives)
    listed = commands("ledger", "list").out
    assert [listed.count(str(archived.path)) for archived in archives] == [1, 1]
    assert listed.count("online") == 1
    again = commands("ledger", "archive", "--before", str(BEFORE))
    assert (again.code, again.out.split(",")[0]) == (0, "0 archived")
    assert seen(old) == before


def test_days_kept_and_ages_come_from_settings_too(
    commands: Commands, old: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, NEWEST + timedelta(days=10))
    commands.set(LEDGER_DAYS="209")  # leaves the second of the old days
    assert "1 archived" in commands("ledger", "archive").out
    assert "1 archived" in commands("ledger", "archive", "--keep-days", "200").out
    commands.set(ARCHIVE_DAYS="209")
    assert "0 archived, 0 dropped empty, 1 deleted" in commands("ledger", "archive").out
    assert commands("ledger", "list").out.count("deleted") == 1
    assert len(list((commands.data / "archive").glob("*.parquet"))) == 1
    assert ok(old)


def test_what_stays_is_told_with_exit_code_1(commands: Commands, old: Sessions) -> None:
    with old.begin() as session:
        session.execute(text("UPDATE stream_offsets SET published_offset = 11 WHERE partition = 1"))
    done = commands("ledger", "archive", "--before", str(BEFORE))
    assert done.code == 1
    assert done.err.startswith("ledger_20260302_")
    assert done.err.endswith(" stays: decisions of it are not published yet\n")
    assert "1 archived" in done.out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "set FRAUDWATCH_LEDGER_DAYS"),
        (("--before", str(BEFORE), "--keep-days", "3"), "not both"),
        (("--before", str(NEWEST.date())), "120 days before the newest must stay"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(
    commands: Commands, old: Sessions, options: Sequence[str], told: str
) -> None:
    done = commands("ledger", "archive", *options)
    assert (done.code, done.out, len(done.err.splitlines())) == (1, "", 1)
    assert told in done.err
    with old() as session:
        assert read_archives(session) == []


# -- what reads it --------------------------------------------------------------------------------


def later(messages: Sequence[Message]) -> list[Message]:
    """The same payments, long after."""
    return [
        Message(
            message.key,
            json.dumps(
                found
                | {
                    "transaction_id": f"{found['transaction_id']}-later",
                    "event_time": found["event_time"].replace("2026-03", "2026-10"),
                }
            ).encode(),
        )
        for message in messages
        for found in (json.loads(message.value),)
    ]


def stream_of(here: Installation, partitions: int) -> Stream:
    here.clock.moment = LIVE + timedelta(days=300)
    return Stream(here, files(here.folder), partitions)


def some(here: Installation) -> list[Message]:
    chosen = here.trained.messages[:: max(1, len(here.trained.messages) // 200)]
    return [*chosen, *later(chosen[:20])]


def archived(commands: Commands, here: Installation) -> Stream:
    """A stream of four old days and a new one; the old ones are in the archive."""
    stream = stream_of(here, FEW)
    stream.send(some(here))
    stream.work()
    of_database(commands, here.sessions)
    names = ("transactions", "labels", "decisions", "outcomes", "dead_letters")
    commands.set(
        STREAM_URL=stream.settings.stream_url,
        PARTITIONS=str(FEW),
        **{f"TOPIC_{n.upper()}": getattr(stream.settings, f"topic_{n}") for n in names},
    )
    commands.data.mkdir()
    (commands.data / "models").symlink_to(here.trained.models_dir)
    done = commands("ledger", "archive", "--before", str((LIVE + timedelta(days=9)).date()))
    assert (done.code, done.err) == (0, "")
    return stream


def test_replay_verify_and_growth_see_the_archive(
    commands: Commands, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After growth everything is as if there had always been so many partitions and no archive.
    What was deleted for its age can be replayed no more, and that is said."""
    here, other = install(), install()
    stream = archived(commands, here)
    online = len(here.ledger())
    count = len(some(here))
    assert online == 20
    assert f"rows in the archive: {count - online}" in commands("verify").out
    replayed = commands("replay")
    assert (replayed.code, replayed.err) == (0, "")
    assert replayed.out == f"{count} decisions computed again, 0 differ; ok\n"

    grown = commands("grow", "--partitions", str(MANY))
    assert (grown.code, partitions_there(stream.settings)) == (0, MANY), grown.err
    more = later(here.trained.messages[1:40:2])
    stream.send(more)
    worker = stream.work()
    reference = stream_of(other, MANY)
    reference.send([*some(other), *more])
    expected = reference.work()
    assert here.states(worker) == other.states(expected)
    assert stream.decided() == [
        row for row in reference.decided() if row["event_time"] > LIVE + timedelta(days=9)
    ]
    replayed = commands("replay")
    assert replayed.out == f"{count + len(more)} decisions computed again, 0 differ; ok\n"
    assert commands("verify").code == 0

    at(monkeypatch, here.clock.moment)
    commands.set(ARCHIVE_DAYS="250")
    assert "4 deleted for their age" in commands("ledger", "archive", "--keep-days", "250").out
    assert f"deleted with it: {count - online}" in commands("verify").out
    replayed = commands("replay")
    assert (replayed.code, "was deleted for its age" in replayed.err) == (1, True)


def test_a_damaged_or_missing_file_is_named_by_whoever_needs_it_and_nothing_is_changed(
    commands: Commands, install: Install, tmp_path: Path
) -> None:
    """With the copy put back everything goes on."""
    here = install()
    stream = archived(commands, here)
    with here.sessions() as session:
        first, second = read_archives(session)[:2]
    kept = tmp_path / "kept"
    shutil.copytree(first.path.parent, kept)
    content = bytearray(first.path.read_bytes())
    content[len(content) // 2] ^= 1
    first.path.write_bytes(content)
    second.path.unlink()
    told = [
        f"{first.path} is not as it was written: put back a copy with SHA-256 {first.sha256}",
        f"{second.path} is missing: put back a copy with SHA-256 {second.sha256}",
    ]
    proof = commands("verify")
    assert (proof.code, proof.err.splitlines()) == (1, [f"archive: {fault}" for fault in told])
    replayed = commands("replay")
    assert (replayed.code, replayed.out) == (1, "")
    assert replayed.err.strip().splitlines()[-1] in [f"fraudwatch: {fault}" for fault in told]
    grown = commands("grow", "--partitions", str(MANY))
    assert (grown.code, grown.out) == (1, "")
    assert grown.err == f"fraudwatch: {'; '.join(told)}\n"
    assert partitions_there(stream.settings) == FEW
    # What the archive does not need goes on.
    assert commands("ledger", "list").code == 0
    stream.send(later(here.trained.messages[1:9:2]))
    stream.work()

    for archive in (first, second):
        shutil.copy(kept / archive.path.name, archive.path)
    assert commands("verify").code == 0
    assert commands("replay").code == 0
    assert commands("grow", "--partitions", str(MANY)).code == 0
