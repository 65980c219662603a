"""A client generated from the description does the main way: the description is good enough."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import uvicorn

from fraudwatch.domain.access import Role
from tests.api.cases import a_case
from tests.api.conftest import Api
from tests.parts import skip_or_fail

_GENERATE = """
import sys
from pathlib import Path
from openapi_python_client import generate
from openapi_python_client.config import Config, ConfigFile, MetaType
config = Config.from_sources(
    ConfigFile(project_name_override="casework-client", package_name_override="casework_client",
               post_hooks=[]),
    MetaType.NONE, Path(sys.argv[1]), "utf-8", True, Path(sys.argv[2]))
for error in generate(config=config):
    print(type(error).__name__, error.header, error.detail)
"""


@pytest.fixture
def address(api: Api) -> Iterator[str]:
    """The application behind a real HTTP server."""
    server = uvicorn.Server(
        uvicorn.Config(api.app, host="127.0.0.1", port=0, log_config=None, lifespan="off")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The generated package. Generating it must give no warning."""
    try:
        importlib.import_module("openapi_python_client")
    except ImportError:
        skip_or_fail("client", "openapi-python-client is not installed: see docs/api.md")
    described = tmp_path / "openapi.json"
    described.write_text(json.dumps(api.client().get("/openapi.json").json()))
    package = tmp_path / "made" / "casework_client"
    package.parent.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _GENERATE, str(described), str(package)],
        capture_output=True,
        text=True,
        check=False,
    )
    told = done.stdout.splitlines()[1:]  # the first says where
    assert (done.returncode, told, done.stderr) == (0, [], "")
    monkeypatch.syspath_prepend(str(package.parent))
    yield importlib.import_module("casework_client")
    for name in [name for name in sys.modules if name.startswith("casework_client")]:
        del sys.modules[name]


def call(made: ModuleType, group: str, operation: str, **arguments: Any) -> Any:
    module = importlib.import_module(f"{made.__name__}.api.{group}.{operation}")
    return module.sync_detailed(**arguments)


def test_a_generated_client_lists_claims_and_decides(
    api: Api, address: str, client: ModuleType
) -> None:
    case_id = a_case(api)
    api.program(Role.ANALYST)
    signed_in = client.AuthenticatedClient(
        base_url=address, token=api.known["analyst-user"], raise_on_unexpected_status=True
    )
    models = importlib.import_module(f"{client.__name__}.models")
    listed = call(client, "cases", "list_cases", client=signed_in).parsed
    assert [case.id for case in listed.items] == [case_id]
    claimed = call(
        client,
        "cases",
        "claim_case",
        client=signed_in,
        case_id=case_id,
        body=models.ActIn(),  # the generator cannot leave out a body that may lack
        if_match=f'"{listed.items[0].version}"',
    ).parsed
    assert (claimed.status, claimed.claimed_by_me) == ("claimed", True)
    body = models.ResolveIn.from_dict({"resolution": "fraud", "reason_codes": ["stolen_card"]})
    stale = call(
        client,
        "cases",
        "resolve_case",
        client=signed_in,
        case_id=case_id,
        body=body,
        if_match='"1"',
    )
    assert (stale.status_code, stale.parsed.code) == (409, "conflict")
    resolved = call(
        client,
        "cases",
        "resolve_case",
        client=signed_in,
        case_id=case_id,
        body=body,
        if_match=f'"{claimed.version}"',
    ).parsed
    assert (resolved.status, resolved.action) == ("resolved", "decline")
    assert {event.kind for event in resolved.events} >= {"claimed", "resolved"}
    signed_in.get_httpx_client().close()
