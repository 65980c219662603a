"""Settings of TLS and SASL: what cannot work is refused with what to set; tokens are kept."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from kafka.errors import KafkaConnectionError, SaslAuthenticationFailedError

from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import load_settings
from streams.kafka_oauth import ClientCredentials, TokenProvider, make_token_provider
from streams.kafka_security import kafka_security
from tests.kafka_secure import CLIENT_ID, CLIENT_SECRET, Authority, TokenEndpoint, closing_server

PASSWORD = {"kafka_username": "u", "kafka_password": "secret-word"}
SCRAM = PASSWORD | {"kafka_sasl_mechanism": "SCRAM-SHA-512"}
OAUTH = {
    "kafka_security_protocol": "SASL_SSL",
    "kafka_sasl_mechanism": "OAUTHBEARER",
    "kafka_oauth_token_url": "https://issuer.example/token",
    "kafka_oauth_client_id": "id",
    "kafka_oauth_client_secret": "secret-word",
}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kafka_security_protocol": "TLS"}, "SECURITY_PROTOCOL must be one of PLAINTEXT, SSL"),
        ({"kafka_ca_file": "/ca"}, "CA_FILE has no effect with PLAINTEXT.* SSL or SASL_SSL"),
        (SCRAM, "SASL_MECHANISM has no effect with PLAINTEXT.* SASL_SSL or SASL_PLAINTEXT"),
        (PASSWORD, "USERNAME has no effect: set FRAUDWATCH_KAFKA_SASL_MECHANISM to PLAIN or SCRAM"),
        (OAUTH | {"kafka_username": "u"}, "KAFKA_USERNAME has no effect"),
        (
            SCRAM | {"kafka_security_protocol": "SASL_SSL", "kafka_oauth_scope": "s"},
            "OAUTH_SCOPE has no effect.*OAUTHBEARER",
        ),
        ({"kafka_security_protocol": "SASL_SSL"}, "SASL_SSL needs FRAUDWATCH_KAFKA_SASL_MECHANISM"),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "GSSAPI"},
            "SASL_MECHANISM: one of PLAIN",
        ),
        (
            {"kafka_security_protocol": "SASL_SSL", "kafka_sasl_mechanism": "PLAIN"},
            "PLAIN needs FRAUDWATCH_KAFKA_USERNAME and FRAUDWATCH_KAFKA_PASSWORD",
        ),
        (OAUTH | {"kafka_oauth_client_secret": ""}, "OAUTHBEARER needs .*CLIENT_SECRET"),
        (OAUTH | {"kafka_oauth_token_url": "http://issuer.example/token"}, "must be https://"),
        (OAUTH | {"kafka_oauth_token_url": "ftp://127.0.0.1/token"}, "must be https://"),
        ({"kafka_security_protocol": "SSL", "kafka_ca_file": "/no/file"}, "CA_FILE must be a file"),
        ({"kafka_security_protocol": "SSL", "kafka_cert_file": "/no/file"}, "CERT_FILE and"),
        ({"kafka_security_protocol": "SSL", "kafka_key_file": "/k"}, "needs FRAUDWATCH_KAFKA_CERT"),
        (
            SCRAM | {"kafka_security_protocol": "SASL_SSL", "kafka_password_file": "/no/file"},
            "set FRAUDWATCH_KAFKA_PASSWORD or FRAUDWATCH_KAFKA_PASSWORD_FILE, not both",
        ),
        (
            SCRAM
            | {
                "kafka_security_protocol": "SASL_SSL",
                "kafka_password": "",
                "kafka_password_file": "/no/file",
            },
            "PASSWORD_FILE cannot be read: No such file",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_to_set(given: dict[str, str], told: str) -> None:
    """Also what would have no effect: somebody believes to be protected by it."""
    with pytest.raises(ConfigurationError, match=told) as raised:
        kafka_security(load_settings(**given))
    assert "secret-word" not in str(raised.value)


def test_without_settings_nothing_is_encrypted_and_nobody_signs_in() -> None:
    assert kafka_security(load_settings()).options == {"security_protocol": "PLAINTEXT"}


def test_a_password_from_a_file_is_read_without_its_last_line_break(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" pass word \n")
    made = kafka_security(
        load_settings(
            kafka_security_protocol="sasl_ssl",
            kafka_sasl_mechanism="scram-sha-256",
            kafka_username="u",
            kafka_password_file=str(tmp_path / "password"),
        )
    )
    assert made.options["sasl_plain_password"] == " pass word "
    assert made.options["sasl_mechanism"] == "SCRAM-SHA-256"
    assert "pass word" not in repr(made)


def test_brokers_must_prove_who_they_are() -> None:
    """By a trusted certificate for the name asked for; there is no setting that turns it off."""
    context = kafka_security(load_settings(kafka_security_protocol="SSL")).options["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_key_that_needs_a_password_is_not_asked_for_at_the_terminal(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    file = authority.issue("client", password=b"key-word")
    given = {"kafka_security_protocol": "SSL", "kafka_cert_file": str(file)}
    assert kafka_security(load_settings(**given, kafka_key_password="key-word")).options
    for wrong in ({}, {"kafka_key_password": "other"}):
        with pytest.raises(ConfigurationError, match="FRAUDWATCH_KAFKA_KEY_PASSWORD"):
            kafka_security(load_settings(**given, **wrong))


class Now:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def endpoint() -> TokenEndpoint:
    return TokenEndpoint()


def provider(url: str, now: Now, secret: str = CLIENT_SECRET) -> TokenProvider:
    credentials = ClientCredentials(url, CLIENT_ID, secret)
    assert secret not in repr(credentials)
    return make_token_provider(credentials, ssl.create_default_context(), now)


def test_a_token_is_kept_for_four_fifths_of_its_life(endpoint: TokenEndpoint) -> None:
    now = Now()
    with endpoint.served() as url:
        tokens = provider(url, now)
        first = tokens.token()
        now.seconds = 0.79 * endpoint.life
        assert tokens.token() == first
        now.seconds = 0.81 * endpoint.life
        assert tokens.token() != first
        assert endpoint.asked == 2
        endpoint.life = 8
        now.seconds += 1000
        assert tokens.token() != tokens.token(), "none that is about to end is given out again"


def test_an_endpoint_that_is_away_is_tried_again_and_one_that_refuses_is_not(
    endpoint: TokenEndpoint,
) -> None:
    now = Now()
    with endpoint.served() as url:
        endpoint.broken = True
        tokens = provider(url, now)
        with pytest.raises(KafkaConnectionError, match="answers 503"):
            tokens.token()
        endpoint.broken = False
        assert tokens.token()
        with pytest.raises(SaslAuthenticationFailedError, match="answers 401"):
            provider(url, now, "wrong").token()
    with pytest.raises(KafkaConnectionError, match="refused"):
        provider(url, now).token()


class Elsewhere(BaseHTTPRequestHandler):
    """Sends callers elsewhere, or answers with what is no token."""

    asked: list[str] = []  # noqa: RUF012 - the one server of a test

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(307 if self.path == "/moved" else 200)
        self.send_header("Location", "/stolen")
        self.end_headers()
        self.wfile.write(b'{"token": 1}')

    def log_message(self, *_: object) -> None:
        """Keep the output of the tests clean."""


@pytest.fixture
def elsewhere() -> Iterator[str]:
    Elsewhere.asked.clear()
    with closing_server(ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize(("path", "told"), [("/moved", "answers 307"), ("/odd", "with a token")])
def test_the_secret_goes_nowhere_else(elsewhere: str, path: str, told: str) -> None:
    """A redirect is not followed: it would take the secret along."""
    with pytest.raises(SaslAuthenticationFailedError, match=told):
        provider(elsewhere + path, Now()).token()
    assert Elsewhere.asked == [path]
