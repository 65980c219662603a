"""Promise 2 and 5, proved from the ledger: every decision once more, compared bit for bit.

Reads the messages of each partition from the beginning, computes features, scores, outcomes and
reasons with the versions that decided at each offset (`fraudwatch.casework.deciders`), in batches
of another size than the worker's, and compares them with what the ledger says. Where the topic
grew, accounts move as they did then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import deciders, layouts, ledger, offsets
from fraudwatch.casework.deciders import Deciding, Switch
from fraudwatch.casework.layouts import Layout
from fraudwatch.casework.ledger_tables import hold
from fraudwatch.casework.models import ModelRow, PolicyRow
from fraudwatch.casework.steering import Registered, Steering, policy_of
from fraudwatch.detectors.model import Model
from fraudwatch.domain.decision import Reason
from fraudwatch.domain.transaction import Transaction
from fraudwatch.errors import BundleError
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions
from fraudwatch.features.state import AccountState
from fraudwatch.policy.rules import Policy, decide
from fraudwatch.regroup import at_base
from fraudwatch.scorers import Scorers

OpenModel = Callable[[Registered], Model]


@dataclass(frozen=True, slots=True)
class Difference:
    """A column of a ledger row that came out otherwise: as recorded and as computed."""

    partition: int
    offset: int
    column: str
    recorded: object
    computed: object


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many rows were compared, how many differ, and the first differences."""

    rows: int
    different: int
    first: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        return not self.different


class Replay:
    """Recomputes what the ledger holds. `key` is the secret of the blind-spot draw.

    A model whose bundle is gone raises `BundleError`: its decisions cannot be shown any more.
    """

    def __init__(self, session: Session, topic: str, open_model: OpenModel, key: bytes) -> None:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        hold(session)
        session.execute(text("SET LOCAL statement_timeout = 0"))
        self._session = session
        self._topic = topic
        self._key = key
        self._open_model = open_model
        self._models: dict[int, tuple[Registered, Model]] = {}

    def run(
        self,
        *,
        partition: int | None = None,
        most: int = 20,
        progress: Callable[[int], None] = lambda _rows: None,
    ) -> Replayed:
        """Compare one partition, or all of them; tells at most `most` differences.

        `progress` is called with the rows compared so far.
        """
        rows, different, first = 0, 0, list[Difference]()
        for layout, spans in self._generations():
            chosen = [p for p in spans if partition in (None, p)]
            for number in chosen:
                for compared, found in self._partition(layout, number, *spans[number]):
                    rows += compared
                    different += len({(d.partition, d.offset) for d in found})
                    first += found[: most - len(first)]
                    progress(rows)
        return Replayed(rows, different, tuple(first))

    def _generations(self) -> Iterator[tuple[Layout | None, Mapping[int, tuple[int, int]]]]:
        """The layouts in order, with the offsets that each partition was read from and to."""
        stands = offsets.stands(self._session, self._topic)
        generations = layouts.history(self._session, self._topic)
        if not generations:
            yield None, {partition: (0, end) for partition, end in stands.items()}
            return
        for layout, following in zip(generations, [*generations[1:], None], strict=True):
            ends = following.bases if following is not None else stands
            yield layout, {p: (base, ends.get(p, base)) for p, base in layout.bases.items()}

    def _partition(
        self, layout: Layout | None, partition: int, start: int, end: int
    ) -> Iterator[tuple[int, list[Difference]]]:
        """For each piece that one set of versions decided: rows compared, and differences."""
        switches = deciders.of_partition(self._session, partition)
        if start == end or not switches:
            return
        begins = [switch.from_offset for switch in switches]
        specs = self._specs(switches)
        states = {
            version: at_base(self._session, layout, [partition], spec)[partition]
            if layout is not None
            else AccountState(spec)
            for version, spec in specs.items()
        }
        scorers = Scorers(self._opened)

        def switch_of(row: Row[Any]) -> int:
            return bisect_right(begins, row.offset) - 1

        for chunk in ledger.recorded(self._session, partition, start, end):
            for place, piece in groupby(chunk, key=switch_of):
                rows = list(piece)
                deciding = switches[place].deciding
                transactions = [ledger.stored(bytes(row.payload)) for row in rows]
                for version, spec in specs.items():
                    if version != deciding.features_version:
                        states[version].absorb(from_transactions(transactions, spec))
                scorers.follow(self._session, self._steering(deciding))
                state = states[deciding.features_version]
                yield len(rows), self._compare(rows, transactions, deciding, state, scorers)

    def _compare(
        self,
        rows: Sequence[Row[Any]],
        transactions: Sequence[Transaction],
        deciding: Deciding,
        state: AccountState,
        scorers: Scorers,
    ) -> list[Difference]:
        columns = from_transactions(transactions, state.spec)
        batch = state.extend(columns, scorers.profiles)
        scores = scorers.score(batch.values)
        outcomes = decide(
            self._policy(deciding),
            self._key,
            risk=scores.risk,
            amount=columns.amount_e4 / 10_000,
            history_count=batch.history_count,
            late_us=batch.late_us,
            transaction_ids=[t.transaction_id for t in transactions],
        )
        reasons: dict[int, tuple[Reason, ...]] = {}
        chosen = outcomes.to_people()
        if scorers.champion is not None and len(chosen):
            found = scorers.champion.reasons(batch.values[chosen], *state.normal_range(chosen))
            reasons = dict(zip(chosen.tolist(), found, strict=True))
        values = np.ascontiguousarray(batch.values, dtype="<f8")
        differences = []
        for place, row in enumerate(rows):
            computed = {
                "features": values[place].tobytes(),
                "features_version": deciding.features_version,
                "anomaly_score": _number(scores.anomaly[place]),
                "risk": _number(scores.risk[place]),
                "challenger_risk": _number(scores.challenger_risk[place]),
                "outcome": int(outcomes.outcome[place]),
                "rule": int(outcomes.rule[place]),
                "reasons": list(msgspec.to_builtins(reasons[place])) if place in reasons else None,
                "model_id": deciding.model_id,
                "challenger_id": deciding.challenger_id,
                "policy_id": deciding.policy_id,
                "profile_version": deciding.profile_version,
            }
            differences += [
                Difference(row.partition, row.offset, column, _plain(getattr(row, column)), value)
                for column, value in computed.items()
                if _plain(getattr(row, column)) != value
            ]
        return differences

    def _steering(self, deciding: Deciding) -> Steering:
        champion, challenger = (
            None if number is None else self._model(number)[0]
            for number in (deciding.model_id, deciding.challenger_id)
        )
        return Steering(self._policy(deciding), champion, challenger, deciding.profile_version)

    def _policy(self, deciding: Deciding) -> Policy:
        return policy_of(
            self._session.scalars(select(PolicyRow).where(PolicyRow.id == deciding.policy_id)).one()
        )

    def _specs(self, switches: Sequence[Switch]) -> dict[str, FeatureSpec]:
        """The feature definitions that decided in a partition, by version."""
        numbers = {switch.deciding.model_id for switch in switches} - {None}
        specs = [
            FeatureSpec(),
            *(self._model(n)[1].manifest.spec for n in numbers if n is not None),
        ]
        known = {spec.version: spec for spec in specs}
        wanted = {switch.deciding.features_version for switch in switches}
        if unknown := wanted - set(known):
            raise BundleError(
                f"decisions were made with features {', '.join(sorted(unknown))}, which this "
                "version of fraudwatch does not compute: replay them with the version that did"
            )
        return {version: known[version] for version in wanted}

    def _model(self, number: int) -> tuple[Registered, Model]:
        if number not in self._models:
            row = self._session.scalars(select(ModelRow).where(ModelRow.id == number)).one()
            registered = Registered(row.id, row.name, row.sha256)
            self._models[number] = registered, self._open_model(registered)
        return self._models[number]

    def _opened(self, registered: Registered) -> Model:
        return self._model(registered.model_id)[1]


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value
