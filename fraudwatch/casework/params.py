"""Parameters in paths and queries that routes and pages share."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from fraudwatch.casework.queue import MAX_LIMIT

_NO_NUL = r"^[^\x00]+$"

IdPath = Annotated[int, Path(ge=1, le=2**62)]
KeyPath = Annotated[str, Path(min_length=1, max_length=256, pattern=_NO_NUL)]
KeyQuery = Annotated[str, Query(min_length=1, max_length=256, pattern=_NO_NUL)]
Cursor = Annotated[str | None, Query(max_length=600, description="`next_cursor` of the last page.")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
