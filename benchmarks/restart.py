"""What a worker does about accounts when it starts; a process of its own for `benchmarks.accounts`.

``python -m benchmarks.restart load|read DATABASE_URL``: `load` brings in and compiles what a worker
does, and loads the accounts of all partitions as they stand after the last row of the ledger;
`read` fetches the same snapshots and makes nothing of them.
"""

from __future__ import annotations

import sys

from sqlalchemy import make_url, text

from benchmarks.ledger_size import PARTITIONS, SPEC
from fraudwatch import bootstrap as _all_that_a_worker_imports  # noqa: F401
from fraudwatch.casework import db
from fraudwatch.memory import Memory
from fraudwatch.warm_up import warm_up

LOAD, READ = "load", "read"
TOPIC = "transactions"


def memory_of() -> Memory:
    """A worker's memory that puts up with any number of dead letters."""
    return Memory(TOPIC, share=1, consecutive=10**9)


def main(way: str, database: str) -> None:
    engine = db.open_engine(make_url(database), pool_size=1)
    with db.session_factory(engine).begin() as session:
        if way == LOAD:
            warm_up()
            memory_of().load(session, range(PARTITIONS), SPEC)
        else:
            rows = session.execute(
                text("SELECT data FROM snapshots"), execution_options={"yield_per": 8}
            )
            for _ in rows:
                pass
    engine.dispose()


if __name__ == "__main__":
    main(*sys.argv[1:])
