"""An id token is believed only when all of it holds; what no honest provider would send is forged
here by one that has the keys."""

from __future__ import annotations

import base64
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from fraudwatch.casework.provider import (
    KEPT_SECONDS,
    KEYS_AGAIN_SECONDS,
    SILENT_SECONDS,
    SKEW_SECONDS,
    Checked,
    Provider,
    make_provider,
)
from fraudwatch.casework.provider_claims import Refused
from fraudwatch.errors import Unavailable
from fraudwatch.settings import load_settings

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
AT = int(NOW.timestamp())
NONCE = "the nonce that was sent"
KEY = RSAKey.generate_key(2048, {"kid": "first", "alg": "RS256", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "second", "alg": "RS256", "use": "sig"})


class Forger:
    """A provider on 127.0.0.1 that answers with whatever the test wants."""

    def __init__(self) -> None:
        forger = self
        self.asked: list[str] = []
        self.keys: list[dict[str, Any]] = [dict(KEY.as_dict(private=False))]
        self.description: dict[str, Any] = {}
        self.id_token = ""
        self.away = False

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                forger.asked.append(urlsplit(self.path).path)
                self._answer({"keys": forger.keys} if "keys" in self.path else forger.described)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                forger.posted = parse_qs(body.decode())
                self._answer({"id_token": forger.id_token, "access_token": "a", "token_type": "b"})

            def _answer(self, content: object) -> None:
                sent = json.dumps(content).encode()
                self.send_response(503 if forger.away else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            def log_message(self, *_: object) -> None:
                """Quiet: failures show in assertions."""

        self.posted: dict[str, list[str]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_address[1]}/realms/bank"

    @property
    def described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/auth?tenant=1",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "end_session_endpoint": f"{self.issuer}/out",
        } | self.description

    def claims(self, **changed: object) -> dict[str, Any]:
        claims = {
            "iss": self.issuer,
            "aud": "fraudwatch",
            "sub": "f:1",
            "nonce": NONCE,
            "iat": AT,
            "exp": AT + 300,
        } | changed
        return {name: value for name, value in claims.items() if value is not None}


@pytest.fixture
def forger() -> Iterator[Forger]:
    forger = Forger()
    thread = threading.Thread(target=forger.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield forger
    forger.server.shutdown()
    thread.join()
    forger.server.server_close()


@pytest.fixture
def moment() -> list[float]:
    """Seconds of the monotonic clock."""
    return [0.0]


@pytest.fixture
def provider(forger: Forger, moment: list[float]) -> Provider:
    made = make_provider(
        load_settings(
            public_url="https://fraud.example.org",
            oidc_issuer=forger.issuer,
            oidc_client_id="fraudwatch",
            oidc_client_secret="s",
            oidc_roles="analysts=analyst",
        ),
        lambda: moment[0],
    )
    assert made is not None
    return made


def signed(claims: dict[str, Any], key: RSAKey = KEY, **header: str) -> str:
    return jwt.encode({"alg": "RS256", "kid": str(key.kid)} | header, claims, key)


def redeem(provider: Provider) -> Checked | Refused:
    return provider.redeem("code", nonce=NONCE, verifier="v" * 43, now=NOW)


def test_a_token_that_holds_is_believed_and_the_code_is_redeemed_with_its_verifier(
    forger: Forger, provider: Provider
) -> None:
    forger.id_token = signed(forger.claims(groups=["analysts"]))
    found = redeem(provider)
    assert isinstance(found, Checked)
    assert found.claims["groups"] == ["analysts"]
    assert forger.posted["code_verifier"] == ["v" * 43]
    assert forger.posted["redirect_uri"] == ["https://fraud.example.org/signin/provider/callback"]


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "https://id.example.org"},
        {"iss": None},
        {"aud": "another client"},
        {"aud": ["another client"]},
        {"aud": ["fraudwatch", "another client"]},
        {"aud": None},
        {"azp": "another client"},
        {"sub": None},
        {"nonce": "another"},
        {"nonce": None},
        {"exp": None},
        {"exp": AT - SKEW_SECONDS - 1},
        {"iat": AT + SKEW_SECONDS + 1},
        {"nbf": AT + SKEW_SECONDS + 1},
        {"exp": "tomorrow"},
    ],
)
def test_a_claim_that_does_not_hold_lets_nobody_in(
    forger: Forger, provider: Provider, changed: dict[str, object]
) -> None:
    forger.id_token = signed(forger.claims(**changed))
    found = redeem(provider)
    assert isinstance(found, Refused)
    assert found.reason == "token"


@pytest.mark.parametrize("changed", [{"exp": AT - SKEW_SECONDS + 1}, {"iat": AT + SKEW_SECONDS}])
def test_clocks_may_differ_a_little(
    forger: Forger, provider: Provider, changed: dict[str, object]
) -> None:
    forger.id_token = signed(forger.claims(**changed))
    assert isinstance(redeem(provider), Checked)


def unsigned(claims: dict[str, Any]) -> str:
    """`alg: none`, with a signature of nothing."""
    _head, body, _ = signed(claims).split(".")
    return f"eyJhbGciOiJub25lIn0.{body}."


def by_shared_secret(claims: dict[str, Any]) -> str:
    """HS256 with the public key as the secret: it verifies where the algorithm is not bound."""
    _, body, _ = signed(claims).split(".")
    signing = f"{part(json.dumps({'alg': 'HS256', 'kid': 'first'}).encode())}.{body}"
    secret = KEY.as_pem(private=False)
    return f"{signing}.{part(hmac.digest(secret, signing.encode(), 'sha256'))}"


def part(content: bytes) -> str:
    """A part of a token."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        by_shared_secret,
        lambda claims: signed(claims, OTHER, kid="first"),
        lambda claims: signed(claims)[:-6] + "AAAAAA",
        lambda claims: "no token",
        lambda claims: "",
    ],
    ids=["none", "shared-secret", "another-key", "damaged", "text", "empty"],
)
def test_a_signature_by_anything_but_the_providers_key_lets_nobody_in(
    forger: Forger, provider: Provider, forge: Callable[[dict[str, Any]], str]
) -> None:
    forger.id_token = forge(forger.claims())
    assert isinstance(redeem(provider), Refused)


def test_keys_are_read_anew_for_one_that_is_not_known_at_most_once_a_minute(
    forger: Forger, provider: Provider, moment: list[float]
) -> None:
    """Else each forged token would become a request to the provider."""
    forger.id_token = signed(forger.claims())
    assert isinstance(redeem(provider), Checked)
    keys = [path for path in forger.asked if path.endswith("keys")]
    assert len(keys) == 1
    forger.id_token = signed(forger.claims(), OTHER)
    forger.keys = [dict(OTHER.as_dict(private=False)), {"kty": "new kind", "kid": "x"}]
    for moment[0], expected, reads in (
        (KEYS_AGAIN_SECONDS - 1, Refused, 1),
        (KEYS_AGAIN_SECONDS, Checked, 2),
        (KEYS_AGAIN_SECONDS + 1, Checked, 2),
    ):
        assert isinstance(redeem(provider), expected)
        assert len([path for path in forger.asked if path.endswith("keys")]) == reads
    forger.id_token = signed(forger.claims())
    moment[0] = 2 * KEYS_AGAIN_SECONDS
    assert isinstance(redeem(provider), Refused), "a key that was withdrawn is good no more"


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "https://id.example.org"},
        {"token_endpoint": "http://id.example.org/token"},
        {"end_session_endpoint": "http://id.example.org/out"},
        {"jwks_uri": None},
    ],
)
def test_a_description_of_another_or_without_tls_is_not_used(
    forger: Forger, provider: Provider, changed: dict[str, object]
) -> None:
    forger.description = changed
    with pytest.raises(Unavailable):
        provider.require()


def test_what_is_known_stays_good_while_the_provider_is_silent(
    forger: Forger, provider: Provider, moment: list[float]
) -> None:
    forger.away = True
    for moment[0], asked in ((0.0, 1), (SILENT_SECONDS - 1, 1), (SILENT_SECONDS, 2)):
        with pytest.raises(Unavailable):
            provider.require()
        assert len(forger.asked) == asked
    forger.away = False
    moment[0] += SILENT_SECONDS
    provider.require()
    forger.away = True
    moment[0] += KEPT_SECONDS
    provider.require()
    assert provider.sign_out_url("t") == (
        f"{forger.issuer}/out?id_token_hint=t&client_id=fraudwatch"
        "&post_logout_redirect_uri=https%3A%2F%2Ffraud.example.org%2Fsignin%3Fbye%3Dtrue"
    )
    with pytest.raises(Unavailable):
        redeem(provider)


def test_the_address_to_sign_in_at_holds_no_secret(provider: Provider) -> None:
    address = urlsplit(provider.sign_in_url(state="st", nonce=NONCE, verifier="v" * 43))
    query = {name: values[0] for name, values in parse_qs(address.query).items()}
    challenge = query.pop("code_challenge")
    assert challenge
    assert "v" * 43 not in address.query
    assert query == {
        "tenant": "1",
        "response_type": "code",
        "client_id": "fraudwatch",
        "redirect_uri": "https://fraud.example.org/signin/provider/callback",
        "scope": "openid profile",
        "state": "st",
        "nonce": NONCE,
        "code_challenge_method": "S256",
    }
