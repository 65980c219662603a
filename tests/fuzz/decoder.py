"""Hostile messages to the decoders alone: many more in the same time."""

from __future__ import annotations

import faulthandler
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter

from tests.fuzz.checks import Verdict
from tests.fuzz.generate import Generator

HANG_SECONDS = 60


@dataclass
class DecoderReport:
    """How many were taken in or put aside for which reason, and how long the slowest took."""

    verdicts: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0
    slowest_kind: str = ""

    @property
    def messages(self) -> int:
        return self.verdicts.total()


def run_decoder(
    generator: Generator, messages: int, now: datetime, check: Callable[[bytes, datetime], Verdict]
) -> DecoderReport:
    """Check so many messages. Raises what a check raises; a hang ends the process."""
    report = DecoderReport()
    for number, hostile in enumerate(itertools.islice(generator, messages)):
        if number % 1000 == 0:
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
        started = perf_counter()
        verdict = check(hostile.message.value, now)
        took = perf_counter() - started
        if took > report.slowest_seconds:
            report.slowest_seconds, report.slowest_kind = took, hostile.kind
        report.verdicts[verdict.reason or "taken in"] += 1
        report.kinds[hostile.kind] += 1
    faulthandler.cancel_dump_traceback_later()
    return report
