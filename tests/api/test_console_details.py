"""The console around a case: judged first, filed, called, found again, by forms alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from fraudwatch.casework.models import Attachment, CallBrief, CaseSight, CaseWatcher, FirstJudgement
from fraudwatch.settings import Settings, load_settings
from tests.api.cases import a_case
from tests.api.conftest import Api
from tests.api.console import Browser

PDF = b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(
        secret_key="0123456789abcdef" * 4,
        data_dir=tmp_path / "data",
        first_judgement_queues="*",
    )


@pytest.fixture
def browser(api: Api) -> Browser:
    with api.seed() as seed:
        seed.user("ada")
    return Browser.signed_in(api, "ada")


def test_a_case_is_judged_first_filed_called_and_watched_by_forms(
    api: Api, browser: Browser
) -> None:
    path = f"/cases/{a_case(api)}"
    page = browser.get(path)
    assert "Not shown yet" in page.text
    assert "High risk" not in page.text
    assert "of what stands out" not in page.text
    browser.submit(f"{path}/claim")
    page = browser.submit(f"{path}/first-judgement", judgement="unsure")
    assert "Not shown yet" not in page.text
    assert "Your first judgement is kept" in page.text
    assert [row.judgement for row in api.rows(FirstJudgement)] == ["unsure"]
    assert [row.outcome_shown for row in api.rows(CaseSight)] == [False, False, True]
    page = browser.get(f"{path}/brief?language=fr")
    assert "Bonjour, ici l'équipe" in page.text
    page = browser.submit(f"{path}/brief", text="Bonjour.", called="true")
    assert "Customer called by ada" in page.text
    assert [(row.language, row.text) for row in api.rows(CallBrief)] == [("fr", "Bonjour.")]
    page = browser.submit(f"{path}/watch")
    assert "Watched by ada" in page.text
    page = browser.submit(f"{path}/unwatch")
    assert api.rows(CaseWatcher) == []


def test_a_file_is_added_by_the_form_and_saved_from_its_link(api: Api, browser: Browser) -> None:
    path = f"/cases/{a_case(api)}"
    page = browser.get(path)
    form = page.form(f"{path}/attachments")
    assert form.attributes["enctype"] == "multipart/form-data"
    fields = {
        each.attributes["name"]: each.attributes.get("value", "")
        for each in form.all("input")
        if each.attributes["type"] == "hidden"
    }
    wrong = browser.client.post(
        f"{path}/attachments", data=fields, files={"file": ("a.pdf", b"<html>")}
    )
    assert wrong.status_code == 422
    assert "The name does not go with the content" in wrong.text
    added = browser.client.post(f"{path}/attachments", data=fields, files={"file": ("a.pdf", PDF)})
    assert added.status_code == 200
    (row,) = api.rows(Attachment)
    saved = browser.client.get(f"{path}/attachments/{row.id}")
    assert saved.content == PDF
    assert saved.headers["content-disposition"].startswith("attachment;")


def test_the_search_page_leads_to_the_case(api: Api, browser: Browser) -> None:
    case_id = a_case(api)
    browser.get(f"/cases/{case_id}")
    browser.submit(f"/cases/{case_id}/notes", text="The brother used the card.")
    page = browser.get("/search?q=brother")
    assert f"/cases/{case_id}" in [link.attributes["href"] for link in page.root.all("a")]
    assert "Nothing was found" in browser.get("/search?q=sister").text
