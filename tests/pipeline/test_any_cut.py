"""Promise 2 as a property: cuts, partitions, workers and restarts change no bit of any answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import hypothesis
import msgspec
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from fraudwatch.casework.models import DeadLetter
from fraudwatch.clock import FixedClock
from fraudwatch.domain.decision import Outcome, Rule
from fraudwatch.domain.transaction import Transaction, encode
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.history import from_canonical, from_ledger
from fraudwatch.pipeline import ForwardPath
from fraudwatch.replay import Replay
from streams.partitioner import partitions_of
from streams.source import Message
from tests.features_reference import START, canonical, transactions
from tests.pipeline.worlds import KEY, PARTITIONS, Installation, batch

Install = Callable[[], Installation]
ALL = frozenset(range(PARTITIONS))
FAR = datetime(2400, 1, 1, tzinfo=UTC)
SLOWLY = settings(
    max_examples=6,
    deadline=None,
    derandomize=True,
    phases=(hypothesis.Phase.generate,),  # shrinking would make hundreds of databases
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def message(transaction: Transaction) -> Message:
    return Message(transaction.account_id.encode(), encode(transaction))


@st.composite
def streams(draw: st.DrawFn) -> list[Message]:
    """Messages as sent: ties, late ones, repeats, and other content under a known id."""
    attributes = {"attributes": {"ip_risk": 0.25, "login_age_hours": 7.5, "segment": "x"}}
    sent = [msgspec.structs.replace(t, **attributes) for t in draw(transactions(most=40))]
    for _ in range(draw(st.integers(0, 4)) if sent else 0):
        place = draw(st.integers(0, len(sent) - 1))
        again = sent[place]
        if draw(st.booleans()):
            again = msgspec.structs.replace(again, amount=again.amount + Decimal("0.01"))
        sent.insert(draw(st.integers(place + 1, len(sent))), again)
    return [message(t) for t in sent]


@dataclass(frozen=True)
class Phase:
    """The messages of each partition between two changes of what decides."""

    first: tuple[int, ...]
    messages: tuple[Sequence[Message], ...]


def phases(sent: Sequence[Message], middle: int) -> list[Phase]:
    """Two phases, by partition."""
    found, first = [], (0,) * PARTITIONS
    for part in (sent[:middle], sent[middle:]):
        places = partitions_of([m.key or b"" for m in part], PARTITIONS).tolist()
        split = tuple(
            [m for m, place in zip(part, places, strict=True) if place == p]
            for p in range(PARTITIONS)
        )
        found.append(Phase(first, split))
        first = tuple(a + len(b) for a, b in zip(first, split, strict=True))
    return found


def prepared(here: Installation) -> None:
    """Nearly half of all goes to people, so that reasons are many."""
    here.clock = FixedClock(FAR)
    here.register()
    decide_by(here, "review_from = 0.6, high_risk_from = 0.8")


def decide_by(here: Installation, values: str) -> None:
    with here.sessions.begin() as session:
        session.execute(text(f"UPDATE policies SET {values}"))


def everything(here: Installation) -> dict[str, Any]:
    """All that was recorded, and what a worker that starts anew remembers."""
    with here.sessions() as session:
        dead = session.execute(
            select(DeadLetter.partition, DeadLetter.offset, DeadLetter.reason).order_by(
                DeadLetter.partition, DeadLetter.offset
            )
        ).all()
    worker = here.worker()
    worker.assign(ALL)
    return {
        "ledger": here.ledger(),
        "cases": here.cases(),
        "dead": [tuple(row) for row in dead],
        "states": here.states(worker),
    }


def serially(here: Installation, stream: Sequence[Phase]) -> dict[str, Any]:
    """One worker, a batch a phase."""
    prepared(here)
    for number, phase in enumerate(stream):
        if number:
            here.register("plain", here.trained.plain_sha256)
        worker = here.worker()
        worker.assign(ALL)
        polled = [batch(p, phase.first[p], m) for p, m in enumerate(phase.messages) if m]
        if polled:
            worker.process(polled)
    return everything(here)


def anyhow(here: Installation, stream: Sequence[Phase], data: st.DataObject) -> dict[str, Any]:
    """Two workers or one, cut anywhere, restarted from snapshots or from the ledger at any time."""
    prepared(here)
    owners = data.draw(st.sampled_from([[ALL], [frozenset({p}) for p in sorted(ALL)]]))
    for number, phase in enumerate(stream):
        if number:
            here.register("plain", here.trained.plain_sha256)
        workers: list[ForwardPath | None] = [None] * len(owners)
        at = [0] * PARTITIONS
        while any(at[p] < len(phase.messages[p]) for p in ALL):
            mine = data.draw(st.integers(0, len(owners) - 1))
            worker = workers[mine]
            if worker is not None and data.draw(st.integers(0, 4)) == 0:
                if data.draw(st.booleans()):
                    worker.close()
                worker = None
            if worker is None:
                worker = workers[mine] = here.worker()
                worker.assign(owners[mine])
            polled = []
            for p in sorted(owners[mine]):
                cut = phase.messages[p][at[p] : at[p] + data.draw(st.integers(0, 9))]
                if cut:
                    polled.append(batch(p, phase.first[p] + at[p], cut))
                    at[p] += len(cut)
            if polled:
                worker.process(polled)
    return everything(here)


@SLOWLY
@given(sent=streams(), data=st.data())
def test_however_a_stream_comes_every_answer_is_the_same(
    install: Install, sent: list[Message], data: st.DataObject
) -> None:
    """Scores, reasons, outcomes, dead letters, cases and memory; the model changes on the way."""
    stream = phases(sent, data.draw(st.integers(0, len(sent))))
    here, reference = install(), install()
    expected = serially(reference, stream)
    found = anyhow(here, stream, data)
    for what, value in expected.items():
        assert found[what] == value
    with here.sessions() as session:
        again = Replay(session, "transactions", here.open_model, KEY).run()
    assert (again.rows, again.first) == (len(expected["ledger"]), ())


@SLOWLY
@given(made=transactions(late=False, most=40))
def test_training_sees_the_features_that_decided(install: Install, made: list[Transaction]) -> None:
    """From the ledger, and from a file of the same transactions, whatever the cut."""
    here = install()
    here.clock = FixedClock(FAR)
    here.register("plain", here.trained.plain_sha256)
    plain = [msgspec.structs.replace(t, attributes={}, currency="EUR") for t in made]
    worker = here.worker()
    worker.assign(ALL)
    stream = phases([message(t) for t in plain], len(plain) // 2)
    for phase in stream:
        for p, messages in enumerate(phase.messages):
            if messages:
                worker.process([batch(p, phase.first[p], messages)])
    with here.sessions() as session:
        live = from_ledger(session, FeatureSpec(), since=START - timedelta(days=1), until=FAR)
    frame = canonical(plain).drop(columns="attributes.score")
    offline = from_canonical(frame, None, days=100_000)
    # No profiles were stored here: those columns are compared where profiles are built.
    own = [i for i, name in enumerate(live.spec.names) if "merchant_" not in name]
    np.testing.assert_array_equal(live.transaction, offline.transaction)
    np.testing.assert_array_equal(live.features[:, own], offline.features[:, own])


def test_a_transaction_too_late_to_be_measured_goes_to_people(install: Install) -> None:
    """Its own account's newest decides, nothing else: not the clock, not others, not the cut."""
    here = install()
    here.register()
    decide_by(
        here, "review_from = 1, high_risk_from = 1, blind_spot_rate = 0, no_history_count = 0"
    )
    days = [0, 29, 30, 0, 31, 45]
    late = [
        Transaction(
            transaction_id=f"{account}-{number}",
            account_id=account,
            event_time=START + timedelta(days=100 - behind),
            amount=Decimal(1),
            currency="EUR",
        )
        for account, behinds in (("a", days), ("b", [90, 80, 45]))
        for number, behind in enumerate(behinds)
    ]
    worker = here.worker()
    worker.assign(ALL)
    worker.process([batch(0, 0, [message(t) for t in late[:5]])])
    worker.process([batch(0, 5, [message(t) for t in late[5:]])])
    decided = {row["transaction_id"]: (row["outcome"], row["rule"]) for row in here.ledger()}
    review, by_risk = (Outcome.REVIEW, Rule.LATE), (Outcome.AUTO_CLEAR, Rule.RISK)
    expected = [by_risk, by_risk, review, by_risk, review, review]
    assert [decided[f"a-{number}"] for number in range(len(days))] == expected
    assert [decided[f"b-{number}"] for number in range(3)] == [by_risk] * 3
