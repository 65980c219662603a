"""What trials share: servers, a proxy, a nursery and a trained model."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session, sessionmaker

from fraudwatch.casework import db, models_registry, profile_store
from fraudwatch.clock import SystemClock
from tests.chaos import people
from tests.chaos.nursery import Nursery
from tests.chaos.postgres import Postgres
from tests.chaos.proxy import Proxy
from tests.chaos.traffic import MODEL, train
from tests.kafka_broker import Broker

TEMPLATE = "template_chaos"


class Site:
    """Servers of a run. A broker only where one is asked for. Use as a context manager."""

    def __init__(self, *, kafka: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fw-chaos-", dir="/tmp"))
        self.folder.chmod(0o755)
        self.broker: Broker | None = None
        self._nursery: Nursery | None = None
        self._engines: dict[str, Engine] = {}
        self.postgres = Postgres(self.folder / "pg")
        self.proxy = Proxy(self.postgres.socket)
        try:
            if kafka:
                self.broker = Broker(self.folder / "kafka")
                self.broker.start()
            self.postgres.start()
            self.trained = train(self.folder / "data" / "models")
            self._make_template()
            self._nursery = Nursery(self.folder / "nursery.log")
        except BaseException:
            self.close()
            raise

    @property
    def nursery(self) -> Nursery:
        assert self._nursery is not None
        return self._nursery

    def _make_template(self) -> None:
        self._administer(f"CREATE DATABASE {TEMPLATE}")
        engine = db.open_engine(self.postgres.url(TEMPLATE), pool_size=1)
        db.migrate(engine)
        now = SystemClock().now()
        with db.session_factory(engine).begin() as session:
            row = models_registry.register(session, MODEL, self.trained.sha256, {}, now)
            models_registry.promote(session, row.id, "chaos", now)
            profile_store.save(session, self.trained.profiles)
            people.hire(session)
            # Lower than a bank's: many alerts, so that cases are written in most batches.
            session.execute(text("UPDATE policies SET review_from = 0.9, high_risk_from = 0.97"))
        engine.dispose()

    def _administer(self, statement: str) -> None:
        engine = create_engine(self.postgres.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def new_database(self) -> str:
        """A database with a schema, a policy, a champion and profiles; its name."""
        name = f"trial_{uuid.uuid4().hex[:10]}"
        self._administer(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return name

    def drop_database(self, database: str) -> None:
        if engine := self._engines.pop(database, None):
            engine.dispose()
        self._administer(f"DROP DATABASE {database} WITH (FORCE)")

    def sessions(self, database: str) -> sessionmaker[Session]:
        """Straight to the server, past the proxy."""
        if database not in self._engines:
            self._engines[database] = db.open_engine(self.postgres.url(database), pool_size=2)
        return db.session_factory(self._engines[database])

    def close(self) -> None:
        if self._nursery is not None:
            self._nursery.close()
        for engine in self._engines.values():
            engine.dispose()
        self.proxy.close()
        self.postgres.close()
        if self.broker is not None:
            self.broker.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
