"""`python -m tests.chaos --faults 1000 --seed 1`: the soak, by hand."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from fraudwatch.cli.running import exit_in_order
from tests.chaos.campaign import run, summary
from tests.chaos.coverage import LONG


def main() -> int:
    """Cause faults and say what came of it. Exits 1 when anything was lost or doubled, a worker
    ended that nobody had told to, or a long run never hit a kind of fault or a named point."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=main.__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-round", type=int, default=50, help="faults between two comparisons")
    parser.add_argument("--long-freeze", type=float, default=60, help="seconds, of the broker")
    parser.add_argument("--long-freezes", type=int, default=4, help="how many of those")
    parser.add_argument("--log", type=Path, help="rounds done, to go on from after a stop")
    options = parser.parse_args()

    # Told to stop, it still stops its servers.
    signal.signal(signal.SIGTERM, lambda *_: exit_in_order())

    def tell(line: str) -> None:
        sys.stdout.write(f"{time.strftime('%H:%M:%S')} {line}\n")
        sys.stdout.flush()

    kept = run(
        options.faults,
        options.seed,
        tell,
        per_round=options.per_round,
        long_freeze=options.long_freeze,
        long_freezes=options.long_freezes,
        log=options.log,
    )
    figures = summary(kept)
    sys.stdout.write(json.dumps({"seed": options.seed, **figures}, indent=2) + "\n")
    too_little = figures["never_hit"] if options.faults >= LONG else []
    return 1 if figures["wrong"] or too_little else 0


if __name__ == "__main__":
    sys.exit(main())
