"""Faults of a file's rows, named by row and column, never by value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fraudwatch.errors import InputError

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One cell that cannot be used. `row` counts data rows from 1; `column` is the file's own."""

    row: int
    column: str
    reason: str
    detail: str

    def __str__(self) -> str:
        place = f"row {self.row}" + (f", column {self.column}" if self.column else "")
        return f"{place}: {self.reason}" + (f" ({self.detail})" if self.detail else "")


class FaultyRows(InputError):
    """Rows of a file that cannot be used: how many faults, and the first of them."""

    def __init__(self, path: Path, faults: tuple[Fault, ...], count: int) -> None:
        first = faults[0]
        more = f"; and {count - len(faults)} more" if count > len(faults) else ""
        listed = "; ".join(map(str, faults))
        super().__init__(first.reason, first.column, f"{path}: {count} faults: {listed}{more}")
        self.faults = faults
        self.count = count

    def __str__(self) -> str:
        return self.detail


class Faults:
    """Collects faults while a file is read. Rows are given from 0 and shown from 1."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._faults: list[Fault] = []
        self._count = 0

    def add_row(self, row: int, column: str, reason: str, detail: str = "") -> None:
        """One faulty cell, or a whole row (`column` empty)."""
        self._count += 1
        self._faults.append(Fault(row + 1, column, reason, detail))
        if len(self._faults) > 50 * SHOWN:
            self._keep_first()

    def add_mask(self, mask: NDArray[np.bool_], column: str, reason: str, detail: str = "") -> None:
        """All rows where `mask` (bool[n]) is set."""
        rows = np.flatnonzero(mask)
        self._count += len(rows)
        self._faults += [Fault(int(row) + 1, column, reason, detail) for row in rows[:SHOWN]]

    def raise_any(self) -> None:
        """Raise `FaultyRows` if there is any fault."""
        if self._count:
            self._keep_first()
            raise FaultyRows(self._path, tuple(self._faults), self._count)

    def _keep_first(self) -> None:
        self._faults = sorted(self._faults, key=lambda fault: fault.row)[:SHOWN]
