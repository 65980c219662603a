"""The models in use: the champion, which decides, and the challenger, which scores beside it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from fraudwatch.casework import profile_store
from fraudwatch.casework.steering import Registered, Steering
from fraudwatch.detectors.model import Model
from fraudwatch.errors import BundleError
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.profiles import EMPTY_PROFILES, MerchantProfiles
from fraudwatch.telemetry import CHAMPION

log = logging.getLogger(__name__)

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BatchScores:
    """Scores of n rows. NaN: not scored, by a missing or failing model or a row it cannot take."""

    anomaly: FloatArray
    risk: FloatArray
    challenger_risk: FloatArray
    model_id: int | None
    challenger_id: int | None


class Scorers:
    """Follows what the database says is champion, challenger and current profile version.

    `open_model` loads a bundle by its registration and checks its hash (`BundleError`).
    """

    def __init__(self, open_model: Callable[[Registered], Model]) -> None:
        self._open_model = open_model
        self._champion: tuple[Registered, Model | None] | None = None
        self._challenger: tuple[Registered, Model | None] | None = None
        self.profiles: MerchantProfiles = EMPTY_PROFILES
        self.spec = FeatureSpec()
        self._told_missing = False

    @property
    def champion(self) -> Model | None:
        """The model that decides; None: there is none, or it cannot be loaded."""
        return self._champion[1] if self._champion else None

    def follow(self, session: Session, steering: Steering) -> None:
        """Load what changed. A bundle that cannot be loaded counts as missing, loudly."""
        self._champion = self._loaded(self._champion, steering.champion)
        self._challenger = self._loaded(self._challenger, steering.challenger)
        CHAMPION.set(self.champion is not None)
        if self.champion is not None:
            self.spec = self.champion.manifest.spec
        elif steering.champion is None and not self._told_missing:
            log.error("no model decides: everything goes to people; train and promote one")
        self._told_missing = self.champion is None
        if steering.profile_version not in ("", self.profiles.version):
            try:
                self.profiles = profile_store.load(session, steering.profile_version)
            except BundleError:
                log.exception("merchant profiles cannot be used; keeping those before them")

    def _loaded(
        self, held: tuple[Registered, Model | None] | None, wanted: Registered | None
    ) -> tuple[Registered, Model | None] | None:
        if wanted is None:
            return None
        if held is not None and held[0] == wanted and held[1] is not None:
            return held
        try:
            model = self._open_model(wanted)
        except BundleError:
            # Tried again at every look, so that a bundle put right is used; told once.
            if held is None or held[0] != wanted:
                log.exception("model cannot be used", extra={"data": {"model": wanted.name}})
            return wanted, None
        log.info("model loaded", extra={"data": {"model": wanted.name}})
        return wanted, model

    def score(self, features: FloatArray) -> BatchScores:
        """Scores by both models."""
        nothing = np.full(len(features), np.nan)
        anomaly, risk = self._scored(self._champion, features) or (nothing, nothing)
        beside = self._challenger
        if beside is not None and beside[1] is not None and beside[1].manifest.spec != self.spec:
            # It needs other features than the champion's: it cannot score beside it.
            beside = None
        _, challenger_risk = self._scored(beside, features) or (nothing, nothing)
        return BatchScores(
            anomaly,
            risk,
            challenger_risk,
            self._champion[0].model_id if self._champion and self._champion[1] else None,
            beside[0].model_id if beside and beside[1] else None,
        )

    def _scored(
        self, held: tuple[Registered, Model | None] | None, features: FloatArray
    ) -> tuple[FloatArray, FloatArray] | None:
        if held is None or held[1] is None or not len(features):
            return None
        anomaly, risk, error = _without_failing(held[1], features)
        if error is not None:
            # Whatever a detector does wrong, its rows go to people: a crash here would stop
            # every payment, and a cleared row would be a lie.
            log.error("model failed", exc_info=error, extra={"data": {"model": held[0].name}})
        return anomaly, risk


def _without_failing(
    model: Model, features: FloatArray
) -> tuple[FloatArray, FloatArray, Exception | None]:
    """Anomaly and risk of each row, NaN for those that the model fails on, and an error of its.

    Which rows these are must not depend on the batch they came in, so halves are tried until a
    failing row is alone.
    """
    try:
        scores = model.score(features)
    except Exception as error:  # noqa: BLE001 - the caller tells of it
        if len(features) == 1:
            return np.full(1, np.nan), np.full(1, np.nan), error
        half = len(features) // 2
        parts = [_without_failing(model, part) for part in (features[:half], features[half:])]
        anomaly, risk = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        return anomaly, risk, error
    return scores.anomaly, scores.risk, None
