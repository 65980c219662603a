"""What docker-compose.yml runs, run by hand: real Kafka and PostgreSQL, an API, two workers."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import URL, create_engine, text

from tests.e2e.running import Commands, status, until
from tests.kafka_broker import Broker, free_ports

ROOT = Path(__file__).parents[2]
ROWS = 600


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fraudwatch-test-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def services() -> dict[str, Any]:
    compose: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return {k: s for k, s in compose["services"].items() if s.get("image") == "fraudwatch"}


def _given(service: dict[str, Any], **here: str) -> dict[str, str]:
    """The service's own environment, with the addresses that are valid here."""
    environment = {name: str(value) for name, value in service["environment"].items()}
    assert set(here) <= set(environment) | {"FRAUDWATCH_DATA_DIR"}
    return environment | here


@pytest.mark.kafka
@pytest.mark.timeout(400)
def test_commands_of_compose_decide_every_message_once(
    folder: Path, services: dict[str, Any], kafka_broker: Broker, database_server: URL
) -> None:
    """Topics, migrations, API, two workers; transactions published; then the proof."""
    database = _empty_database(database_server)
    api_port, *metrics_ports = free_ports(3)
    shared = {
        "FRAUDWATCH_DATABASE_URL": database,
        "FRAUDWATCH_STREAM_URL": f"kafka://{kafka_broker.bootstrap}",
        "FRAUDWATCH_SECRET_KEY": "k" * 32,
        "FRAUDWATCH_DATA_DIR": str(folder),
    }
    once = Commands(folder, _given(services["migrate"], **shared))
    once.run(*services["migrate"]["command"][1:])
    once.run(*services["topics"]["command"][1:])

    with ExitStack() as running:
        api = Commands(
            folder,
            _given(
                services["api"],
                **shared,
                FRAUDWATCH_HOST="127.0.0.1",
                FRAUDWATCH_PORT=str(api_port),
            ),
        )
        running.enter_context(api.started("api", *services["api"]["command"][1:]))
        workers = [name for name in services if name.startswith("worker")]
        for name, port in zip(workers, metrics_ports, strict=True):
            worker = Commands(
                folder,
                _given(
                    services[name],
                    **shared,
                    FRAUDWATCH_METRICS_HOST="127.0.0.1",
                    FRAUDWATCH_METRICS_PORT=str(port),
                ),
            )
            running.enter_context(worker.started(name, *services[name]["command"][1:]))
        until(lambda: status(f"http://127.0.0.1:{api_port}/ready") == 200, "/ready")
        for port in metrics_ports:
            url = f"http://127.0.0.1:{port}/metrics"
            until(lambda url=url: status(url) == 200, "a worker's metrics")  # type: ignore[misc]

        data, mapping = _payments(folder)
        sent = once.run("publish", str(data), "--mapping", str(mapping))
        assert f"{ROWS} of {ROWS} rows published" in sent

        def all_decided() -> bool:
            proof = json.loads(once.run("verify", "--json"))
            inputs = [p for p in proof["partitions"] if p["topic"] == "transactions"]
            rows: int = sum(p["rows"] for p in inputs)
            return rows == ROWS

        until(all_decided, "the last decision")
        assert status(f"http://127.0.0.1:{api_port}/v1/cases") == 401, "closed by default"

    proof = json.loads(once.run("verify", "--json"))
    assert proof["ok"]
    assert sum(p["unpublished"] for p in proof["partitions"]) == 0
    assert len({p["partition"] for p in proof["partitions"] if p["rows"]}) > 1


def _empty_database(server: URL) -> str:
    name = f"compose_{uuid.uuid4().hex}"
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    plain = server.set(drivername="postgresql", database=name)
    return plain.render_as_string(hide_password=False)


def _payments(folder: Path) -> tuple[Path, Path]:
    """A file in an institution's own columns, and its mapping."""
    rows = [
        f"p{n},customer-{n % 40},2026-01-{1 + n % 28:02d}T{n % 24:02d}:00:00Z,{5 + n % 90}.50"
        for n in range(ROWS)
    ]
    data = folder / "payments.csv"
    data.write_text("\n".join(["Id,Card,When,Sum", *rows]))
    mapping = folder / "payments.toml"
    mapping.write_text(
        '[fields]\ntransaction_id = "Id"\naccount_id = "Card"\nevent_time = "When"\n'
        'amount = "Sum"\n[constants]\ncurrency = "EUR"\n[units]\ntime = "iso"\n'
    )
    return data, mapping
