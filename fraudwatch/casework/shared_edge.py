"""What routes and pages share at the edge: how often one may search, how a file goes out."""

from __future__ import annotations

from urllib.parse import quote

from fastapi import Request, Response

from fraudwatch.casework.masking import Lens
from fraudwatch.casework.models import Attachment
from fraudwatch.casework.rate_limits import RateLimits
from fraudwatch.errors import Busy


def respect_rate(request: Request, lens: Lens) -> None:
    """Raises `Busy` for who searches too often: a search must not become a list of everybody."""
    limits: RateLimits = request.app.state.search_limits
    if seconds := limits.take(lens.actor.user_id, 1):
        raise Busy("you search too often", retry_seconds=seconds)


def download(row: Attachment, content: bytes) -> Response:
    """A file to be saved. `nosniff` and a strict content policy are on every answer."""
    kept = f"attachment; filename*=UTF-8''{quote(row.name, safe='')}"
    return Response(
        content, media_type="application/octet-stream", headers={"Content-Disposition": kept}
    )
