"""Around the work on a case: who is named and watches, files, the call, what was thought first,
and the search."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from fraudwatch.casework import attachments, traces
from fraudwatch.casework.attachments import FileStore, checked_name, checked_type
from fraudwatch.casework.hearers import named
from fraudwatch.casework.models import (
    AuditRow,
    CaseSight,
    CaseWatcher,
    FirstJudgement,
    LookRow,
    Mention,
    PendingLook,
)
from fraudwatch.domain.access import Role
from fraudwatch.errors import Invalid, Unavailable
from fraudwatch.settings import Settings, load_settings
from tests.api.cases import ACCOUNT, FRAUD, a_case, act, kinds
from tests.api.conftest import Api

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    """Every queue hides the machine's opinion; files lie in a folder of the test."""
    return load_settings(
        secret_key="0123456789abcdef" * 4,
        data_dir=tmp_path / "data",
        first_judgement_queues="*",
        search_burst=15,
    )


@pytest.fixture
def ada(api: Api) -> TestClient:
    return api.program(Role.ANALYST, "ada")


def upload(client: TestClient, case_id: int, name: str, content: bytes) -> Response:
    version = client.get(f"/v1/cases/{case_id}").headers["etag"]
    return client.post(
        f"/v1/cases/{case_id}/attachments",
        files={"file": (name, content)},
        headers={"If-Match": version},
    )


def test_who_is_named_in_a_note_gets_a_row_once(api: Api, ada: TestClient) -> None:
    """An address of a mail, one's own name and names of nobody are no mentions."""
    bob = api.program(Role.ANALYST, "bob")
    case_id = a_case(api)
    note = "@bob, please look; @bob. Not me@bob, not @nobody, not @ada."
    assert act(ada, case_id, "notes", text=note).status_code == 200
    assert [(row.case_id, row.at) for row in api.rows(Mention)] == [(case_id, api.clock.now())]
    assert [(m["by"], m["text"]) for m in bob.get("/v1/mentions").json()] == [("ada", note)]
    assert ada.get("/v1/mentions").json() == []
    assert named("(@x.y-z) @a@b @c.") == ["x.y-z", "c"]


def test_watching_twice_is_watching_once(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    for _ in range(2):
        assert ada.put(f"/v1/cases/{case_id}/watch").status_code == 204
    assert len(api.rows(CaseWatcher)) == 1
    assert ada.get(f"/v1/cases/{case_id}/detail").json()["watchers"] == ["ada"]
    assert ada.delete(f"/v1/cases/{case_id}/watch").status_code == 204
    assert api.rows(CaseWatcher) == []
    assert ada.put("/v1/cases/999/watch").status_code == 404


def test_a_file_comes_out_as_it_came_in_and_only_to_be_saved(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    added = upload(ada, case_id, "../Kontoauszug März.pdf", PDF)
    assert added.status_code == 201, added.text
    told = added.json()
    assert told["sha256"] == hashlib.sha256(PDF).hexdigest()
    assert (told["name"], told["media_type"]) == ("Kontoauszug März.pdf", "application/pdf")
    folder = api.services.settings.attachments_dir
    assert (folder / told["sha256"][:2] / told["sha256"]).read_bytes() == PDF
    found = ada.get(f"/v1/cases/{case_id}/attachments/{told['id']}")
    assert found.content == PDF
    assert found.headers["content-type"] == "application/octet-stream"
    assert found.headers["content-disposition"].startswith("attachment;")
    assert found.headers["x-content-type-options"] == "nosniff"
    assert ada.get(f"/v1/cases/{case_id}/attachments").json() == [told]
    assert kinds(ada.get(f"/v1/cases/{case_id}").json())[-1] == "attached"
    logged = [row for row in api.rows(AuditRow) if row.action == "case.attach"]
    assert logged[0].data["sha256"] == told["sha256"]
    looks = [row.data["where"] for row in (*api.rows(PendingLook), *api.rows(LookRow))]
    assert "GET /v1/cases/{case_id}/attachments/{attachment_id}" in looks
    assert upload(ada, case_id, "again.pdf", PDF).status_code == 409


def test_files_are_for_readers_of_personal_data_and_of_their_own_case(
    api: Api, ada: TestClient
) -> None:
    case_id, other = a_case(api), a_case(api, account="acc-other")
    file_id = upload(ada, case_id, "note.txt", b"Anna rang at two.").json()["id"]
    refused = api.program(Role.AUDITOR).get(f"/v1/cases/{case_id}/attachments/{file_id}")
    assert (refused.status_code, refused.json()["code"]) == (403, "personal-data")
    assert ada.get(f"/v1/cases/{other}/attachments/{file_id}").status_code == 404


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("page.pdf", b"<html><script>alert(1)</script></html>"),
        ("page.html", b"<html></html>"),
        ("tool.png", b"MZ\x90\x00"),
        ("tool.txt", b"\x7fELF\x00"),
        ("form.pdf", PDF + b"<< /OpenAction << /S /JavaScript >> >>"),
        ("photo.pdf", b"\x89PNG\r\n\x1a\n"),
        ("empty.txt", b""),
        ("large.txt", b"a" * (attachments.MOST_BYTES + 1)),
    ],
)
def test_what_is_not_what_it_says_does_not_come_in(name: str, content: bytes) -> None:
    with pytest.raises(Invalid):
        checked_type(checked_name(name), content)


def test_more_than_a_file_may_have_is_refused_before_it_is_kept(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    large = upload(ada, case_id, "large.txt", b"a" * (attachments.MOST_BYTES + 2**17))
    assert large.status_code == 413
    assert upload(ada, case_id, "l.txt", b"a" * (attachments.MOST_BYTES + 1)).status_code == 422
    assert upload(ada, case_id, "m.txt", b"a" * attachments.MOST_BYTES).status_code == 201


def test_a_file_that_was_changed_on_disk_is_not_given_out(tmp_path: Any) -> None:
    store = FileStore(tmp_path)
    sha256 = store.put(b"as it was")
    (tmp_path / sha256[:2] / sha256).write_bytes(b"as it is")
    with pytest.raises(Unavailable, match="not what was written"):
        store.get(sha256)


def test_a_corrected_brief_is_kept_and_the_template_stays(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    french = ada.get(f"/v1/cases/{case_id}/brief?language=fr").json()
    assert "12,50 EUR, le 2 mars à 11:55 UTC, chez shop-1" in french["text"]
    assert french["corrected"] is False
    kept = act(ada, case_id, "brief", language="fr", text="Bonjour Madame.", called=True)
    assert kept.status_code == 200, kept.text
    again = ada.get(f"/v1/cases/{case_id}/brief?language=fr").json()
    assert (again["text"], again["template"]) == ("Bonjour Madame.", french["text"])
    assert again["kept_by"] == "ada"
    english = ada.get(f"/v1/cases/{case_id}/brief").json()
    assert "12.50 EUR, on 2 March at 11:55 UTC, to shop-1" in english["text"]
    full = ada.get(f"/v1/cases/{case_id}/detail").json()
    assert [(brief["language"], brief["called"]) for brief in full["briefs"]] == [("fr", True)]
    assert [m["what"] for m in full["timeline"] if m["kind"] == "contact"] == ["called"]


def test_the_machines_opinion_is_hidden_until_the_holder_has_judged(
    api: Api, ada: TestClient
) -> None:
    case_id = a_case(api)
    url = f"/v1/cases/{case_id}"
    hidden = ada.get(url).json()
    assert (hidden["outcome"], hidden["alerts"][0]["outcome"]) == ("hidden", "hidden")
    assert hidden["alerts"][0]["transaction"]["outcome"] == "hidden"
    assert hidden["history"][0]["outcome"] == "hidden"
    assert {reason["weight"] for reason in hidden["alerts"][0]["reasons"]} == {0.0}
    assert ada.get("/v1/cases").json()["items"][0]["outcome"] == "hidden"
    assert act(ada, case_id, "first-judgement", judgement="unsure").status_code == 409
    act(ada, case_id, "claim")
    judged = act(ada, case_id, "first-judgement", judgement="unsure").json()
    assert judged["outcome"] == judged["alerts"][0]["outcome"] == "review"
    assert ada.get("/v1/cases").json()["items"][0]["outcome"] == "review"
    assert kinds(judged)[-1] == "judged"
    assert act(ada, case_id, "first-judgement", judgement="fraud").status_code == 409
    assert [(row.judgement, row.version) for row in api.rows(FirstJudgement)] == [
        ("unsure", judged["version"])
    ]
    bob = api.program(Role.ANALYST, "bob").get(url).json()
    assert bob["outcome"] == "hidden"
    assert "unsure" not in str(bob)
    assert api.program(Role.RISK_OFFICER).get(url).json()["outcome"] == "review"
    act(ada, case_id, "resolve", **FRAUD)
    assert api.program(Role.ANALYST, "bob").get(url).json()["outcome"] == "review"


def test_what_a_person_was_shown_is_written_down_in_order(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    ada.get(f"/v1/cases/{case_id}")
    act(ada, case_id, "claim", 1)
    act(ada, case_id, "first-judgement", 2, judgement="fraud")
    ada.get(f"/v1/cases/{case_id}/detail")
    api.program(Role.RISK_OFFICER).get(f"/v1/cases/{case_id}")
    sights = [(row.view, row.version, row.outcome_shown) for row in api.rows(CaseSight)]
    assert sights == [("case", 1, False), ("detail", 2, True)]


def hits(client: TestClient, text: str) -> list[tuple[str, int]]:
    answer = client.get("/v1/search", params={"q": text})
    assert answer.status_code == 200, answer.text
    return [(hit["kind"], hit["case_id"]) for hit in answer.json()["items"]]


def test_a_case_is_found_by_its_notes_and_by_every_id(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    act(ada, case_id, "notes", text="The customer's brother used the card in Lyon.")
    with api.services.sessions.begin() as session:
        traces.gather(session, api.clock.now())
    assert hits(ada, "brother lyon") == [("note", case_id)]
    assert hits(ada, "brother paris") == []
    assert hits(ada, ACCOUNT) == [("account", case_id)]
    assert hits(ada, ACCOUNT[:8]) == [("account", case_id)]
    assert hits(ada, "tx-000000") == [("transaction", case_id)]
    assert hits(ada, "shop-1") == [("merchant", case_id)]
    assert hits(ada, "192.0.2.17") == [("ip", case_id)]
    assert hits(ada, f"0{case_id}") == [("case", case_id)]
    assert hits(ada, "%_") == []


def test_masked_readers_find_what_they_know_and_see_nothing_more(api: Api, ada: TestClient) -> None:
    case_id = a_case(api)
    act(ada, case_id, "notes", text="The customer's brother used the card.")
    auditor = api.program(Role.AUDITOR)
    assert hits(auditor, ACCOUNT) == [("account", case_id)]
    assert hits(auditor, ACCOUNT[:8]) == hits(auditor, "brother") == []
    assert ACCOUNT not in auditor.get("/v1/search", params={"q": ACCOUNT}).text


def test_searches_are_looks_and_cannot_be_made_without_end(api: Api, ada: TestClient) -> None:
    a_case(api)
    hits(ada, ACCOUNT)
    assert [row.data["where"] for row in api.rows(PendingLook)] == ["GET /v1/search"]
    answers = [ada.get("/v1/search", params={"q": "nothing"}) for _ in range(16)]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
