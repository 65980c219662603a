"""Claims of a provider become a person with a role, or nobody: nothing is guessed in between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.casework.provider import make_provider
from fraudwatch.casework.provider_claims import (
    Person,
    Refused,
    Rules,
    claim,
    read_person,
    read_roles,
    role_of,
    texts,
)
from fraudwatch.domain.access import SERVICES, Role
from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import Settings, load_settings

ROLES = (("leads", Role.SENIOR), ("analysts", Role.ANALYST))
RULES = Rules(name="preferred_username", role="groups", roles=ROLES)
CLAIMS: dict[str, object] = {
    "sub": "f:1",
    "preferred_username": "ada",
    "name": "Ada Example",
    "groups": ["analysts", "canteen"],
}
SET: dict[str, object] = {
    "secret_key": "0123456789abcdef" * 4,
    "public_url": "https://fraud.example.org/",
    "oidc_issuer": "https://id.example.org/realms/bank",
    "oidc_client_id": "fraudwatch",
    "oidc_client_secret": "secret",
    "oidc_roles": "analysts=analyst",
}


def test_a_person_is_read_from_their_claims() -> None:
    assert read_person(CLAIMS, RULES) == Person(
        subject="f:1",
        name="ada",
        display_name="Ada Example",
        role=Role.ANALYST,
        scoped=False,
        units=None,
    )


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"sub": None}, "subject"),
        ({"sub": 7}, "subject"),
        ({"preferred_username": ""}, "name"),
        ({"preferred_username": ["ada"]}, "name"),
        ({"groups": []}, "role"),
        ({"groups": None}, "role"),
        ({"groups": ["Analysts"]}, "role"),
        ({"groups": "analysts,leads"}, "role"),
        ({"groups": [["analysts"]]}, "role"),
        ({"groups": {"analysts": True}}, "role"),
    ],
)
def test_what_is_missing_or_of_another_shape_lets_nobody_in(
    claims: dict[str, object], reason: str
) -> None:
    found = read_person(CLAIMS | claims, RULES)
    assert isinstance(found, Refused)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("given_units", "units"),
    [(["north", "south"], ("north", "south")), ("north", ("north",)), (["*", "north"], None)],
)
def test_units_come_from_their_claim_and_all_of_them_must_be_said(
    given_units: object, units: tuple[str, ...] | None
) -> None:
    """No claim must never mean all units."""
    rules = Rules("preferred_username", "groups", ROLES, units="work.units")
    found = read_person(CLAIMS | {"work": {"units": given_units}}, rules)
    assert isinstance(found, Person)
    assert (found.scoped, found.units) == (True, units)
    none: list[object] = [None, [], {"units": []}, {"units": [""]}, {"units": [7]}]
    for missing in none:
        refused = read_person(CLAIMS | {"work": missing}, rules)
        assert isinstance(refused, Refused)
        assert refused.reason == "units"


def test_dots_lead_into_a_claim_unless_it_is_named_with_them() -> None:
    claims: dict[str, object] = {
        "realm_access": {"roles": ["a"]},
        "https://example.org/roles": ["b"],
        "flat": "c",
    }
    assert claim(claims, "realm_access.roles") == ["a"]
    assert claim(claims, "https://example.org/roles") == ["b"]
    for nowhere in ("realm_access.none", "flat.roles", "realm_access.roles.0", "", "."):
        assert claim(claims, nowhere) is None


def test_a_name_to_show_is_made_harmless_or_left_out() -> None:
    for shown, expected in (("  Ada\n\u202eX ", "AdaX"), ("\n", "ada"), (7, "ada"), ("x" * 300, 0)):
        found = read_person(CLAIMS | {"name": shown}, RULES)
        assert isinstance(found, Person)
        assert found.display_name == (expected or "x" * 200)


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "preferred_username", "groups", "name", "work"]), _values
    )
)
def test_whatever_the_claims_are_only_a_named_group_gives_a_role(claims: dict[str, object]) -> None:
    found = read_person(claims, Rules("preferred_username", "groups", ROLES, units="work.units"))
    groups = texts(claims.get("groups"))
    if isinstance(found, Person):
        assert found.role is role_of(groups, ROLES)
        assert found.units is None or found.units
    elif found.reason == "role":
        assert not groups & {"leads", "analysts"}


def test_the_first_group_of_the_mapping_counts() -> None:
    assert role_of(frozenset({"analysts", "leads"}), ROLES) is Role.SENIOR
    assert role_of(frozenset(), ROLES) is None


def test_the_mapping_is_read_in_order_and_a_group_may_hold_an_equals_sign() -> None:
    assert read_roles(" /fraud/leads = senior , cn=analysts=analyst,") == (
        ("/fraud/leads", Role.SENIOR),
        ("cn=analysts", Role.ANALYST),
    )


@pytest.mark.parametrize(
    "mapping",
    ["", " , ", "leads", "leads=", "=senior", "leads=boss", "a=senior,a=analyst"]
    + [f"programs={role.value}" for role in sorted(SERVICES)],
)
def test_a_mapping_that_cannot_work_stops_the_start(mapping: str) -> None:
    """Also a role of programs: a person must not come in as one."""
    with pytest.raises(ConfigurationError, match="FRAUDWATCH_OIDC_ROLES"):
        read_roles(mapping)


def with_settings(**changed: object) -> Settings:
    return load_settings(**(SET | changed))


def clock() -> float:
    return 0.0


def test_without_an_issuer_there_is_no_provider() -> None:
    assert make_provider(load_settings(), clock) is None


def test_a_provider_is_made_without_being_asked() -> None:
    """The API must start while the provider is away."""
    made = make_provider(with_settings(), clock)
    assert made is not None
    assert made.registration.redirect_uri == "https://fraud.example.org/signin/provider/callback"
    assert "secret" not in repr(made.registration).replace("client_secret", "")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"oidc_issuer": ""}, "OIDC_ISSUER"),
        ({"oidc_issuer": "http://id.example.org"}, "OIDC_ISSUER"),
        ({"public_url": ""}, "PUBLIC_URL"),
        ({"public_url": "http://fraud.example.org"}, "PUBLIC_URL"),
        ({"oidc_client_id": ""}, "OIDC_CLIENT_ID"),
        ({"oidc_client_secret": ""}, "OIDC_CLIENT_SECRET"),
        ({"oidc_client_secret_file": "/nowhere"}, "OIDC_CLIENT_SECRET_FILE"),
        ({"oidc_client_secret": "", "oidc_client_secret_file": "/nowhere"}, "cannot be read"),
        ({"oidc_ca_file": "/nowhere"}, "OIDC_CA_FILE"),
        ({"oidc_scopes": "profile"}, "OIDC_SCOPES"),
        ({"oidc_roles": ""}, "OIDC_ROLES"),
    ],
)
def test_settings_that_cannot_work_stop_the_start(changed: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        make_provider(with_settings(**changed), clock)
