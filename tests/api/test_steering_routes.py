"""Policies and models over REST."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import text

from fraudwatch.casework import policies, steering
from fraudwatch.casework.auth import actor_of
from fraudwatch.casework.models import AuditRow, ModelRow, PolicyRow
from fraudwatch.domain.access import Role
from fraudwatch.errors import Conflict
from tests.api.conftest import Api

POLICY = {
    "review_from": 0.98,
    "high_risk_from": 0.995,
    "no_history_amount": "750.00",
    "no_history_count": 5,
    "blind_spot_rate": 0.01,
    "late_days": 45,
    "comment": "More reviews for a week.",
}


def test_a_policy_is_proposed_then_activated_and_the_worker_obeys_it(api: Api) -> None:
    officer = api.program(Role.RISK_OFFICER)
    proposed = officer.post("/v1/policies", json=POLICY)
    assert proposed.status_code == 201
    policy_id = proposed.json()["id"]
    with api.services.sessions() as session:
        assert policies.active(session).review_from != 0.98

    active = officer.post(f"/v1/policies/{policy_id}/activate").json()
    assert (active["status"], active["activated_by"]) == ("active", "risk_officer-user")
    assert active["no_history_amount"] == "750.00"
    with api.services.sessions() as session:
        assert policies.active(session).review_from == 0.98
        assert steering.read(session).policy.policy_id == policy_id
    listed = officer.get("/v1/policies").json()["items"]
    assert [item["status"] for item in listed] == ["active", "retired"]
    assert officer.post(f"/v1/policies/{policy_id}/activate").status_code == 409
    old = listed[-1]["id"]
    assert officer.post(f"/v1/policies/{old}/activate").status_code == 409
    assert officer.post("/v1/policies/999/activate").status_code == 404
    audited = [row for row in api.rows(AuditRow) if row.subject == f"policy:{policy_id}"]
    assert [row.action for row in audited] == ["policy.propose", "policy.activate"]
    assert audited[1].data["before"] == old


def test_limits_that_make_no_sense_are_refused(api: Api) -> None:
    officer = api.program(Role.RISK_OFFICER)
    for wrong in (
        {"review_from": 0.999},
        {"review_from": 0},
        {"high_risk_from": 1.1},
        {"no_history_amount": "0"},
        {"no_history_amount": "NaN"},
        {"no_history_count": -1},
        {"blind_spot_rate": 2},
        {"comment": ""},
        {"more": 1},
    ):
        answer = officer.post("/v1/policies", json={**POLICY, **wrong})
        assert answer.status_code == 422, wrong
    assert len(api.rows(PolicyRow)) == 1


def test_two_activations_at_once_leave_one_active(api: Api) -> None:
    with api.seed() as seed:
        actor = actor_of(seed.user("officer", Role.RISK_OFFICER))
        values = {**POLICY, "no_history_amount": 750}
        ids = [
            policies.propose(seed.session, actor, **values, now=seed.now).id  # type: ignore[arg-type]
            for _ in range(4)
        ]

    def activate(policy_id: int) -> bool:
        try:
            with api.services.sessions.begin() as session:
                policies.activate(session, policy_id, actor, now=api.clock.now())
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(activate, ids + ids))
    assert sorted(done) == [False] * 4 + [True] * 4
    statuses = [row.status for row in api.rows(PolicyRow)]
    assert sorted(statuses) == ["active", *["retired"] * 4]


def test_a_model_is_promoted_by_a_person_with_the_right(api: Api) -> None:
    with api.seed() as seed:
        for name, status in (("old", "champion"), ("new", "candidate")):
            seed.session.add(
                ModelRow(
                    name=name,
                    sha256="0" * 64,
                    status=status,
                    manifest={"features": 3},
                    created_at=seed.now - timedelta(days=1),
                )
            )
    officer = api.program(Role.RISK_OFFICER)
    models = officer.get("/v1/models").json()["items"]
    assert [(m["name"], m["status"]) for m in models] == [("new", "candidate"), ("old", "champion")]
    promoted = officer.post(f"/v1/models/{models[0]['id']}/promote").json()
    assert (promoted["status"], promoted["promoted_by"]) == ("champion", "risk_officer-user")
    assert [row.status for row in api.rows(ModelRow)] == ["retired", "champion"]
    assert api.rows(AuditRow)[-1].action == "model.promote"
    assert officer.post(f"/v1/models/{models[0]['id']}/promote").status_code == 409


def test_dead_letters_are_listed_without_their_content(api: Api) -> None:
    with api.seed() as seed:
        for offset in range(5):
            seed.session.execute(
                text(
                    'INSERT INTO dead_letters (topic, partition, "offset", next_offset, reason,'
                    " raw, size, created_at) VALUES ('transactions', :p, :o, :o + 1, 'not_json',"
                    " 'secret', 6, :at)"
                ),
                {
                    "p": offset % 2,
                    "o": offset,
                    "at": seed.now + timedelta(seconds=offset // 2),
                },
            )
    officer = api.program(Role.RISK_OFFICER)
    found: list[tuple[int, int]] = []
    cursor = None
    while True:
        params = {"limit": 2} if cursor is None else {"limit": 2, "cursor": cursor}
        answer = officer.get("/v1/dead-letters", params=params)
        assert "secret" not in answer.text
        page = answer.json()
        found += [(item["partition"], item["offset"]) for item in page["items"]]
        assert {item["size"] for item in page["items"]} == {6}
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [(0, 4), (1, 3), (0, 2), (1, 1), (0, 0)]
    assert officer.get("/v1/dead-letters", params={"cursor": "eA"}).status_code == 422
