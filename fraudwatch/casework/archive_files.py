"""Files of the archive: a table of the ledger as Parquet, with a manifest beside it.

`DAY-ID.parquet` holds the rows in the order of partition and offset, all columns, `reasons` as JSON
text. `DAY-ID.json` tells counts, offsets and the SHA-256 of the other. Any tool that reads Parquet
reads them.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections import namedtuple
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import zstandard
from numpy.typing import NDArray

from fraudwatch.errors import ArchiveError, ConfigurationError, Unavailable

Spans = NDArray[np.int64]  # (n, 2): offsets from, and before; sorted, apart from each other

# What the system says when no more can be written: disk, quota, or the limit of a file's size.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_MOMENT = pa.timestamp("us", "UTC")
SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("transaction_id", pa.string(), nullable=False),
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("event_time", _MOMENT, nullable=False),
        pa.field("amount", pa.decimal128(20, 4), nullable=False),
        pa.field("currency", pa.string(), nullable=False),
        pa.field("merchant_id", pa.string()),
        pa.field("merchant_category", pa.string()),
        pa.field("channel", pa.string()),
        pa.field("country", pa.string()),
        pa.field("device_id", pa.string()),
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("features", pa.binary(), nullable=False),
        pa.field("features_version", pa.string(), nullable=False),
        pa.field("anomaly_score", pa.float64()),
        pa.field("risk", pa.float64()),
        pa.field("challenger_risk", pa.float64()),
        pa.field("outcome", pa.int16(), nullable=False),
        pa.field("rule", pa.int16(), nullable=False),
        pa.field("reasons", pa.string()),
        pa.field("model_id", pa.int64()),
        pa.field("challenger_id", pa.int64()),
        pa.field("policy_id", pa.int64(), nullable=False),
        pa.field("profile_version", pa.string(), nullable=False),
        pa.field("scored_at", _MOMENT, nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Archived:
    """A table of the ledger that has become a file: what the database and the manifest say.

    `deleted_at`: the file has been deleted for its age.
    """

    id: int
    first: date
    until: date
    path: Path
    size: int
    sha256: str
    rows: int
    deleted_at: datetime | None = None


def table_of(rows: Sequence[Any]) -> pa.Table:
    """Rows of the ledger, columns in the order of `SCHEMA`, as an Arrow table."""
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    at = SCHEMA.get_field_index("reasons")
    columns[at] = [
        None if found is None else msgspec.json.encode(found).decode() for found in columns[at]
    ]
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)],
        schema=SCHEMA,
    )


def part_of(path: Path) -> Path:
    """Where a file stands until it is known to be whole."""
    return path.with_name(f"{path.name}.part")


def write_part(path: Path, tables: Iterable[pa.Table]) -> None:
    """Write the tables, a row group each, beside `path`. What an earlier run left is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _writing(path) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table, row_group_size=max(1, len(table)))


@contextmanager
def _writing(path: Path) -> Iterator[IO[bytes]]:
    """The part of a file, on the disk when the block ends; gone when the disk takes no more."""
    part = part_of(path)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Name the folder where the system refuses to write or read: `Unavailable` when it is full,
    `ConfigurationError` otherwise."""
    try:
        yield
    except OSError as error:
        told = f"the archive {folder}: {error.strerror or error}"
        if error.errno in _FULL:
            raise Unavailable(
                f"{told}; nothing is lost: make room and run the command again"
            ) from error
        raise ConfigurationError(
            f"{told}; is it the folder you want (FRAUDWATCH_ARCHIVE_DIR), and writable?"
        ) from error


def require_equal(path: Path, tables: Iterable[pa.Table]) -> None:
    """Read back what `write_part` wrote. Raises `ArchiveError` unless these tables are in it."""
    unequal = f"{path}: what was read back is not what was written; run the command again"
    try:
        with pq.ParquetFile(part_of(path)) as file:
            number = 0
            for table in tables:
                if number == file.num_row_groups or not file.read_row_group(number).equals(table):
                    raise ArchiveError(unequal)
                number += 1
            if number != file.num_row_groups:
                raise ArchiveError(unequal)
    except (pa.ArrowException, OSError) as error:
        raise ArchiveError(unequal) from error


def finish(path: Path) -> tuple[int, str]:
    """Give the part its name; its size in bytes, and SHA-256."""
    part = part_of(path)
    size, sha256 = part.stat().st_size, sha256_of(part)
    part.replace(path)
    _sync_folder(path.parent)
    return size, sha256


def write_manifest(archived: Archived, spans: Mapping[int, Spans]) -> None:
    """Tell beside the file what is in it."""
    path = archived.path.with_suffix(".json")
    facts = asdict(archived) | {"path": archived.path.name}
    del facts["deleted_at"]
    facts["offsets"] = {
        str(partition): {
            "first": int(found[0, 0]),
            "next": int(found[-1, 1]),
            "rows": int((found[:, 1] - found[:, 0]).sum()),
        }
        for partition, found in sorted(spans.items())
    }
    with _writing(path) as file:
        file.write(msgspec.json.format(msgspec.json.encode(facts)))
    part_of(path).replace(path)
    _sync_folder(path.parent)


def remove(path: Path) -> None:
    """Delete a file and its manifest, if they are there."""
    path.unlink(missing_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fault_of(archived: Archived) -> str | None:
    """What is wrong with the file and what to do; None if it is as it was written."""
    path = archived.path
    if archived.deleted_at is not None:
        return f"{path} was deleted for its age on {archived.deleted_at.date()}"
    if not path.is_file():
        fault = "is missing"
    elif path.stat().st_size != archived.size or sha256_of(path) != archived.sha256:
        fault = "is not as it was written"
    else:
        return None
    return f"{path} {fault}: put back a copy with SHA-256 {archived.sha256}"


def groups(archived: Archived, names: Sequence[str], partition: int | None) -> Iterator[pa.Table]:
    """The row groups of a file, those that may hold a partition's rows.

    Raises `ArchiveError` naming a file that is missing or damaged.
    """
    fault = fault_of(archived)
    if fault is not None:
        raise ArchiveError(fault)
    with pq.ParquetFile(archived.path) as file:
        for number in range(file.num_row_groups):
            held = file.metadata.row_group(number).column(0).statistics
            if partition is None or held.min <= partition <= held.max:
                yield file.read_row_group(number, columns=list(names))


def rows(
    archived: Archived, partition: int, start: int, end: int, names: Sequence[str]
) -> Iterator[Any]:
    """A partition's rows with start <= offset < end, in offset order: values by name."""
    make = namedtuple("ArchivedRow", names)  # type: ignore[misc]  # noqa: PYI024
    for group in groups(archived, [*{"partition", "offset", *names}], partition):
        offset = group["offset"]
        wanted = pc.and_(
            pc.equal(group["partition"], partition),
            pc.and_(pc.greater_equal(offset, start), pc.less(offset, end)),
        )
        found = group.filter(wanted)
        columns = [
            _reasons(found[name].to_pylist()) if name == "reasons" else found[name].to_pylist()
            for name in names
        ]
        yield from map(make._make, zip(*columns, strict=True))


def _reasons(texts: Iterable[str | None]) -> list[Any]:
    return [None if found is None else msgspec.json.decode(found) for found in texts]


def pack_spans(spans: Spans) -> bytes:
    """Spans as bytes: lengths of what is held and of the gaps between, compressed."""
    return zstandard.compress(np.diff(spans.ravel(), prepend=0).astype("<i8").tobytes())


def unpack_spans(packed: bytes) -> Spans:
    """The spans again."""
    steps = np.frombuffer(zstandard.decompress(packed), dtype="<i8")
    return np.cumsum(steps.astype(np.int64)).reshape(-1, 2)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
