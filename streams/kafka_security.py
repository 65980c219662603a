"""How clients reach the brokers: encryption and sign-in, from settings to client options.

The one place that knows both sides. Every client of Kafka (source, publisher, topics) takes a
`Security` and gives its `options` to kafka-python.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from fraudwatch.errors import ConfigurationError
from fraudwatch.settings import Settings
from streams.kafka_oauth import ClientCredentials, make_token_provider

PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL = PROTOCOLS = (
    "PLAINTEXT",
    "SSL",
    "SASL_PLAINTEXT",
    "SASL_SSL",
)
OAUTHBEARER = "OAUTHBEARER"
PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
MECHANISMS = (*PASSWORD_MECHANISMS, OAUTHBEARER)


@dataclass(frozen=True, slots=True)
class Security:
    """How to speak to the brokers. `options` hold secrets, so they are never shown.

    Made by `kafka_security`; without arguments: no encryption, no sign-in.
    """

    protocol: str = PLAINTEXT
    mechanism: str = ""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)


NO_SECURITY = Security()


def kafka_security(settings: Settings) -> Security:
    """What `FRAUDWATCH_KAFKA_…` says. Raises `ConfigurationError`, which names what to set, for a
    combination that cannot work, a setting that would have no effect, and a file that is not what
    it should be.
    """
    protocol = settings.kafka_security_protocol.upper()
    if protocol not in PROTOCOLS:
        raise ConfigurationError(
            f"FRAUDWATCH_KAFKA_SECURITY_PROTOCOL must be one of {', '.join(PROTOCOLS)}"
        )
    encrypted, signs_in = protocol in (SSL, SASL_SSL), protocol in (SASL_PLAINTEXT, SASL_SSL)
    mechanism = settings.kafka_sasl_mechanism.upper()
    _refuse_idle(settings, protocol, mechanism, encrypted=encrypted, signs_in=signs_in)
    options: dict[str, object] = {"security_protocol": protocol}
    if encrypted:
        options["ssl_context"] = _tls_context(settings)
    if signs_in:
        if mechanism not in MECHANISMS:
            raise ConfigurationError(
                f"{protocol} needs FRAUDWATCH_KAFKA_SASL_MECHANISM: one of {', '.join(MECHANISMS)}"
            )
        options["sasl_mechanism"] = mechanism
        options |= _oauth(settings) if mechanism == OAUTHBEARER else _password(settings, mechanism)
    return Security(protocol, mechanism, options)


def _refuse_idle(
    settings: Settings, protocol: str, mechanism: str, *, encrypted: bool, signs_in: bool
) -> None:
    """A password without a protocol that sends it means that somebody believes to be protected."""
    needed = {
        "kafka_ca_file": (encrypted, "SSL or SASL_SSL"),
        "kafka_cert_file": (encrypted, "SSL or SASL_SSL"),
        "kafka_key_file": (encrypted, "SSL or SASL_SSL"),
        "kafka_key_password": (encrypted, "SSL or SASL_SSL"),
        "kafka_sasl_mechanism": (signs_in, "SASL_SSL or SASL_PLAINTEXT"),
    }
    for name, (used, protocols) in needed.items():
        if _given(settings, name) and not used:
            raise ConfigurationError(
                f"{_variable(name)} has no effect with {protocol}: "
                f"set FRAUDWATCH_KAFKA_SECURITY_PROTOCOL to {protocols}"
            )
    for name in (
        "kafka_username",
        "kafka_password",
        "kafka_password_file",
        "kafka_oauth_token_url",
        "kafka_oauth_client_id",
        "kafka_oauth_client_secret",
        "kafka_oauth_client_secret_file",
        "kafka_oauth_scope",
        "kafka_oauth_ca_file",
    ):
        wanted = (OAUTHBEARER,) if name.startswith("kafka_oauth") else PASSWORD_MECHANISMS
        if _given(settings, name) and mechanism not in wanted:
            raise ConfigurationError(
                f"{_variable(name)} has no effect: "
                f"set FRAUDWATCH_KAFKA_SASL_MECHANISM to {' or '.join(wanted)}"
            )


def _tls_context(settings: Settings) -> ssl.SSLContext:
    """Brokers must show a certificate of a trusted authority, with the name that was asked for."""
    context = trusting(settings.kafka_ca_file, "kafka_ca_file")
    if settings.kafka_key_file and not settings.kafka_cert_file:
        raise ConfigurationError("FRAUDWATCH_KAFKA_KEY_FILE needs FRAUDWATCH_KAFKA_CERT_FILE")
    if settings.kafka_cert_file:
        try:
            context.load_cert_chain(
                settings.kafka_cert_file,
                settings.kafka_key_file or None,
                # given even if empty: OpenSSL would else ask at the terminal
                settings.kafka_key_password.get_secret_value(),
            )
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(
                "FRAUDWATCH_KAFKA_CERT_FILE and FRAUDWATCH_KAFKA_KEY_FILE must be a certificate "
                "and its key in PEM, FRAUDWATCH_KAFKA_KEY_PASSWORD the key's password if it has "
                f"one: {_why(error)}"
            ) from error
    return context


def trusting(ca_file: str, setting: str) -> ssl.SSLContext:
    """A context that trusts the authorities in `ca_file`; if that is empty, the system's."""
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"{_variable(setting)} must be a file of certificates in PEM: {_why(error)}"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _password(settings: Settings, mechanism: str) -> dict[str, object]:
    password = _secret(settings, settings.kafka_password, "kafka_password")
    if not settings.kafka_username or not password:
        raise ConfigurationError(
            f"{mechanism} needs FRAUDWATCH_KAFKA_USERNAME and "
            "FRAUDWATCH_KAFKA_PASSWORD or FRAUDWATCH_KAFKA_PASSWORD_FILE"
        )
    return {"sasl_plain_username": settings.kafka_username, "sasl_plain_password": password}


def _oauth(settings: Settings) -> dict[str, object]:
    secret = _secret(settings, settings.kafka_oauth_client_secret, "kafka_oauth_client_secret")
    client_id, url = settings.kafka_oauth_client_id, settings.kafka_oauth_token_url
    if not url or not client_id or not secret:
        raise ConfigurationError(
            "OAUTHBEARER needs FRAUDWATCH_KAFKA_OAUTH_TOKEN_URL, FRAUDWATCH_KAFKA_OAUTH_CLIENT_ID "
            "and FRAUDWATCH_KAFKA_OAUTH_CLIENT_SECRET or FRAUDWATCH_KAFKA_OAUTH_CLIENT_SECRET_FILE"
        )
    credentials = ClientCredentials(url, client_id, secret, settings.kafka_oauth_scope)
    context = trusting(settings.kafka_oauth_ca_file, "kafka_oauth_ca_file")
    return {"sasl_oauth_token_provider": make_token_provider(credentials, context)}


def _secret(settings: Settings, given: SecretStr, name: str) -> str:
    """A secret from its setting, or from the file that `…_FILE` names, without the last newline."""
    value = given.get_secret_value()
    path = getattr(settings, f"{name}_file")
    if not path:
        return value
    if value:
        raise ConfigurationError(f"set {_variable(name)} or {_variable(name)}_FILE, not both")
    try:
        return Path(path).read_text().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{_variable(name)}_FILE cannot be read: {_why(error)}") from error


def _given(settings: Settings, name: str) -> bool:
    value = getattr(settings, name)
    return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)


def _variable(name: str) -> str:
    return f"FRAUDWATCH_{name.upper()}"


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
