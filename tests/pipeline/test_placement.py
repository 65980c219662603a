"""An account that arrives in another partition than its id belongs to is told of, and decided."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable

import pytest

from fraudwatch.casework import layouts
from fraudwatch.casework.masking import pseudonym
from fraudwatch.pipeline import ForwardPath
from fraudwatch.telemetry import MISPLACED, JsonFormatter
from streams.partitioner import partitions_of
from streams.source import Message
from tests.pipeline.worlds import KEY, PARTITIONS, Installation, batch

Install = Callable[[], Installation]


def counted() -> float:
    return sum(
        sample.value
        for metric in MISPLACED.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def alarms(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    lines = [JsonFormatter().format(r) for r in caplog.records if "ALARM" in r.getMessage()]
    return [json.loads(line) for line in lines]


def accounts(here: Installation, partition: int) -> list[Message]:
    """The first message of each account that belongs to the partition."""
    first = list({message.key: message for message in here.trained.messages}.values())
    places = partitions_of([message.key or b"" for message in first], PARTITIONS).tolist()
    return [m for m, place in zip(first, places, strict=True) if place == partition]


def worker(here: Installation, moment: list[float]) -> ForwardPath:
    here.register()
    with here.sessions.begin() as session:
        layouts.confirm(session, "transactions", PARTITIONS)
    found = here.worker(monotonic=lambda: moment[0])
    found.assign(frozenset(range(PARTITIONS)))
    return found


def test_the_alarm_names_the_place_and_the_account_by_its_pseudonym(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    here, moment = install(), [0.0]
    path = worker(here, moment)
    right, wrong = accounts(here, 0)[:3], accounts(here, 1)[:4]
    before = counted()
    with caplog.at_level(logging.ERROR):
        path.process([batch(0, 0, [*right, *wrong[:2]])])
        # Who was told of is not told of again, and more than one a minute would flood the log.
        path.process([batch(0, 5, [*wrong[:2], wrong[2]])])
        moment[0] += 60
        path.process([batch(0, 8, [wrong[3]])])
    account = (wrong[0].key or b"").decode()
    first, second = alarms(caplog)
    told = {k: first[k] for k in ("topic", "partition", "offset", "expected_partition", "account")}
    assert told == {
        "topic": "transactions",
        "partition": 0,
        "offset": 3,
        "expected_partition": 1,
        "account": pseudonym(account, KEY),
    }
    assert account not in json.dumps(first)
    assert (first["misplaced"], second["misplaced"], second["offset"]) == (2, 2, 8)
    assert counted() - before == 4
    assert len(here.ledger()) == 7  # the repeats are dead letters


def test_nothing_is_told_of_producers_that_hash_otherwise_on_purpose(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    here = install()
    here.settings = here.settings.model_copy(update={"key_hash": "other"})
    path = worker(here, [0.0])
    with caplog.at_level(logging.ERROR):
        path.process([batch(0, 0, accounts(here, 1)[:3])])
    assert alarms(caplog) == []
    assert len(here.ledger()) == 3
