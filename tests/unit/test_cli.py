"""The command line: quick help, one clear line for an error, exit codes. Real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from fraudwatch import cli
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import Settings, unknown_variables

_HEAVY = ("pyod", "numba", "lightgbm", "sklearn", "fastapi", "pandas", "sqlalchemy", "kafka")


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fraudwatch.cli", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )


def test_help_imports_nothing_that_is_slow() -> None:
    """`fraudwatch --help` must answer at once: a command's parts are imported when it runs."""
    code = (
        "import sys\n"
        "from fraudwatch.cli import main\n"
        "sys.argv = ['fraudwatch', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('IMPORTED', *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout
    shown, imported = done.split("IMPORTED")
    assert all(f" {name} " in shown for name in cli.COMMANDS)
    assert sorted(set(_HEAVY) & set(imported.split())) == []


def test_version() -> None:
    assert _run("--version").stdout.startswith("fraudwatch 0.")


def test_wrong_usage_exits_2_and_suggests() -> None:
    done = _run("topic")
    assert done.returncode == 2
    assert "Did you mean 'topics'" in done.stderr


def test_error_of_ours_is_one_line_without_traceback(tmp_path: Path) -> None:
    """Whoever operates it gets what is wrong and what to do, not our source code."""
    done = _run("users", "list", FRAUDWATCH_DATABASE_URL="postgresql://u:hush@127.0.0.1:1/x")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("fraudwatch: no answer from the database at ")
    assert len(done.stderr.splitlines()) == 1
    assert "FRAUDWATCH_DATABASE_URL" in done.stderr
    assert "hush" not in done.stderr, "passwords stay out of messages"


def test_wrong_setting_is_named() -> None:
    done = _run("topics", FRAUDWATCH_PARTITIONS="none", FRAUDWATCH_STREAM_URL="ftp://x")
    assert done.returncode == 1
    assert "FRAUDWATCH_PARTITIONS" in done.stderr


def test_mistyped_setting_is_refused_with_the_name_that_was_meant() -> None:
    """It was ignored: whoever wrote LEDGER_DAY kept every day, and did not know."""
    done = _run("topics", FRAUDWATCH_LEDGER_DAY="30", FRAUDWATCH_STREAM_URL="ftp://x")
    assert done.returncode == 1
    assert "FRAUDWATCH_LEDGER_DAY is no setting, did you mean FRAUDWATCH_LEDGER_DAYS?" in (
        done.stderr
    )
    assert len(done.stderr.splitlines()) == 1


def test_every_setting_is_known_in_upper_and_lower_case() -> None:
    names = [f"FRAUDWATCH_{name.upper()}" for name in Settings.model_fields]
    assert unknown_variables([*names, *map(str.lower, names), "PATH", "FRAUDWATCHED"]) == []
    assert unknown_variables(["fraudwatch_zebra"]) == ["fraudwatch_zebra is no setting: unset it"]


def test_interrupt_exits_130_without_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 130


def test_missing_openmp_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """LightGBM's wheel leans on a system library that slim systems lack."""

    def import_fails(_: str) -> None:
        raise OSError("libgomp.so.1: cannot open shared object file: No such file or directory")

    monkeypatch.setattr("importlib.import_module", import_fails)
    with pytest.raises(ConfigurationError, match="apt install libgomp1"):
        cli.load(cli.COMMANDS["worker"])


@pytest.mark.parametrize("command", ["worker", "api"])
def test_nothing_starts_without_a_secret(command: str) -> None:
    done = _run(command, FRAUDWATCH_SECRET_KEY="")
    assert done.returncode == 1
    assert "FRAUDWATCH_SECRET_KEY must have 32 characters" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["worker", "api"])
def test_a_wrong_stream_is_told_before_anything_is_asked_of_the_database(command: str) -> None:
    """With both wrong, only the database was told, after its time-out; then, next, the stream."""
    done = _run(
        command,
        FRAUDWATCH_SECRET_KEY="s" * 32,
        FRAUDWATCH_STREAM_URL="kafak://127.0.0.1:9092",
        FRAUDWATCH_DATABASE_URL="postgresql://u@127.0.0.1:1/x",
    )
    assert done.returncode == 1
    assert done.stderr == (
        "fraudwatch: FRAUDWATCH_STREAM_URL must be kafka://host:port[,host:port] or "
        "file:///folder\n"
    )


@pytest.mark.parametrize("name", ["FRAUDWATCH_DATABASE_URL", "FRAUDWATCH_STREAM_URL"])
def test_demo_keeps_out_of_a_real_installation(name: str, tmp_path: Path) -> None:
    """Otherwise a shell with production settings would get demo people and demo payments."""
    place = {"FRAUDWATCH_DATA_DIR": str(tmp_path / "data")}
    done = _run("demo", **place, **{name: "postgresql://127.0.0.1:1/x"})
    assert done.returncode == 1
    assert f"{name} is set" in done.stderr
    assert not (tmp_path / "data").exists()


def test_every_command_loads() -> None:
    for command in cli.COMMANDS.values():
        assert isinstance(cli.load(command), typer.core.TyperCommand | typer.core.TyperGroup)
