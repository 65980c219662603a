"""Accounts' pasts after the topic has grown: from the ledger, by where accounts live now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise

import numpy as np
from sqlalchemy.orm import Session

from fraudwatch.casework import layouts
from fraudwatch.casework.layouts import Layout
from fraudwatch.casework.ledger import stored
from fraudwatch.casework.stored_messages import replay
from fraudwatch.features.catalogue import FeatureSpec
from fraudwatch.features.columns import from_transactions
from fraudwatch.features.state import AccountState
from streams.partitioner import partitions_of


def at_base(
    session: Session, layout: Layout, partitions: Iterable[int], spec: FeatureSpec
) -> Mapping[int, AccountState]:
    """The partitions' accounts as they stood where the layout's generation begins.

    Reads all that earlier generations decided, in any partition: an account may come from each of
    them. Within one generation an account is in one partition, so its rows come in their order.
    """
    states = {partition: AccountState(spec) for partition in partitions}
    generations = layouts.history(session, layout.topic)[: layout.generation + 1]
    for earlier, later in pairwise(generations):
        for partition, base in earlier.bases.items():
            for chunk in replay(session, partition, base, later.bases[partition]):
                transactions = [stored(message.payload) for message in chunk]
                places = partitions_of(
                    [message.account_id.encode() for message in chunk], layout.partitions
                )
                columns = from_transactions(transactions, spec)
                for place, state in states.items():
                    state.absorb(columns.take(np.flatnonzero(places == place)))
    return states
