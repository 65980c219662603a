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
from datetime import datetime
from itertools import groupby
from typing import Any

import msgspec
import numpy as np
from sqlalchemy import Row, select, text
from sqlalchemy.orm import Session

from fraudwatch.casework import deciders, layouts, ledger, offsets, persons, places
from fraudwatch.casework.deciders import Deciding, Switch
from fraudwatch.casework.layouts import Layout
from fraudwatch.casework.ledger_tables import hold
from fraudwatch.casework.models import ModelRow, PolicyRow
from fraudwatch.casework.steering import Registered, Steering, policy_of
from fraudwatch.detectors.model import Model
from fraudwatch.domain.decision import Reason
from fraudwatch.domain.transaction import Transaction
from fraudwatch.errors import BundleError, NotFound
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
class Decision:
    """One decision, computed once more.

    `recorded` and `computed` are the columns that were decided, by name; `features` those of the
    row by name, as computed. `earlier` counts the account's transactions before it.
    """

    partition: int
    offset: int
    scored_at: datetime
    transaction: Transaction
    earlier: int
    features: Mapping[str, float]
    champion: Registered | None
    challenger: Registered | None
    policy: Policy
    profile_version: str
    recorded: Mapping[str, object]
    computed: Mapping[str, object]

    @property
    def differences(self) -> list[str]:
        """Columns that came out otherwise."""
        return [name for name, value in self.computed.items() if self.recorded[name] != value]


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many rows were compared, how many differ, and the first differences.

    `erased` rows were not: of accounts with an erased person in their past, whose features cannot
    be computed again (`fraudwatch.casework.erasure`).
    """

    rows: int
    different: int
    first: tuple[Difference, ...]
    erased: int = 0

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
        rows, different, erased, first = 0, 0, 0, list[Difference]()
        for layout, spans in self._generations():
            chosen = [p for p in spans if partition in (None, p)]
            for number in chosen:
                for compared, left_out, found in self._partition(layout, number, *spans[number]):
                    rows += compared
                    erased += left_out
                    different += len({(d.partition, d.offset) for d in found})
                    first += found[: most - len(first)]
                    progress(rows)
        return Replayed(rows, different, tuple(first), erased)

    def decision(self, transaction_id: str) -> Decision:
        """Compute the newest decision under this id once more.

        Reads the partition's messages up to it, in order, and follows its account alone: a decision
        depends on no other account. Raises `NotFound`.
        """
        partition, offset, account_id = places.of_transaction(self._session, transaction_id)
        for layout, spans in self._generations():
            start, end = spans.get(partition, (0, 0))
            if not start <= offset < end:
                continue
            earlier = 0
            for piece in self._pieces(layout, partition, start, offset + 1, account_id):
                if piece.rows[-1].offset == offset:
                    return self._decision(piece, earlier)
                earlier += len(piece.rows)
        raise NotFound(f"no partition of {self._topic} was read up to this transaction")

    def _decision(self, piece: _Piece, earlier: int) -> Decision:
        row, found = piece.rows[-1], piece.computed()
        steering = self._steering(piece.deciding)
        values = np.frombuffer(bytes(found[-1]["features"]), dtype="<f8").tolist()
        return Decision(
            row.partition,
            row.offset,
            row.scored_at,
            piece.transactions[-1],
            earlier + len(piece.rows) - 1,
            dict(zip(piece.state.spec.names, values, strict=True)),
            steering.champion,
            steering.challenger,
            steering.policy,
            steering.profile_version,
            {name: _plain(getattr(row, name)) for name in found[-1]},
            found[-1],
        )

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
    ) -> Iterator[tuple[int, int, list[Difference]]]:
        """For each piece that one set of versions decided: rows compared, rows left out for an
        erased person, and differences."""
        erased = set[str]()
        for piece in self._pieces(layout, partition, start, end):
            differences, left_out = [], 0
            both = zip(piece.rows, piece.transactions, piece.computed(), strict=True)
            for row, transaction, computed in both:
                if persons.is_erased(transaction):
                    erased.add(transaction.account_id)
                if transaction.account_id in erased:
                    left_out += 1
                    continue
                differences += [
                    Difference(row.partition, row.offset, column, _plain(recorded), value)
                    for column, value in computed.items()
                    if _plain(recorded := getattr(row, column)) != value
                ]
            yield len(piece.rows) - left_out, left_out, differences

    def _pieces(
        self,
        layout: Layout | None,
        partition: int,
        start: int,
        end: int,
        account_id: str | None = None,
    ) -> Iterator[_Piece]:
        """Rows that one set of versions decided, of one account or of all, in order. Each piece
        must be computed, or its account's past is not there for the next."""
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
            wanted = [row for row in chunk if account_id in (None, row.account_id)]
            for place, found in groupby(wanted, key=switch_of):
                rows = list(found)
                deciding = switches[place].deciding
                transactions = [ledger.stored(bytes(row.payload)) for row in rows]
                for version, spec in specs.items():
                    if version != deciding.features_version:
                        states[version].absorb(from_transactions(transactions, spec))
                scorers.follow(self._session, self._steering(deciding))
                state = states[deciding.features_version]
                policy = self._policy(deciding)
                yield _Piece(rows, transactions, deciding, state, scorers, policy, self._key)

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


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows that one set of versions decided, with the state of their accounts before them."""

    rows: Sequence[Row[Any]]
    transactions: Sequence[Transaction]
    deciding: Deciding
    state: AccountState
    scorers: Scorers
    policy: Policy
    key: bytes

    def computed(self) -> list[dict[str, Any]]:
        """What was decided of each row, by column. Moves the accounts on: to be called once."""
        columns = from_transactions(self.transactions, self.state.spec)
        batch = self.state.extend(columns, self.scorers.profiles)
        scores = self.scorers.score(batch.values)
        outcomes = decide(
            self.policy,
            self.key,
            risk=scores.risk,
            amount=columns.amount_e4 / 10_000,
            history_count=batch.history_count,
            late_us=batch.late_us,
            transaction_ids=[t.transaction_id for t in self.transactions],
        )
        reasons: dict[int, tuple[Reason, ...]] = {}
        chosen = outcomes.to_people()
        champion = self.scorers.champion
        if champion is not None and len(chosen):
            found = champion.reasons(batch.values[chosen], *self.state.normal_range(chosen))
            reasons = dict(zip(chosen.tolist(), found, strict=True))
        values = np.ascontiguousarray(batch.values, dtype="<f8")
        return [
            {
                "features": values[place].tobytes(),
                "features_version": self.deciding.features_version,
                "anomaly_score": _number(scores.anomaly[place]),
                "risk": _number(scores.risk[place]),
                "challenger_risk": _number(scores.challenger_risk[place]),
                "outcome": int(outcomes.outcome[place]),
                "rule": int(outcomes.rule[place]),
                "reasons": list(msgspec.to_builtins(reasons[place])) if place in reasons else None,
                "model_id": self.deciding.model_id,
                "challenger_id": self.deciding.challenger_id,
                "policy_id": self.deciding.policy_id,
                "profile_version": self.deciding.profile_version,
            }
            for place in range(len(self.rows))
        ]


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value
