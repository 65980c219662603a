"""The live simulated stream: in order, never early, complete after stops, kills and outages."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fraudwatch.clock import FixedClock
from fraudwatch.domain.label import LabelSource, decode_label
from fraudwatch.domain.transaction import decode
from fraudwatch.errors import ConfigurationError, Invalid
from streams.file_lines import decode_line
from streams.files import FilePublisher
from streams.partitioner import partitions_of
from streams.simulator import World, WorldConfig
from streams.simulator.live import Progress, stream_live, transaction_messages

START = datetime(2026, 9, 1, tzinfo=UTC)
CONFIG = WorldConfig(
    seed=11,
    customers=60,
    card_testing=0.02,
    slow_drain=0.02,
    report_days_min=0.5,
    report_days_max=3,
)
PARTITIONS = 3


class Stage:
    """A file carrier, a clock that moves when the stream sleeps, and a stop after some sleeps."""

    def __init__(self, folder: Path, now: datetime) -> None:
        self.folder = folder
        self.clock = FixedClock(now)
        self.publisher = FilePublisher(folder, self.clock)
        self.state = folder / "state.json"
        self.sleeps_left = 0
        self.seen: list[Progress] = []
        for topic in ("transactions", "labels"):
            self.create(topic)

    def create(self, topic: str) -> None:
        (self.folder / topic).mkdir(parents=True)
        for partition in range(PARTITIONS):
            (self.folder / topic / f"partition-{partition}.jsonl").touch()

    def sleep(self, seconds: float) -> None:
        self.clock.moment += timedelta(seconds=seconds)
        self.sleeps_left -= 1

    def run(self, *, sleeps: int, speed: float, config: WorldConfig = CONFIG) -> Progress:
        self.sleeps_left = sleeps
        return stream_live(
            World(config),
            START,
            speed=speed,
            clock=self.clock,
            sleep=self.sleep,
            stop=lambda: self.sleeps_left <= 0,
            publisher=self.publisher,
            transactions_topic="transactions",
            labels_topic="labels",
            state_file=self.state,
            report=self.seen.append,
        )

    def sent(self, topic: str) -> list[tuple[int, bytes, bytes]]:
        """(partition, key, value) of all messages, by partition in the order of sending."""
        found = []
        for partition in range(PARTITIONS):
            path = self.folder / topic / f"partition-{partition}.jsonl"
            for line in path.read_bytes().splitlines():
                key, value, _, _ = decode_line(line)
                assert key is not None
                found.append((partition, key, value))
        return found

    def transactions(self) -> list[str]:
        return [
            decode(v, now=self.clock.now()).transaction_id for _, _, v in self.sent("transactions")
        ]

    def labels(self) -> list[str]:
        return [
            decode_label(value, now=self.clock.now()).transaction_id
            for _, _, value in self.sent("labels")
        ]


def expected(until: datetime) -> tuple[list[str], list[str]]:
    """Ids of the transactions in (START, until] and of the chargebacks known by then."""
    world = World(CONFIG)
    tick = timedelta(microseconds=1)
    frame = world.generate(START + tick, until + tick)
    known = world.chargebacks(frame)
    return list(frame["transaction_id"]), list(
        known.loc[known["known_at"] <= until, "transaction_id"]
    )


def test_messages_say_what_the_frame_says() -> None:
    frame = World(CONFIG).generate(START, START + timedelta(days=2))
    assert {"transfer", "online", "atm", "card_present"} <= set(frame["channel"])
    for row, message in zip(
        frame.astype(object).where(frame.notna(), None).to_dict("records"),
        transaction_messages(frame),
        strict=True,
    ):
        transaction = decode(message.value, now=START + timedelta(days=2))
        assert message.key == row["account_id"].encode()
        assert int(transaction.amount * 10_000) == row["amount_e4"]
        assert transaction.event_time == row["event_time"]
        for name in set(frame.columns) & set(transaction.__struct_fields__) - {"event_time"}:
            assert getattr(transaction, name) == row[name], name
        assert transaction.attributes == {
            str(name).removeprefix("attributes."): value
            for name, value in row.items()
            if str(name).startswith("attributes.") and value is not None
        }
        assert b"label" not in message.value
        assert b"pattern" not in message.value


def test_it_catches_up_and_then_keeps_to_the_clock(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START + timedelta(days=5))
    progress = stage.run(sleeps=100, speed=86_400 / 10)
    assert progress.position <= stage.clock.now()
    assert stage.clock.now() - progress.position <= timedelta(seconds=1)
    transactions, labels = expected(progress.position)
    assert sorted(stage.transactions()) == sorted(transactions)
    assert sorted(stage.labels()) == sorted(labels)
    assert len(labels) > 5
    moments = [seen.position for seen in stage.seen]
    assert moments == sorted(moments)


def test_speed_is_a_multiple_of_real_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START + timedelta(days=5))
    progress = stage.run(sleeps=10, speed=3_600)
    assert progress.position == START + timedelta(hours=9)  # nine full seconds between ten looks


def test_each_partition_is_in_order_and_holds_its_accounts(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START + timedelta(days=1))
    stage.run(sleeps=20, speed=86_400)
    sent = stage.sent("transactions")
    assert [partition for partition, _, _ in sent] == partitions_of(
        [key for _, key, _ in sent], PARTITIONS
    ).tolist()
    ids = [
        (partition, decode(value, now=stage.clock.now()).transaction_id)
        for partition, _, value in sent
    ]
    assert ids == sorted(ids)


def test_nothing_is_published_before_its_time(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START - timedelta(seconds=30))
    progress = stage.run(sleeps=20, speed=1_000)
    assert progress.position == START
    assert stage.transactions() == []


def test_a_second_run_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    """Chargebacks of transactions of the first run arrive in the second."""
    stage = Stage(tmp_path, START + timedelta(days=1))
    stage.run(sleeps=10, speed=86_400)
    stage.clock.moment += timedelta(days=3)
    progress = stage.run(sleeps=10, speed=86_400)
    transactions, labels = expected(progress.position)
    assert sorted(stage.transactions()) == sorted(transactions)
    assert sorted(stage.labels()) == sorted(labels)


class KilledError(Exception):
    """Stands for a process that is gone."""


class DyingPublisher(FilePublisher):
    """Writes, then dies before the caller can note it, at the numbered calls."""

    dies_at: frozenset[int] = frozenset()
    calls = 0

    def send(self, topic: str, messages: Sequence[object]) -> None:
        super().send(topic, messages)  # type: ignore[arg-type]
        self.calls += 1
        if self.calls in self.dies_at:
            raise KilledError


@pytest.mark.parametrize("dies_at", [{1}, {2, 5}, {4, 5, 8}])
def test_a_kill_skips_nothing_and_repeats_only_known_ids(tmp_path: Path, dies_at: set[int]) -> None:
    stage = Stage(tmp_path, START + timedelta(days=2))
    publisher = DyingPublisher(tmp_path, stage.clock)
    publisher.dies_at = frozenset(dies_at)
    stage.publisher = publisher
    deaths = 0
    while True:
        try:
            progress = stage.run(sleeps=8, speed=86_400)
            break
        except KilledError:
            deaths += 1
    assert deaths == len(dies_at)
    transactions, labels = expected(progress.position)
    assert set(stage.transactions()) == set(transactions)
    assert set(stage.labels()) == set(labels)


def test_it_waits_while_the_carrier_is_away(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START + timedelta(hours=10))
    away = tmp_path / "away"
    files = sorted((tmp_path / "transactions").iterdir())
    plain_sleep = stage.sleep
    positions: list[datetime] = []

    def sleep(seconds: float) -> None:
        plain_sleep(seconds)
        if stage.sleeps_left == 30:
            away.mkdir()
            for file in files:
                shutil.move(file, away)
                file.mkdir()
        if stage.sleeps_left in (25, 16):
            positions.append(stage.seen[-1].position)
        if stage.sleeps_left == 15:
            for file in files:
                file.rmdir()
                shutil.move(away / file.name, file)

    stage.sleep = sleep  # type: ignore[method-assign]
    progress = stage.run(sleeps=40, speed=1_800)
    assert positions[0] == positions[1] < progress.position
    assert progress.position > START + timedelta(hours=9)
    transactions, _ = expected(progress.position)
    assert set(stage.transactions()) == set(transactions)


def test_another_world_does_not_go_on_from_this_file(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START + timedelta(days=1))
    stage.run(sleeps=3, speed=86_400)
    with pytest.raises(ConfigurationError, match="another configuration"):
        stage.run(sleeps=3, speed=1, config=replace(CONFIG, customers=61))


@pytest.mark.parametrize("damage", ["", "{}", "[]", '{"world": 1, "position": "x"}', "\x00\xff"])
def test_a_damaged_state_file_is_named(tmp_path: Path, damage: str) -> None:
    stage = Stage(tmp_path, START)
    stage.state.write_text(damage, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"state\.json"):
        stage.run(sleeps=1, speed=1)


def test_progress_survives_the_file(tmp_path: Path) -> None:
    progress = Progress("w", START, [(START + timedelta(days=9, microseconds=1), "t1")])
    progress.save(tmp_path / "p.json")
    assert Progress.load(tmp_path / "p.json") == progress
    assert list(tmp_path.iterdir()) == [tmp_path / "p.json"]
    assert Progress.load(tmp_path / "none.json") is None


def test_labels_are_chargebacks_keyed_by_transaction(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START + timedelta(days=4))
    stage.run(sleeps=10, speed=86_400)
    for _, key, value in stage.sent("labels"):
        label = decode_label(value, now=stage.clock.now())
        assert key == label.transaction_id.encode()
        assert label.source is LabelSource.CHARGEBACK
        assert label.fraud
        assert label.known_at <= stage.clock.now()


def test_speed_and_start_are_checked(tmp_path: Path) -> None:
    stage = Stage(tmp_path, START)
    with pytest.raises(Invalid, match="speed"):
        stage.run(sleeps=1, speed=0)
