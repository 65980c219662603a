"""The embedded PostgreSQL stops with its last user, however the others ended."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

_JOIN = """
import sys
from pathlib import Path
from fraudwatch.casework.embedded import start_embedded
start_embedded(Path(sys.argv[1]))
print("joined", flush=True)
if sys.argv[2] == "stay":
    sys.stdin.read()
"""


def _join(folder: str, how: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _JOIN, folder, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_server_stops_with_its_last_user_after_another_was_killed() -> None:
    """A killed process stays on the package's list of users: the server would run for ever."""
    with tempfile.TemporaryDirectory(prefix="fraudwatch-test-") as folder:
        Path(folder).chmod(0o755)
        running = Path(folder) / "postgresql" / "postmaster.pid"
        with _join(folder, "stay") as killed:
            assert killed.stdout is not None
            assert killed.stdout.readline() == b"joined\n"
            killed.kill()
        assert running.exists(), "nobody was there to stop it"
        with _join(folder, "leave") as last:
            assert last.communicate()[0] == b"joined\n"
        assert not running.exists()
