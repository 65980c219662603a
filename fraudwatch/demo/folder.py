"""The demo's data folder: one run at a time, room on the disk, a secret key of its own."""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fraudwatch.errors import ConfigurationError

NEEDED_BYTES = 1_000_000_000
_LOCK = "demo.lock"
_KILLED_RUN_SECONDS = 30.0


@contextmanager
def locked(
    folder: Path,
    *,
    wait: float = _KILLED_RUN_SECONDS,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[int]:
    """Hold the data folder; yields the lock's descriptor, to be passed on to child processes.

    Children share the lock. So after the supervisor was killed, the folder stays locked until its
    children, which notice, have ended too; the next run waits for that, at most `wait` seconds.
    Raises `ConfigurationError` while another run lives.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise ConfigurationError(
            f"cannot write to {folder}: {error.strerror}; choose another folder with "
            "FRAUDWATCH_DATA_DIR"
        ) from error
    try:
        _take(lock, folder, wait, tell)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        yield lock
    finally:
        os.close(lock)


def _take(lock: int, folder: Path, wait: float, tell: Callable[[str], None]) -> None:
    deadline = time.monotonic() + wait
    told = False
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(lock, 20, 0).decode().strip()
            killed = holder.isdecimal() and not _alive(int(holder))
            if not killed or time.monotonic() > deadline:
                raise ConfigurationError(
                    f"another fraudwatch demo (process {holder or 'unknown'}) uses {folder}: stop "
                    "it, or give this one a folder and a port of its own (FRAUDWATCH_DATA_DIR, "
                    "FRAUDWATCH_PORT)"
                ) from None
            if not told:
                tell("the last run was killed; waiting for its parts to end")
                told = True
            time.sleep(0.1)
        else:
            return


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def require_free_port(host: str, port: int) -> None:
    """Raise `ConfigurationError` when something else listens there, before anything is started."""
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another port with "
            "FRAUDWATCH_PORT or `fraudwatch demo --port`"
        ) from error


def require_room(folder: Path, needed: int = NEEDED_BYTES) -> None:
    """Raise `ConfigurationError` when the disk has less room than a demo soon fills."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ConfigurationError(
            f"only {free / 1e6:,.0f} MB are free where {folder} is, the demo needs "
            f"{needed / 1e6:,.0f}: free some space, or choose another folder with "
            "FRAUDWATCH_DATA_DIR; nothing was lost"
        )


def secret_key(folder: Path) -> str:
    """The folder's own key, made once; only the owner can read it."""
    path = folder / "secret-key"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_hex(32))
        file.flush()
        os.fsync(file.fileno())
    return path.read_text()
