"""Several installations, each with its own database and topics, share the accounts among them.

docs/scaling.md passes the limit of one database this way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from fraudwatch.casework.verify import verify
from streams.source import Message
from tests.pipeline.worlds import PARTITIONS, Installation, batches

ALL = frozenset(range(PARTITIONS))
ROWS = 1_500


def decided(here: Installation, sent: Sequence[Message]) -> dict[str, dict[str, Any]]:
    """What was recorded of each transaction, without its place on the stream."""
    here.register()
    worker = here.worker()
    worker.assign(ALL)
    for polled in batches(sent, np.random.default_rng(1), most=200):
        worker.process(polled)
    worker.close()
    with here.sessions() as session:
        assert verify(session, here.settings.topic_transactions).ok
    return {
        row["transaction_id"]: {k: v for k, v in row.items() if k != "offset"}
        for row in here.ledger()
    }


def test_a_share_of_the_accounts_is_decided_as_all_of_them_are(
    install: Callable[[], Installation],
) -> None:
    """An account's features, scores, outcome, reasons and cases do not depend on who else is in
    its installation; a repeat is found, for it comes to the same one."""
    whole, *parts = install(), install(), install()
    sent = whole.trained.messages[:ROWS]
    sent = [*sent, *sent[-50:]]
    shares = [[m for m in sent if crc32(m.key or b"") % 2 == n] for n in range(2)]
    assert all(len(share) > ROWS / 4 for share in shares)

    together = decided(whole, sent)
    apart = [decided(here, share) for here, share in zip(parts, shares, strict=True)]

    assert not apart[0].keys() & apart[1].keys()
    assert apart[0] | apart[1] == together
    cases = sorted([case for here in parts for case in here.cases()])
    assert cases == sorted(whole.cases())
    assert cases
