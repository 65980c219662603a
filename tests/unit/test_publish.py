"""A file reaches the stream whole: every row once, in order, in its account's partition."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_murmur2

from fraudwatch.clock import FixedClock
from fraudwatch.domain.transaction import decode, encode
from fraudwatch.errors import Invalid, Unavailable
from streams.mapping import Mapping as FileMapping
from streams.mapping import frame_to_transactions, read_frame
from streams.partitioner import partitions_of, spread
from streams.publish import Published, publish_file
from streams.source import Message

ROOT = Path(__file__).parents[2]
START = datetime(2018, 4, 1, tzinfo=UTC)
PARTITIONS = 4


class Memory:
    """A carrier in memory that may be away for a number of calls."""

    def __init__(self, away: Sequence[int] = ()) -> None:
        self.partitions: dict[int, list[Message]] = {n: [] for n in range(PARTITIONS)}
        self.calls = 0
        self._away = set(away)

    def publish_all(self, topic: str, messages: Mapping[int, Sequence[Message]]) -> None:
        """Away in the middle of it: some partitions are written, the caller cannot know which."""
        assert topic == "transactions"
        self.calls += 1
        away = self.calls in self._away
        for partition, of_one in list(messages.items())[: 2 if away else None]:
            self.partitions[partition] += of_one
        if away:
            raise Unavailable("the broker is away")

    def publish(self, topic: str, partition: int, messages: Sequence[Message]) -> None:
        self.publish_all(topic, {partition: messages})

    def send(self, topic: str, messages: Sequence[Message]) -> None:
        self.publish_all(topic, spread(messages, PARTITIONS, itertools.count()))

    def close(self) -> None: ...

    def ids(self) -> list[str]:
        now = datetime(2030, 1, 1, tzinfo=UTC)
        values = [m.value for messages in self.partitions.values() for m in messages]
        return [decode(value, now=now).transaction_id for value in values]


class Waits(threading.Event):
    """Waiting moves the clock instead of taking time."""

    def __init__(self, clock: FixedClock, stop_at: datetime | None = None) -> None:
        super().__init__()
        self._clock = clock
        self._stop_at = stop_at
        self.waited = timedelta()

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self._clock.moment += timedelta(seconds=timeout)
        self.waited += timedelta(seconds=timeout)
        if self._stop_at and self._clock.moment >= self._stop_at:
            self.set()
        return self.is_set()


@pytest.fixture
def mapping() -> FileMapping:
    return FileMapping.load(ROOT / "examples" / "mappings" / "handbook.toml")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """300 payments of 20 accounts, one every 10 seconds, in no order."""
    rows = pd.DataFrame(
        {
            "TRANSACTION_ID": range(300),
            "TX_DATETIME": [
                (START + timedelta(seconds=10 * n)).strftime("%Y-%m-%d %H:%M:%S")
                for n in range(300)
            ],
            "CUSTOMER_ID": [n * 7 % 20 for n in range(300)],
            "TERMINAL_ID": range(300),
            "TX_AMOUNT": [n + n % 100 / 100 for n in range(300)],
            "TX_FRAUD": 0,
            "TX_FRAUD_SCENARIO": 0,
        }
    )
    path = tmp_path / "data.csv"
    rows.sample(frac=1, random_state=5).to_csv(path, index=False)
    return path


def publish(
    file: Path,
    mapping: FileMapping,
    carrier: Memory,
    *,
    speed: float | None = None,
    first: int = 0,
    stop_after: float | None = None,
    told: list[tuple[int, int]] | None = None,
) -> tuple[Published, Waits]:
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    stop_at = None if stop_after is None else clock.moment + timedelta(seconds=stop_after)
    stop = Waits(clock, stop_at)
    published = publish_file(
        file,
        mapping,
        carrier,
        "transactions",
        clock=clock,
        stop=stop,
        speed=speed,
        batch=50,
        first=first,
        progress=None if told is None else lambda done, rows: told.append((done, rows)),
    )
    return published, stop


def test_every_row_arrives_once_in_order_in_the_partition_of_its_account(
    file: Path, mapping: FileMapping
) -> None:
    carrier = Memory()
    told: list[tuple[int, int]] = []
    published, _ = publish(file, mapping, carrier, told=told)
    assert published == Published(0, 300, 300)
    assert published.complete
    assert sorted(carrier.ids(), key=int) == [str(n) for n in range(300)]
    assert told == [(done, 300) for done in range(50, 301, 50)]
    expected = [encode(t) for t in frame_to_transactions(read_frame(file, mapping))]
    for partition, messages in carrier.partitions.items():
        homes = partitions_of([m.key or b"" for m in messages], PARTITIONS)
        assert set(homes.tolist()) <= {partition}
        values = [m.value for m in messages]
        assert values == [value for value in expected if value in set(values)]
    assert sum(1 for messages in carrier.partitions.values() if messages) > 1


def test_speed_is_a_multiple_of_recorded_time(file: Path, mapping: FileMapping) -> None:
    carrier = Memory()
    published, stop = publish(file, mapping, carrier, speed=10)
    assert published.complete
    assert len(carrier.ids()) == 300
    recorded = timedelta(seconds=10 * 299)
    assert recorded / 10 <= stop.waited <= recorded / 10 + timedelta(seconds=1)


def test_a_stopped_publication_says_where_to_go_on(file: Path, mapping: FileMapping) -> None:
    carrier = Memory()
    published, _ = publish(file, mapping, carrier, speed=10, stop_after=100)
    assert not published.complete
    assert len(carrier.ids()) == published.next_row == pytest.approx(100, abs=2)
    rest, _ = publish(file, mapping, carrier, first=published.next_row)
    assert rest.complete
    assert sorted(carrier.ids(), key=int) == [str(n) for n in range(300)]


def test_a_carrier_that_comes_back_misses_nothing(file: Path, mapping: FileMapping) -> None:
    carrier = Memory(away=[1, 2, 3, 6])
    published, stop = publish(file, mapping, carrier)
    assert published.complete
    assert stop.waited > timedelta()
    assert set(carrier.ids()) == {str(n) for n in range(300)}


def test_a_carrier_that_stays_away_ends_it_with_what_is_sure(
    file: Path, mapping: FileMapping
) -> None:
    carrier = Memory(away=range(2, 1000))
    with pytest.raises(Unavailable, match="50 of 300 rows are published for sure"):
        publish(file, mapping, carrier)
    published, _ = publish(file, mapping, Memory(away=range(2, 1000)), stop_after=1)
    assert published == Published(0, 50, 300)


@pytest.mark.parametrize(("speed", "first"), [(0, 0), (-1, 0), (None, 301), (None, -1)])
def test_senseless_wishes_are_refused(
    file: Path, mapping: FileMapping, speed: float | None, first: int
) -> None:
    with pytest.raises(Invalid):
        publish(file, mapping, Memory(), speed=speed, first=first)


@pytest.mark.parametrize(
    ("key", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_are_those_of_kafka_in_java(key: bytes, signed: int) -> None:
    """The values are from the tests of Apache Kafka's own client."""
    assert partitions_of([key], 2**31).tolist() == [signed & 0x7FFFFFFF]


@given(key=st.binary(max_size=40), partitions=st.integers(1, 1000))
def test_partitions_are_those_of_the_python_client(key: bytes, partitions: int) -> None:
    expected = (kafka_murmur2(key) & 0x7FFFFFFF) % partitions
    assert partitions_of([key], partitions).tolist() == [expected]
