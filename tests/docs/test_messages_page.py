"""The page for senders says what `decode` does."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from fraudwatch.domain.label import decode_label
from fraudwatch.domain.strict import REASON_MEANINGS
from fraudwatch.domain.transaction import (
    decode,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_page_for_senders_explains_each_reason_and_shows_messages_that_work() -> None:
    page = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()
    for reason, meaning in REASON_MEANINGS.items():
        assert f"| `{reason}` | {meaning} |" in page
    transaction, label, *_ = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert decode(transaction.encode(), now=NOW).attributes["card_present"] == 1
    assert decode_label(label.encode(), now=NOW).fraud
