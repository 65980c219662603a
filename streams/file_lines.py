"""Files of the file carrier: where they are, what a line holds, where lines begin."""

from __future__ import annotations

import base64
import itertools
import os
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path

import msgspec

from streams.source import Headers, Message

CHUNK = 1 << 20
NEWLINE = b"\n"


class _Base64(msgspec.Struct, forbid_unknown_fields=True):
    base64: str


_Text = str | _Base64


class _Line(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    value: msgspec.Raw
    key: _Text | None = None
    headers: list[tuple[str, _Text]] = []
    at: int = 0


_LINES = msgspec.json.Decoder(_Line)
_TEXTS = msgspec.json.Decoder(_Text)
_ENCODER = msgspec.json.Encoder()


def _text(data: bytes) -> _Text:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _Base64(base64.b64encode(data).decode())


def _bytes(text: _Text) -> bytes:
    if isinstance(text, str):
        return text.encode()
    return base64.b64decode(text.base64, validate=True)


def encode_line(message: Message, at_ms: int) -> bytes:
    """One message as a line, with its newline."""
    line = _Line(
        value=msgspec.Raw(_ENCODER.encode(_text(message.value))),
        key=None if message.key is None else _text(message.key),
        headers=[(name, _text(value)) for name, value in message.headers],
        at=at_ms,
    )
    return _ENCODER.encode(line) + NEWLINE


def decode_line(line: bytes) -> tuple[bytes | None, bytes, Headers, int]:
    """Key, value, headers and milliseconds of a line. Raises `ValueError` for anything else."""
    try:
        parsed = _LINES.decode(line)
        value = bytes(parsed.value)
        if value.startswith(b'"'):
            value = msgspec.json.decode(value, type=str).encode()
        elif not value.startswith(b"{"):
            raise ValueError("value is neither a string nor an object")
        elif value.startswith(b'{"base64":'):
            value = _bytes(_TEXTS.decode(value))
        key = None if parsed.key is None else _bytes(parsed.key)
        headers = tuple((name, _bytes(text)) for name, text in parsed.headers)
    except (msgspec.MsgspecError, UnicodeError) as error:
        # UnicodeError: an escaped lone surrogate, which is no text
        raise ValueError(str(error)) from None
    return key, value, headers, parsed.at


def partition_path(folder: Path, topic: str, partition: int) -> Path:
    """The file of one partition."""
    return folder / topic / f"partition-{partition}.jsonl"


def partition_count(folder: Path, topic: str) -> int:
    """How many partitions a topic has; 0: it does not exist."""
    present = itertools.takewhile(
        lambda number: partition_path(folder, topic, number).exists(), itertools.count()
    )
    return sum(1 for _ in present)


class LineIndex:
    """Where lines begin in a growing file: one mark for about every megabyte."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = [0]
        self._positions = [0]

    def end(self) -> int:
        """The number of complete lines, as of now."""
        with self._path.open("rb") as file:
            for _ in self._scan(file.fileno()):
                pass
        return self._lines[-1]

    def position(self, line: int) -> int | None:
        """The byte that this line begins at, or None while the file has fewer lines before it."""
        with self._path.open("rb") as file:
            if line > self._lines[-1]:
                for lines in self._scan(file.fileno()):
                    if lines >= line:
                        break
            if line > self._lines[-1]:
                return None
            place = bisect_right(self._lines, line) - 1
            missing = line - self._lines[place]
            file.seek(self._positions[place])
            return self._positions[place] + sum(map(len, itertools.islice(file, missing)))

    def _scan(self, descriptor: int) -> Iterator[int]:
        """Go on where the last scan ended; yields the number of lines known after each chunk."""
        position, lines = self._positions[-1], self._lines[-1]
        while chunk := os.pread(descriptor, CHUNK, position):
            count, last = chunk.count(NEWLINE), chunk.rfind(NEWLINE)
            if last < 0:
                # a line longer than a chunk, or one that is not finished yet
                found = self._newline_after(descriptor, position + len(chunk))
                if found is None:
                    return
                count, position = 1, found + 1
            else:
                position += last + 1
            lines += count
            self._lines.append(lines)
            self._positions.append(position)
            yield lines

    @staticmethod
    def _newline_after(descriptor: int, position: int) -> int | None:
        while chunk := os.pread(descriptor, CHUNK, position):
            found = chunk.find(NEWLINE)
            if found >= 0:
                return position + found
            position += len(chunk)
        return None
