"""Acts on cases over REST, each with the version that it stands on."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response

FRAUD: dict[str, Any] = {"resolution": "fraud", "reason_codes": ["stolen_card"]}
HABIT: dict[str, Any] = {"resolution": "legitimate", "reason_codes": ["known_habit"]}


def act(
    client: TestClient, case_id: int, what: str, version: int | None = None, **body: Any
) -> Response:
    """Do something to a case, on the version given or else on the one it has now."""
    if version is None:
        version = client.get(f"/v1/cases/{case_id}").json()["version"]
    headers = {"If-Match": f'"{version}"'}
    return client.post(f"/v1/cases/{case_id}/{what}", json=body, headers=headers)
