"""A short fuzz run: every hostile message is a decision or a dead letter with a named reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from fraudwatch.casework.models import DeadLetter
from streams.source import RAW_LIMIT, Message
from tests.fuzz.__main__ import label_messages, lifted
from tests.fuzz.checks import check_label, check_transaction
from tests.fuzz.decoder import run_decoder
from tests.fuzz.generate import Generator
from tests.fuzz.path import run_labels, run_transactions
from tests.pipeline.worlds import NOW, Installation, Trained, batch

Install = Callable[[], Installation]

tokens = st.sampled_from(
    [
        b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u", b"null", b"true", b"1e999999",
        b'"amount"', b'"account_id"', b'"transaction_id"', b'"event_time"', b'"currency"', b'"EUR"',
        b'"fraud"', b'"source"', b'"known_at"', b'"chargeback"', b'"2026-03-02T00:00:00Z"', b"-0",
        b"\xff", b"\x00", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xef\xbb\xbf", b" ",
        b'"pii"',
    ]
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=200) | st.lists(tokens, max_size=40).map(b"".join))
def test_any_bytes_have_a_verdict(value: bytes) -> None:
    check_transaction(value, NOW)
    check_label(value, NOW)


def test_a_time_with_half_a_character_is_no_crash() -> None:
    """msgspec fails with an error of its own where a time holds one; found by this fuzz."""
    half = rb'{"transaction_id": "t", "fraud": true, "source": "chargeback", "known_at": "\ud83d"}'
    assert check_label(half, NOW).reason == "bad_text"
    rest = rb'"transaction_id":"t","account_id":"a","currency":"EUR","amount":1}'
    assert check_transaction(rb'{"event_time":"\ud83d",' + rest, NOW).reason == "bad_text"


def test_a_name_that_may_be_somebodys_number_is_not_told() -> None:
    """Some senders key an object by account or telephone number."""
    message = b'{"transaction_id":"t","account_id":"a","currency":"EUR","amount":1,"pii4711": []}'
    assert check_transaction(message, NOW).reason == "too_deep"


def test_hostile_messages_to_the_decoders(trained: Trained) -> None:
    found = run_decoder(Generator(trained.messages, 1, large=5000), 10_000, NOW, check_transaction)
    assert found.messages == 10_000
    assert found.verdicts["taken in"] > 2000
    assert len(found.verdicts) > 15, "most reasons are met"
    labels = run_decoder(Generator(label_messages(trained.messages), 1), 4000, NOW, check_label)
    assert labels.verdicts["taken in"] > 800


def test_hostile_messages_through_the_whole_path(
    install: Install, trained: Trained, tmp_path: Path
) -> None:
    here = lifted(install())
    here.register()
    found = run_transactions(
        here, Generator(trained.messages, 2, large=2000), 4000, seed=2, folder=tmp_path / "failed"
    )
    assert found.proof is not None
    assert found.proof.ok
    assert found.decided > 1200
    assert found.decided + found.reasons.total() == 4000 + found.damaged
    assert found.kinds["10 MB"] > 0
    assert found.reasons["duplicate"] > 0
    again = run_labels(
        here,
        Generator(label_messages(trained.messages), 2),
        1000,
        seed=2,
        folder=tmp_path / "failed",
    )
    assert again.proof is not None
    assert again.proof.ok
    assert again.labels > 200


def test_ten_megabytes_are_kept_in_part_and_told_in_a_message_a_broker_takes(
    install: Install,
) -> None:
    """Whole, its envelope was more than any broker takes: no other message left the outbox."""
    large = install()
    worker = large.worker()
    worker.assign(frozenset({0}))
    huge = Message(b"k" * 5000, b'"' + b"x" * 10_000_000 + b'"')
    worker.process([batch(0, 0, [huge, large.trained.messages[0]])])
    [told] = [json.loads(message) for message in large.published_outbox()]
    assert (told["reason"], told["size"]) == ("oversized", 10_000_002)
    assert base64.b64decode(told["raw"]) == huge.value[:RAW_LIMIT]
    with large.sessions() as session:
        [kept] = session.scalars(select(DeadLetter))
    assert (kept.size, len(kept.raw), kept.key) == (10_000_002, RAW_LIMIT, None)
    assert len(large.ledger()) == 1
