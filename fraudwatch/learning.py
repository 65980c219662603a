"""The return path: from what people decided to the next model.

    ledger, labels, cases ─► History ─► training_set ─► fit ─► bundle ─► candidate, challenger
                                                                            │
                             champion ◄─ a person's command ◄─ evaluation on later transactions

Step by step:

 1. What is known: every transaction of the last weeks with the features it was scored on, the
    label that counts, and whether it was flagged or still lies in an open case (`history.py`).
 2. What may be learnt from it (`training_set.py`, pure): nothing open; what was flagged and not
    cleared by a person is not learnt as normal; a part of recent traffic is kept for calibration.
 3. A model: detectors on ordinary traffic, blended with a part trained on labels as these grow
    (`train`, by `fraudwatch.detectors.training`).
 4. Its bundle is saved and registered. It scores beside the champion and decides nothing.
 5. Both are compared on transactions later than anything the challenger learnt from
    (`evaluate_challenger`). Promotion is a person's command.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import audit, models_registry, steering
from fraudwatch.casework.db import connect_errors
from fraudwatch.casework.models import ModelRow
from fraudwatch.clock import Clock
from fraudwatch.detectors import bundle
from fraudwatch.detectors.model import Model
from fraudwatch.detectors.training import (
    DEFAULT,
    LabelledRows,
    Progress,
    TrainingConfig,
    fit,
)
from fraudwatch.errors import ConfigurationError, Conflict
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.history import (
    DAY,
    FRAUD,
    LEGITIMATE,
    History,
    delayed_truth,
    from_canonical,
    from_ledger,
    newest_moment,
)
from fraudwatch.oversight import metrics
from fraudwatch.settings import Settings
from fraudwatch.training_set import DEFAULT_PLAN, Plan, training_set
from streams.mapping import Mapping, read_frame

# These grow with the time that the service has run, for every account alike. Frauds become known
# later than what people cleared, so trees would learn from them how old a row is, not what it is.
# (Handbook, two days of labels that only frauds had: average precision 0.46 with, 0.71 without.)
AGES = ("account_count", "account_age_days")


def train(
    history: History,
    *,
    seed: int,
    name: str = "model",
    plan: Plan = DEFAULT_PLAN,
    config: TrainingConfig = DEFAULT,
    created_at: datetime | None = None,
    progress: Progress | None = None,
) -> Model:
    """A model from what may be learnt. Raises `ConfigurationError` when there is too little."""
    chosen = training_set(history, plan)
    labelled = history.features[chosen.labelled]
    # Trees cannot split on a column that does not vary.
    labelled[:, [history.spec.names.index(name) for name in AGES]] = 0.0
    return fit(
        history.features[chosen.unsupervised],
        history.features[chosen.calibration],
        history.spec,
        seed=seed,
        config=config,
        labels=LabelledRows(labelled, chosen.fraud, chosen.weight),
        window=history.window,
        name=name,
        created_at=created_at,
        progress=progress,
    )


@dataclass(frozen=True, slots=True)
class Workshop:
    """Where models are made: database, bundle folder and clock; `actor` stands in the register.

    Each command makes one model: its bundle is saved first, then registered in one commit.
    """

    sessions: sessionmaker[Session]
    settings: Settings
    clock: Clock
    actor: str
    seed: int = 1
    days: int = 30
    plan: Plan = DEFAULT_PLAN
    config: TrainingConfig = DEFAULT

    def train_from_ledger(self, progress: Progress | None = None) -> ModelRow:
        """Learn from the newest `days` days of the ledger, on the champion's features.

        The model becomes challenger, or champion if there is none. Raises `ConfigurationError`
        when the ledger holds too little.
        """
        with connect_errors(), self.sessions.begin() as session:
            champion = models_registry.champion(session)
            spec = _spec(champion) if champion is not None else FeatureSpec()
            until = newest_moment(session)
            if until is None:
                raise ConfigurationError("the ledger is empty: there is nothing to learn from")
            until += timedelta(microseconds=1)
            history = from_ledger(
                session, spec, since=until - timedelta(days=self.days), until=until
            )
        return self._make(history, progress)

    def train_from_file(
        self,
        path: Path,
        mapping: Mapping,
        *,
        labels: bool,
        delay_days: float = 7.0,
        progress: Progress | None = None,
    ) -> ModelRow:
        """Learn from a recorded file; with `labels`, each fraud known `delay_days` after it."""
        frame = read_frame(path, mapping)
        if labels and "label" not in frame:
            raise ConfigurationError(
                f"{path}: to learn from labels, name their column under [label] in the mapping"
            )
        known = delayed_truth(frame, delay_days) if labels else None
        return self.train_from_frame(frame, known_frauds=known, progress=progress)

    def train_from_frame(
        self,
        frame: pd.DataFrame,
        *,
        known_frauds: pd.DataFrame | None = None,
        progress: Progress | None = None,
    ) -> ModelRow:
        """Learn from a canonical frame; `known_frauds`: `transaction_id`, `fraud`, `known_at`.

        All rows make account histories and profiles, the last `days` days train.
        """
        return self._make(from_canonical(frame, known_frauds, self.days, progress), progress)

    def _make(self, history: History, progress: Progress | None) -> ModelRow:
        now = self.clock.now()
        model = train(
            history,
            seed=self.seed,
            name=_name(now, history, self.seed),
            plan=self.plan,
            config=self.config,
            created_at=now,
            progress=progress,
        )
        folder = self.settings.models_dir / model.name
        sha256 = bundle.save(model, folder)
        manifest = msgspec.json.decode((folder / bundle.MANIFEST).read_bytes())
        with connect_errors(), self.sessions.begin() as session:
            row = models_registry.register(session, model.name, sha256, manifest, now)
            if models_registry.champion(session) is None:
                models_registry.promote(session, row.id, self.actor, now)
            else:
                models_registry.challenge(session, row, self.actor, now)
            audit.append(
                session,
                at=now,
                actor=None,
                action="model.train",
                subject=f"model:{row.id}",
                data={
                    "name": row.name,
                    "sha256": row.sha256,
                    "status": row.status,
                    "by": self.actor,
                },
            )
        return row

    def evaluate_challenger(self, budget: int = 100) -> dict[str, Any]:
        """Compare challenger and champion on ledger rows later than what the challenger learnt
        from; the comparison is stored with the challenger.

        Truth is what is known by now, and everything else counts as ordinary: precision is thus
        never overstated. What people saw was chosen by the champion, which favours it.
        Raises `Conflict` without both models or later rows.
        """
        with connect_errors(), self.sessions.begin() as session:
            rows = {row.status: row for row in models_registry.list_models(session)}
            champion, challenger = rows.get("champion"), rows.get("challenger")
            if champion is None or challenger is None:
                raise Conflict("there must be a champion and a challenger to compare")
            if _spec(champion).version != _spec(challenger).version:
                raise Conflict("champion and challenger take different features")
            until = newest_moment(session)
            learnt = datetime.fromisoformat(challenger.manifest["window"][1])
            if until is None or until <= learnt:
                raise Conflict("no transactions later than what the challenger learnt from")
            history = from_ledger(
                session,
                _spec(challenger),
                since=learnt + timedelta(microseconds=1),
                until=until + timedelta(microseconds=1),
            )
            policy = steering.read(session).policy
            thresholds = (policy.review_from, policy.high_risk_from)
            found = {
                "compared_with": champion.name,
                "at": self.clock.now().isoformat(),
                "from": history.window[0],
                "to": history.window[1],
                "rows": len(history),
                "known_frauds": int((history.fraud == FRAUD).sum()),
                "known_legitimate": int((history.fraud == LEGITIMATE).sum()),
                "budget": budget,
                **{
                    role: _figures(
                        bundle.load(self.settings.models_dir / row.name, row.sha256),
                        history,
                        budget,
                        thresholds,
                    )
                    for role, row in (("champion", champion), ("challenger", challenger))
                },
            }
            challenger.evaluation = found
        return found


def _figures(
    model: Model, history: History, budget: int, thresholds: tuple[float, ...]
) -> dict[str, Any]:
    scores = model.score(history.features)
    rank = np.where(np.isnan(scores.anomaly), np.inf, scores.anomaly)
    fraud, day = history.fraud == FRAUD, history.time_us // DAY
    auc, precision = metrics.rank(fraud, rank, day).figures()
    cards = metrics.card_days(fraud, rank, history.account, day, budget)
    frauds = int(cards.frauds.sum())
    return {
        "model": model.name,
        "auc": metrics.or_none(auc),
        "average_precision": metrics.or_none(precision),
        "card_precision": float(cards.precision.mean()),
        "recall_at_budget": int(cards.caught.sum()) / frauds if frauds else None,
        "at_or_above": {
            str(threshold): {
                "all": float((~(scores.risk < threshold)).mean()),
                "ordinary": metrics.or_none(
                    metrics.false_alarms(fraud, scores.risk, day, threshold).share()
                ),
                "promised": round(1 - threshold, 12),
            }
            for threshold in thresholds
        },
    }


def _spec(row: ModelRow) -> FeatureSpec:
    return FeatureSpec.from_dict(row.manifest["features"])


def _name(now: datetime, history: History, seed: int) -> str:
    """Date, time and a short hash of what goes in: unique, and sorted by age."""
    facts = f"{now.isoformat()} {history.window} {len(history)} {seed}"
    digest = hashlib.sha256(facts.encode()).hexdigest()[:6]
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{digest}"
