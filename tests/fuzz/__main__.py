"""The fuzz run by hand: ``python -m tests.fuzz --messages 1000000 --seed 1``.

Sends that many hostile transactions through the whole path, on a PostgreSQL of its own, a tenth as
many labels, and as many of both to the decoders alone. Prints what became of them and how much
memory it took. Any failure ends it with an error; the same seed gives the same messages.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from sqlalchemy import URL, create_engine, text

from fraudwatch.casework import db
from fraudwatch.casework.embedded import start_embedded, stop_embedded
from fraudwatch.clock import FixedClock
from streams.simulator.live import label_message
from streams.source import Message
from tests.fuzz.checks import check_label, check_transaction
from tests.fuzz.decoder import DecoderReport, run_decoder
from tests.fuzz.generate import Generator
from tests.fuzz.path import Report, peak_mb, run_labels, run_transactions
from tests.pipeline.worlds import NOW, Installation, Trained, train


def label_messages(transactions: Sequence[Message]) -> list[Message]:
    """Valid labels of some transactions."""
    return [label_message(f"t-{number}", NOW) for number in range(min(200, len(transactions)))]


def lifted(here: Installation) -> Installation:
    """Without limits on dead letters."""
    here.settings = here.settings.model_copy(
        update={"dead_letter_share": 1.0, "dead_letter_consecutive": 10**9}
    )
    return here


@contextmanager
def installation(folder: Path, trained: Trained) -> Iterator[Installation]:
    """A database, stream files and a model."""
    server = folder / "postgresql"
    server.mkdir(parents=True)
    url: URL = start_embedded(server).set(drivername="postgresql+psycopg")
    try:
        admin = create_engine(url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text("CREATE DATABASE fuzz"))
        admin.dispose()
        url = url.set(database="fuzz")
        engine = db.open_engine(url)
        db.migrate(engine)
        engine.dispose()
        stream = folder / "stream"
        stream.mkdir()
        here = lifted(Installation(url, stream, trained, FixedClock(NOW)))
        here.register()
        try:
            yield here
        finally:
            here.close()
    finally:
        stop_embedded(server)


def say(text_: str) -> None:
    sys.stdout.write(text_ + "\n")
    sys.stdout.flush()


def tell(name: str, report: Report, seconds: float) -> None:
    assert report.proof is not None
    dead = report.reasons.total()
    say(f"{name}: {report.messages:,} messages, {report.damaged:,} damaged ranges, {seconds:.0f} s")
    say(f"  decided {report.decided:,}, labels {report.labels:,}, dead letters {dead:,}")
    say(f"  reasons {dict(report.reasons.most_common())}")
    say(f"  ways {dict(report.kinds.most_common())}")
    say(f"  log lines without a value: {report.log_lines:,}")
    say(f"  resident memory in MB at each tenth: {report.resident}; most ever: {peak_mb()}")
    say(f"  verify: {'ok' if report.proof.ok else 'NOT OK'}")
    if not report.proof.ok:
        raise SystemExit(f"{name}: {report.proof.as_dict()}")


def tell_decoder(name: str, report: DecoderReport, seconds: float) -> None:
    say(f"{name}: {report.messages:,} messages, {seconds:.0f} s")
    say(f"  {dict(report.verdicts.most_common())}")
    say(
        f"  slowest {report.slowest_seconds * 1000:.1f} ms ({report.slowest_kind}); "
        f"most memory ever in MB: {peak_mb()}"
    )


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    messages, seed = options.messages, options.seed
    folder = Path(tempfile.mkdtemp(prefix="fraudwatch-fuzz-"))
    folder.chmod(0o755)
    failed = Path(tempfile.gettempdir()) / f"fraudwatch-fuzz-failed-{seed}"
    try:
        trained = train(folder / "models")
        labels = label_messages(trained.messages)

        started = perf_counter()
        found = run_decoder(Generator(trained.messages, seed), messages, NOW, check_transaction)
        tell_decoder("transactions, decoder alone", found, perf_counter() - started)
        started = perf_counter()
        found = run_decoder(Generator(labels, seed), messages // 10, NOW, check_label)
        tell_decoder("labels, decoder alone", found, perf_counter() - started)

        with installation(folder, trained) as here:
            started = perf_counter()
            report = run_transactions(
                here, Generator(trained.messages, seed + 1), messages, seed=seed, folder=failed
            )
            tell("transactions, whole path", report, perf_counter() - started)
            started = perf_counter()
            report = run_labels(
                here, Generator(labels, seed + 1), messages // 10, seed=seed, folder=failed
            )
            tell("labels, whole path (with what came before)", report, perf_counter() - started)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
