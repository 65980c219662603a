"""What a worker tells of a partition ends with its ownership."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fraudwatch.telemetry import REGISTRY
from tests.pipeline.worlds import Installation, batches

SERIES = ("fraudwatch_publish_backlog_messages", "fraudwatch_snapshot_offset")


def told(partition: int) -> list[bool]:
    labels = {"partition": str(partition)}
    return [REGISTRY.get_sample_value(name, labels) is not None for name in SERIES]


def test_series_of_a_partition_end_when_it_is_lost(install: Callable[[], Installation]) -> None:
    """Two workers would tell of the same partition, one of them for ever what once was."""
    site = install()
    site.register()
    worker = site.worker()
    worker.assign(frozenset({0, 1}))
    for polled in batches(site.trained.messages[:200], np.random.default_rng(1), 100):
        worker.process(polled)
        worker.idle()
    worker.close()
    assert told(0) == told(1) == [True, True]
    worker.revoke(frozenset({0}))
    assert told(0) == [False, False]
    assert told(1) == [True, True]
    worker.revoke(frozenset({1}))
