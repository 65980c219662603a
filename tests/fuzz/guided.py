"""Coverage-guided fuzz of the decoders:
``python -m tests.fuzz.guided FOLDER -runs=1000000 -seed=1``.

atheris notes which branches of our decoding each message reaches and goes on from those that
reached a new one. The options are libFuzzer's. FOLDER keeps what reached something new, for the
next run; a message that breaks a promise is left there as ``crash-…``, and the process ends with
an error.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["fraudwatch.domain"]):
    from tests.fuzz.checks import check_label, check_transaction

NOW = datetime(2026, 4, 11, tzinfo=UTC)
SECONDS_EACH = 10
MEGABYTES = 2048
LONGEST = 70_000
SEEDS = (
    b'{"transaction_id":"t-1","account_id":"pii-1","event_time":"2026-03-02T11:00:00Z",'
    b'"amount":"12.50","currency":"EUR","merchant_id":"pii-m","merchant_category":"5411",'
    b'"channel":"online","country":"FR","device_id":"pii-d","ip":"192.0.2.1","latitude":48.8,'
    b'"longitude":2.3,"attributes":{"score":0.5,"note":"pii"},"extra":1}',
    b'{"transaction_id":"t-1","account_id":"a","event_time":"2026-03-02T11:00:00+01:00",'
    b'"amount":1e3,"currency":"JPY","\\u0061ttributes":{"a":null,"b":true}}',
    b'{"transaction_id":"t-1","fraud":true,"source":"chargeback",'
    b'"known_at":"2026-03-02T11:00:00Z"}',
)
WORDS = (
    "transaction_id", "account_id", "event_time", "amount", "currency", "attributes", "latitude",
    "known_at", "fraud", "source", "chargeback", "\\\\u0000", "\\\\ud83d", "1e999999", "e-7",
    "null", "\\xef\\xbb\\xbf", "\\xed\\xa0\\x80", "2026-03-02T11:00:00Z", "KWD", "XXX", "\\\\u202e",
)  # fmt: skip


def one_input(value: bytes) -> None:
    """Both decoders must have a verdict on any bytes."""
    check_transaction(value, NOW)
    check_label(value, NOW)


def main() -> None:
    """Fuzz until the runs given are done; the process ends here."""
    folder = Path(sys.argv[1])
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed-{number}").write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    options = [
        *sys.argv[2:],
        f"-dict={words}",
        f"-artifact_prefix={folder}/",
        f"-timeout={SECONDS_EACH}",
        f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={LONGEST}",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
