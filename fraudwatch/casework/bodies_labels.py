"""What the API takes of late truth."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, Field

from fraudwatch.casework.bodies import Key, example
from fraudwatch.domain.label import PRECEDENCE, Label, LabelSource

_CHARGEBACK = {
    "transaction_id": "tx-000042",
    "fraud": True,
    "source": "chargeback",
    "known_at": "2026-03-02T10:00:00Z",
}


class LabelIn(BaseModel):
    """Truth about one transaction, known from `known_at` on."""

    model_config = example(**_CHARGEBACK)
    transaction_id: Key
    fraud: bool
    source: Literal["chargeback", "appeal"]
    known_at: AwareDatetime

    def label(self) -> Label:
        """As the services take it."""
        source = LabelSource(self.source)
        return Label(self.transaction_id, self.fraud, source, self.known_at, PRECEDENCE[source])


class LabelsIn(BaseModel):
    model_config = example(labels=[_CHARGEBACK])
    labels: list[LabelIn] = Field(min_length=1, max_length=1000)
