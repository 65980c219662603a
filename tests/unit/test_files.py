"""Stream files: what a line may be, torn lines, full disks, large files."""

from __future__ import annotations

import fcntl
import resource
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.clock import SystemClock
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import load_settings
from streams.file_lines import CHUNK, LineIndex, decode_line, encode_line, partition_path
from streams.files import FilePublisher, FileSource
from streams.source import Message, RecordBatch
from streams.topics import create_topics, topics


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the only partition of the topic `t`."""
    path = partition_path(tmp_path, "t", 0)
    path.parent.mkdir()
    path.touch()
    return path


def read(path: Path, offset: int = 0) -> RecordBatch:
    with closing(FileSource(path.parent.parent, "t", "g")) as source:
        source.changes()
        source.start({0: offset})
        [batch] = source.poll(0)
        return batch


def publish(path: Path, *values: bytes) -> None:
    messages = [Message(None, value) for value in values]
    FilePublisher(path.parent.parent, SystemClock()).publish("t", 0, messages)


@given(
    st.none() | st.binary(),
    st.binary(),
    st.lists(st.tuples(st.text(st.characters(exclude_categories=["Cs"])), st.binary())),
    st.integers(0, 2**45),
)
def test_every_message_survives_as_one_line(
    key: bytes | None, value: bytes, headers: list[tuple[str, bytes]], at: int
) -> None:
    line = encode_line(Message(key, value, tuple(headers)), at)
    assert line.index(b"\n") == len(line) - 1
    assert decode_line(line) == (key, value, tuple(headers), at)


def test_a_line_may_be_written_by_hand(path: Path) -> None:
    """An object as value stands for its own text, spaces and all."""
    path.write_text('{"value": {"amount":  "1.50"}, "key": "a"}\n{"value": "text"}\n')
    batch = read(path)
    assert batch.values == [b'{"amount":  "1.50"}', b"text"]
    assert batch.keys == [b"a", None]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b'{"value": 5}',
        b'{"key": "a"}',
        b'{"value": "a", "extra": 1}',
        b'{"value": {"base64": "%%%"}}',
        b'{"value": "\\ud800"}',
        b'{"value": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_a_bad_line_is_damage_of_its_own_offset_only(path: Path, line: bytes) -> None:
    path.write_bytes(b'{"value": "before"}\n' + line + b'\n{"value": "after"}\n')
    batch = read(path)
    assert (batch.offsets, batch.values) == ([0, 2], [b"before", b"after"])
    [damaged] = batch.damaged
    assert (damaged.first_offset, damaged.next_offset) == (1, 2)
    assert damaged.raw == line[:65_536]


def test_an_unfinished_line_waits_for_its_end(path: Path) -> None:
    path.write_bytes(b'{"value": "whole"}\n{"value": "to')
    with closing(FileSource(path.parent.parent, "t", "g")) as source:
        source.changes()
        source.start({0: 0})
        assert [batch.values for batch in source.poll(0)] == [[b"whole"]]
        assert source.poll(0) == []
        assert source.ends() == {0: 1}
        with path.open("ab") as file:
            file.write(b'rn"}\n')
        assert [batch.values for batch in source.poll(0)] == [[b"torn"]]


def test_a_writer_ends_what_another_left_torn(path: Path) -> None:
    """A crash in the middle of a line costs that line, not the one written after it."""
    path.write_bytes(b'{"value": "whole"}\n{"value": "to')
    publish(path, b"next")
    batch = read(path)
    assert (batch.offsets, batch.values) == ([0, 2], [b"whole", b"next"])
    assert [d.raw for d in batch.damaged] == [b'{"value": "to']


def test_a_full_disk_leaves_no_torn_line(path: Path) -> None:
    """Whole lines stay, for a reader may have them; publishing again adds, nothing is lost.

    A limit on the size of files stands for the disk: it cuts a write in the same way.
    """
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
    try:
        with pytest.raises(Unavailable, match="File too large"):
            publish(path, b"one", b"two")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert read(path).values == [b"one"]
    assert path.read_bytes().endswith(b"\n")
    publish(path, b"one", b"two")
    batch = read(path)
    assert batch.values == [b"one", b"one", b"two"]
    assert batch.damaged == ()


def test_a_locked_file_is_unavailable(path: Path) -> None:
    publisher = FilePublisher(path.parent.parent, SystemClock(), lock_seconds=0)
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(Unavailable, match="locked"):
            publisher.publish("t", 0, [Message(None, b"v")])


def test_a_folder_that_is_away_is_unavailable_until_it_is_back(path: Path) -> None:
    publish(path, b"one")
    aside = path.parent.with_name("aside")
    with closing(FileSource(path.parent.parent, "t", "g")) as source:
        source.changes()
        source.start({0: 0})
        path.parent.rename(aside)
        with pytest.raises(Unavailable):
            source.poll(0)
        aside.rename(path.parent)
        assert [batch.values for batch in source.poll(0)] == [[b"one"]]


def test_a_shortened_file_is_refused(path: Path) -> None:
    publish(path, b"one", b"two")
    with closing(FileSource(path.parent.parent, "t", "g")) as source:
        source.changes()
        source.start({0: 0})
        source.poll(0)
        path.write_bytes(b"")
        with pytest.raises(ConfigurationError, match="shortened"):
            source.poll(0)


def test_lines_are_found_in_files_larger_than_a_chunk(tmp_path: Path) -> None:
    """Also where one line is longer than a chunk, and where the last one is torn."""
    path = tmp_path / "f"
    lines = [b"x" * (n * 997 % 5000) + b"\n" for n in range(1000)]
    lines[500] = b"y" * (CHUNK * 2) + b"\n"
    path.write_bytes(b"".join(lines) + b"z" * (CHUNK + 5))
    index = LineIndex(path)
    for line in (0, 1, 499, 500, 501, 999, 1000, 3):
        assert index.position(line) == sum(map(len, lines[:line]))
    assert index.position(1001) is None
    assert index.end() == LineIndex(path).end() == 1000


def test_topics_are_created_once_and_checked(tmp_path: Path) -> None:
    settings = load_settings(stream_url=f"file://{tmp_path}", partitions=2)
    assert set(create_topics(settings).values()) == {"created"}
    assert set(create_topics(settings).values()) == {"present"}
    assert len(list(tmp_path.glob("*/partition-*.jsonl"))) == sum(
        topic.partitions for topic in topics(settings)
    )
    with pytest.raises(ConfigurationError, match="has 2 partitions, not 3"):
        create_topics(load_settings(stream_url=f"file://{tmp_path}", partitions=3))
