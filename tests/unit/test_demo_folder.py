"""The demo's data folder refuses a second run, a full disk and a busy port with clear words."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fraudwatch.demo import folder
from fraudwatch.errors import ConfigurationError


def test_second_run_on_the_folder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    with folder.locked(tmp_path):
        holder = f"process {os.getpid()}"
        with pytest.raises(ConfigurationError, match=holder), folder.locked(tmp_path):
            pass
    with folder.locked(tmp_path):
        pass  # free again


_HOLD_AND_DIE = """
import os, subprocess, sys
from pathlib import Path
from fraudwatch.demo import folder
with folder.locked(Path(sys.argv[1])) as lock:
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(1.5)"],
        stdout=subprocess.DEVNULL,
        pass_fds=(lock,),
    )
    print(child.pid, flush=True)
    os.kill(os.getpid(), 9)
"""


def test_run_after_a_kill_waits_for_the_children_of_the_killed_one(tmp_path: Path) -> None:
    """They still write to the folder until they notice that their parent is gone."""
    killed = subprocess.run(
        [sys.executable, "-c", _HOLD_AND_DIE, str(tmp_path)],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    told: list[str] = []
    child = int(killed.stdout.split()[0])
    with folder.locked(tmp_path, tell=told.append):
        assert len(told) == 1
        assert not _running(child)


def test_run_after_a_kill_gives_up_when_a_child_stays(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", _HOLD_AND_DIE, str(tmp_path)], check=False, stdout=subprocess.DEVNULL
    )
    refused = pytest.raises(ConfigurationError, match="another fraudwatch demo")
    with refused, folder.locked(tmp_path, wait=0.2):
        pass
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with folder.locked(tmp_path, wait=0):
                return
        except ConfigurationError:
            time.sleep(0.1)
    pytest.fail("the folder stayed locked")


def _running(pid: int) -> bool:
    """Whether the process runs; a zombie, which waits to be collected by init, does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(ConfigurationError, match="FRAUDWATCH_DATA_DIR")
    with refused, folder.locked(tmp_path / "file"):
        pass


def test_busy_port_is_named_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}.*FRAUDWATCH_PORT"):
            folder.require_free_port("127.0.0.1", port)
    folder.require_free_port("127.0.0.1", port)


def test_full_disk_is_told_before_anything_starts(tmp_path: Path) -> None:
    folder.require_room(tmp_path, needed=1)
    with pytest.raises(ConfigurationError, match="nothing was lost"):
        folder.require_room(tmp_path, needed=10**18)


def test_secret_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    key = folder.secret_key(tmp_path)
    assert len(key) >= 32
    assert folder.secret_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / "secret-key").stat().st_mode) == 0o600
