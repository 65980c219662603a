"""An auditor reads all of it and changes nothing, whatever route they try."""

from __future__ import annotations

import re

from fastapi.routing import iter_route_contexts
from sqlalchemy import text

from fraudwatch.casework import traces
from fraudwatch.domain.access import ROLE_PERMISSIONS, Permission, Role
from tests.api.conftest import Api
from tests.api.seed import NOW

# What tells of requests: who asked, when a session was last used, what was seen.
TOLD = {"audit_log", "audit_pending", "looks", "looks_pending", "api_tokens", "sessions", "users"}
UNSAFE = ("POST", "PUT", "PATCH", "DELETE")


def contents(api: Api) -> dict[str, str | None]:
    """A fingerprint of the rows of every table."""
    with api.services.engine.connect() as connection:
        names = connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition"
                " AND relnamespace = 'public'::regnamespace"
            )
        ).all()
        query = "SELECT md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM {} t"
        return {
            name: connection.scalar(text(query.format(f'"{name}"')))
            for name in names
            if name not in TOLD
        }


def test_auditors_hold_every_right_to_read_and_none_to_change() -> None:
    """A right to read that is added must reach them; one to change must not."""
    reads = {one for one in Permission if one.value.endswith(":read")}
    wanted = reads - {Permission.PERSONAL_READ} | {Permission.PERSONAL_UNMASK}
    assert ROLE_PERMISSIONS[Role.AUDITOR] == wanted


def test_no_route_lets_an_auditor_change_anything(api: Api) -> None:
    with api.seed() as seed:
        seed.case("acc-1")
        seed.user("otto", Role.AUDITOR)
        traces.gather(seed.session, NOW)  # what the first look at a case would do
    program = api.program(Role.AUDITOR)
    browser, csrf = api.browser("otto")
    before = contents(api)
    assert len(before) > 20
    tried = 0
    for route in iter_route_contexts(api.app.routes):
        if not route.path or route.path in {"/v1/logout", "/signout"}:
            continue
        path = re.sub(r"\{[a-z_]+_id(:path)?\}", "1", route.path)
        path = re.sub(r"\{topic\}", "transactions", path)
        path = re.sub(r"\{[^}]+\}", "1", path)
        for method in route.methods or ():
            if method in UNSAFE:
                headers = {"x-csrf-token": csrf, "if-match": '"1"'}
                for client in (program, browser):
                    answer = client.request(method, path, json={}, headers=headers)
                    assert answer.status_code < 500, (method, path, answer.text)
                tried += 1
    assert tried > 20
    assert contents(api) == before
