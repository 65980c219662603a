"""People of one unit find nothing of another's, whichever route or page they ask."""

from __future__ import annotations

import re

from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome
from tests.api.conftest import Api
from tests.docs.access import NO, Row, written

ROLES = (Role.SENIOR, Role.AUDITOR)  # the most that may work, the most that may read
ACCOUNT = "acc-of-the-other-unit"
UNNARROWED = ("/v1/audit", "/audit", "/metrics", "/v1/dead-letters")
"""The audit log is the auditors' as a whole; figures and dead letters belong to no unit."""
STREAMS = ("/v1/events",)  # look at tests/api/test_live.py


def urls(row: Row, ids: dict[str, str]) -> list[str]:
    """The route with ids of the other unit; lists also with filters that name its account."""
    path = re.sub(r":path", "", row.path)
    names = re.findall(r"\{(\w+)\}", path)
    url = path.format(**{name: ids.get(name, "1") for name in names})
    filters = (f"account_id={ACCOUNT}", f"q={ACCOUNT}", "status=all")
    return [url, *(f"{url}?{words}" for words in filters)]


def test_no_get_tells_of_another_unit(api: Api) -> None:
    """Also raw SQL, which the narrowing of queries cannot see."""
    with api.seed() as seed:
        case = seed.case(ACCOUNT, outcomes=(Outcome.HIGH_RISK, Outcome.REVIEW), priority=2.0)
        case.unit = "south"
        seed.user("of-south", Role.SENIOR).units = ["south"]
        for role in ROLES:
            seed.user(f"{role.value}-north", role).units = ["north"]
        ids = {"case_id": str(case.id), "account_id": ACCOUNT, "transaction_id": "tx-000000"}
    assert len(telling(api, "of-south", Role.SENIOR, ids)) > 10, "their own unit finds it"
    for role in ROLES:
        assert telling(api, f"{role.value}-north", role, ids) == []


def telling(api: Api, name: str, role: Role, ids: dict[str, str]) -> list[str]:
    """The URLs whose answer to this person names what is of the other unit."""
    client, _ = api.browser(name)
    found = []
    for row in written():
        closed = row.method != "GET" or row.cell(role) == NO
        if closed or row.path.startswith((*UNNARROWED, *STREAMS)):
            continue
        for url in urls(row, ids):
            answer = client.get(url, follow_redirects=False)
            assert answer.status_code < 500, f"{url}: {answer.text}"
            if _names(answer.text, url):
                found.append(url)
    return found


def _names(text: str, url: str) -> bool:
    """Whether an answer says more of the other unit than the question did."""
    words = {ACCOUNT, "device-of-" + ACCOUNT, "customer-of-" + ACCOUNT, "tx-000000", "tx-000001"}
    return any(word in text for word in words if word not in url)
