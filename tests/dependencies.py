"""Asks a service of security advisories about every package of the lock files, by pip-audit.

`python -m tests.dependencies` exits 1 when one of them has a known fault. Where the service cannot
be reached it says so and exits 0: a machine without network builds too.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import typer

ROOT = Path(__file__).parents[1]
LOCKS = (ROOT / "requirements.lock", ROOT / "requirements-dev.lock")
SERVICE = "https://api.osv.dev/v1/query"
_PROBE = {"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "0"}
_SECONDS = 10


def reachable(service: str) -> bool:
    """Whether the service answers as such; a proxy's page does not count."""
    request = Request(service, json.dumps(_PROBE).encode())
    try:
        with urlopen(request, timeout=_SECONDS) as answer:
            return isinstance(json.load(answer), dict)
    except (URLError, TimeoutError, ConnectionError, ValueError):
        return False


def audit(locks: tuple[Path, ...], service: str) -> int:
    """pip-audit's exit code, or 0 when the service is away. Prints what was found."""
    if not reachable(service):
        typer.echo(
            "\n*** NOT CHECKED: the service of security advisories cannot be reached.\n"
            "*** Known faults of dependencies are not seen. Run `make check` with a network.\n"
        )
        return 0
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes"]
    command += ["--progress-spinner", "off", "--vulnerability-service", "osv"]
    command += ["--osv-url", service]
    for lock in locks:
        command += ["--requirement", str(lock)]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(audit(LOCKS, SERVICE))
