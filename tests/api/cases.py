"""Acts on cases over REST, each with the version that it stands on, and cases to act on."""

from __future__ import annotations

import itertools
from typing import Any

from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import func, select

from fraudwatch.casework import intake, second_looks
from fraudwatch.casework.auth import actor_of
from fraudwatch.casework.models import LedgerRow, User
from fraudwatch.casework.second_looks import NewRules
from fraudwatch.domain.access import Role
from fraudwatch.domain.decision import Outcome, Rule
from tests.api.conftest import Api
from tests.api.seed import Seed

ACCOUNT = "acc-000000000111"
FRAUD: dict[str, Any] = {"resolution": "fraud", "reason_codes": ["stolen_card"]}
HABIT: dict[str, Any] = {"resolution": "legitimate", "reason_codes": ["known_habit"]}


def act(
    client: TestClient, case_id: int, what: str, version: int | None = None, /, **body: Any
) -> Response:
    """Do something to a case, on the version given or else on the one it has now."""
    if version is None:
        version = client.get(f"/v1/cases/{case_id}").json()["version"]
    headers = {"If-Match": f'"{version}"'}
    return client.post(f"/v1/cases/{case_id}/{what}", json=body, headers=headers)


def a_case(
    api: Api,
    outcomes: tuple[Outcome, ...] = (Outcome.REVIEW,),
    account: str = ACCOUNT,
    **more: Any,
) -> int:
    """An open case of the account, as the stream would open it."""
    with api.seed() as seed:
        _go_on(seed)
        return seed.case(account, outcomes=outcomes, **more).id


def add_alert(api: Api, account: str = ACCOUNT, risk: float = 0.9999) -> str:
    """A further alert of the account, as the stream would bring it."""
    with api.seed() as seed:
        _go_on(seed)
        row = seed.transaction(account, outcome=Outcome.HIGH_RISK, risk=risk)
        seed.session.flush()
        alert = intake.NewAlert(
            row.partition,
            row.offset,
            row.transaction_id,
            account,
            row.event_time,
            Outcome.HIGH_RISK,
            Rule.RISK,
            risk,
            risk,
            row.amount,
        )
        intake.open_cases(seed.session, [alert], seed.now)
        return row.transaction_id


def set_rules(api: Api, **values: Any) -> None:
    """A version of the rules, set by an officer; what is not named asks for no second look."""
    given = {
        "second_amount": None,
        "second_codes": (),
        "second_share": 0.0,
        "dispute_hours": 24,
        "comment": "test",
    }
    api.program(Role.RISK_OFFICER, "olga")
    with api.services.sessions.begin() as session:
        officer = session.query(User).filter(User.name == "olga").one()
        new = NewRules(**(given | values))
        second_looks.set_rules(session, actor_of(officer), new, now=api.clock.now())


def _go_on(seed: Seed) -> None:
    """After the transactions that there are."""
    last = seed.session.scalar(select(func.max(LedgerRow.offset)))
    seed.offsets = itertools.count(0 if last is None else last + 1)


def kinds(case: dict[str, Any]) -> list[str]:
    """The kinds of a case's events, in order."""
    return [event["kind"] for event in case["events"]]
