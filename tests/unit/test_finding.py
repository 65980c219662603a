"""What a person finds: grounds that fit, transactions that differ, when two agree."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict

import pytest

from fraudwatch.domain.case import Action, action_of
from fraudwatch.domain.customer_texts import TEXTS, Standing
from fraudwatch.domain.finding import Differing, Finding, check
from fraudwatch.domain.reason_codes import (
    CATALOGUE,
    CATALOGUES,
    REASON_CODES,
    Resolution,
    reason_of,
)
from fraudwatch.errors import Invalid
from fraudwatch.features.catalogue import CATALOGUE as FEATURES

IDS = ["t-1", "t-2", "t-3"]
OWN = Differing("t-2", Resolution.LEGITIMATE, ("customer_confirmed",))
FRAUD = Finding(Resolution.FRAUD, ("stolen_card",), differing=(OWN,))
PUBLISHED = {1: "a99a61ab60b69e43861fb833d03e670e6bae8135492df7d56dfad399592c4c96"}


def test_each_transaction_has_its_own_finding() -> None:
    check(FRAUD, IDS)
    assert FRAUD.of("t-1") == (Resolution.FRAUD, ("stolen_card",))
    assert FRAUD.of("t-2") == (Resolution.LEGITIMATE, ("customer_confirmed",))
    assert [action_of(FRAUD.of(each)[0]) for each in IDS] == [
        Action.DECLINE,
        Action.RELEASE,
        Action.DECLINE,
    ]


@pytest.mark.parametrize(
    ("finding", "words"),
    [
        (Finding(Resolution.FRAUD, ()), "at least one"),
        (Finding(Resolution.FRAUD, ("scam", "scam")), "at most once"),
        (Finding(Resolution.FRAUD, ("travel",)), "reason for legitimate"),
        (Finding(Resolution.FRAUD, ("fraud_other",), "  "), "needs a note"),
        (Finding(Resolution.FRAUD, ("scam",), differing=(OWN, OWN)), "at most once"),
        (
            Finding(
                Resolution.FRAUD,
                ("scam",),
                differing=(Differing("t-9", Resolution.LEGITIMATE, ("travel",)),),
            ),
            "not in this case",
        ),
        (
            Finding(
                Resolution.LEGITIMATE,
                ("travel",),
                differing=(Differing("t-1", Resolution.FRAUD, ("scam",)),),
            ),
            "is resolved as fraud",
        ),
        (
            Finding(
                Resolution.FRAUD,
                ("scam",),
                differing=(Differing("t-1", Resolution.FRAUD, ("scam",)),),
            ),
            "another resolution",
        ),
        (
            Finding(
                Resolution.FRAUD,
                ("scam",),
                differing=(Differing("t-1", Resolution.INCONCLUSIVE, ("not_reached",)),),
            ),
            "needs a note",
        ),
        (
            Finding(
                Resolution.FRAUD,
                ("scam",),
                differing=tuple(
                    Differing(each, Resolution.LEGITIMATE, ("travel",)) for each in IDS
                ),
            ),
            "at least one",
        ),
    ],
)
def test_grounds_that_do_not_fit_are_refused(finding: Finding, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        check(finding, IDS)


def test_two_agree_on_what_was_found_not_on_words() -> None:
    other = Finding(Resolution.FRAUD, ("scam",), "Another ground.", (OWN,))
    assert FRAUD.agrees(other, IDS)
    assert not FRAUD.agrees(Finding(Resolution.FRAUD, ("stolen_card",)), IDS)
    assert not FRAUD.agrees(Finding(Resolution.INCONCLUSIVE, ("not_reached",), "x"), IDS)
    # A case without payments still has a resolution to agree on.
    assert not FRAUD.agrees(Finding(Resolution.LEGITIMATE, ("travel",)), [])


def test_published_definitions_never_change() -> None:
    """A resolution of years ago must read as it was meant. To change a code, add a version."""
    digests = {
        version: hashlib.sha256(
            json.dumps([asdict(reason) for reason in reasons]).encode()
        ).hexdigest()
        for version, reasons in CATALOGUES.items()
    }
    assert digests == PUBLISHED
    assert max(CATALOGUES) == CATALOGUE
    for version, reasons in CATALOGUES.items():
        assert len({reason.code for reason in reasons}) == len(reasons)
        assert {reason.resolution for reason in reasons} == set(Resolution)
        for reason in reasons:
            assert reason_of(reason.code, version) is reason
            assert len(reason.definition) > 40
    assert reason_of("scam", 99) is None


def test_what_customers_are_told_discloses_nothing() -> None:
    """Whoever tries the limits must not learn from our letters where they are."""
    secrets = {word for feature in FEATURES for word in feature.name.split("_") if len(word) > 6}
    secrets |= {word for code in REASON_CODES for word in code.split("_") if len(word) > 5}
    secrets |= {"score", "risk", "model", "limit", "fraud", "unusual", "suspic", "detector"}
    secrets -= {"customer", "confirmed"}
    for language in ("en", "fr"):
        assert set(TEXTS[language]) == set(Standing)
        for text in TEXTS[language].values():
            assert not re.search(r"\d", text)
            assert [secret for secret in secrets if secret in text.lower()] == []
