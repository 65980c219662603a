"""A Kafka broker that lets only known clients in: TLS, mTLS, SCRAM, PLAIN, OAUTHBEARER, ACLs.

One broker with a listener for each way in. On its plain listener everybody is a superuser, so
tests make topics and rights there. Certificates are made for each run.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from kafka import KafkaAdminClient
from kafka.admin import (
    ACL,
    ACLFilter,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    ResourcePattern,
    ResourcePatternFilter,
    ResourceType,
)

from tests.kafka_broker import Broker, Extras, run_broker

PASSWORD = "correct horse battery staple"
CLIENT_ID, CLIENT_SECRET = "fraudwatch", "hush: a/secret"
AUDIENCE = "kafka"
ISSUER = "https://issuer.example"


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own, and the files of what it signs."""

    folder: Path
    name: str = "test authority"
    key: ec.EllipticCurvePrivateKey = field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    @property
    def file(self) -> Path:
        path = self.folder / f"{self.name}.pem"
        if not path.exists():
            extension = x509.BasicConstraints(ca=True, path_length=0)
            certificate = self._sign(self.name, self.key, extension)
            path.write_bytes(certificate)
        return path

    def issue(self, name: str, *, address: str = "", password: bytes = b"") -> Path:
        """A file with key (under `password`) and certificate for `name`, or the host `address`."""
        key = ec.generate_private_key(ec.SECP256R1())
        usual: x509.ExtensionType = x509.BasicConstraints(ca=False, path_length=None)
        if address:
            usual = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        path = self.folder / f"{name}.pem"
        path.write_bytes(_pem(key, password) + self._sign(name, key, usual))
        return path

    def _sign(
        self, name: str, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType
    ) -> bytes:
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False
            )
            .sign(self.key, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )


def _pem(key: ec.EllipticCurvePrivateKey, password: bytes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption(),
    )


class TokenEndpoint:
    """Gives signed tokens to the one client it knows (RFC 6749, client credentials), over TLS or
    not. `asked` counts; `life` is the seconds that a token holds; `broken` answers 503."""

    def __init__(self) -> None:
        self.asked = 0
        self.scopes: list[str] = []
        self.life = 300
        self.broken = False
        self._key = rsa.generate_private_key(65537, 2048)

    def keys(self) -> str:
        """The public key as a JSON Web Key Set, which the broker checks tokens with."""
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "test"}
        for name, number in (("n", numbers.n), ("e", numbers.e)):
            key[name] = _base64(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        return json.dumps({"keys": [key]})

    def token(self) -> str:
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "sub": CLIENT_ID,
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + self.life,
            "jti": str(self.asked),
        }
        parts = [{"alg": "RS256", "kid": "test"}, claims]
        signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_base64(signature)}"

    @contextmanager
    def served(self) -> Iterator[str]:
        """Its address, while the block runs."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                self.answer(*endpoint.answer(form, self.headers["Authorization"]))

            def answer(self, status: int, body: dict[str, object]) -> None:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *_: object) -> None:
                """Keep the output of the tests clean."""

        with closing_server(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
            yield f"http://127.0.0.1:{port}/token"

    def answer(
        self, form: dict[str, list[str]], authorization: str
    ) -> tuple[int, dict[str, object]]:
        # RFC 6749, 2.3.1: form-encoded, then joined, then base64
        expected = base64.b64encode(b"fraudwatch:hush%3A+a%2Fsecret").decode()
        if self.broken:
            return 503, {}
        if form["grant_type"] != ["client_credentials"] or authorization != f"Basic {expected}":
            return 401, {"error": "invalid_client"}
        self.asked += 1
        self.scopes += form.get("scope", [])
        return 200, {"access_token": self.token(), "expires_in": self.life, "token_type": "bearer"}


@contextmanager
def closing_server(server: ThreadingHTTPServer) -> Iterator[int]:
    """Serve on a thread while the block runs; gives the port."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class SecureBroker:
    """The broker, who signed its certificate, and who gives tokens for it."""

    broker: Broker
    authority: Authority
    tokens: TokenEndpoint

    def url(self, listener: str, host: str = "127.0.0.1") -> str:
        return f"kafka://{host}:{self.broker.ports[listener]}"

    def allow(self, user: str, kind: str, name: str, *operations: str) -> None:
        """Give `User:{user}` rights on a topic, group or the cluster (`kafka-cluster`)."""
        resource = ResourcePattern(ResourceType[kind], name)
        granted = [
            ACL(f"User:{user}", "*", ACLOperation[operation], ACLPermissionType.ALLOW, resource)
            for operation in operations
        ]
        with closing(KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)) as admin:
            admin.create_acls(granted)
            # written at once, in force a little later
            deadline = time.monotonic() + 20
            while not set(granted) <= set(admin.describe_acls(_all_of(user, kind, name))[0]):
                assert time.monotonic() < deadline
                time.sleep(0.01)

    def take_away(self, user: str, kind: str, name: str) -> None:
        """Take away what `allow` gave on this topic or group."""
        with closing(KafkaAdminClient(bootstrap_servers=self.broker.bootstrap)) as admin:
            admin.delete_acls([_all_of(user, kind, name)])


def _all_of(user: str, kind: str, name: str) -> ACLFilter:
    pattern = ResourcePatternFilter(ResourceType[kind], name, ACLResourcePatternType.LITERAL)
    return ACLFilter(f"User:{user}", "*", ACLOperation.ANY, ACLPermissionType.ANY, pattern)


def _extras(folder: Path, authority: Authority, tokens: TokenEndpoint) -> Extras:
    (folder / "jwks.json").write_text(tokens.keys())
    keys = (folder / "jwks.json").as_uri()
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule required"
    oauth = "org.apache.kafka.common.security.oauthbearer"
    users = " ".join(f'user_{name}="{PASSWORD}"' for name in ("alice", "nobody"))
    return Extras(
        listeners={
            "MTLS": "SSL",
            "PASSWORD": "SASL_SSL",
            "CLEAR": "SASL_PLAINTEXT",
            "TOKEN": "SASL_SSL",
        },
        properties={
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": authority.issue("broker", address="127.0.0.1"),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": authority.file,
            "listener.name.mtls.ssl.client.auth": "required",
            "sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "listener.name.password.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512,PLAIN",
            "listener.name.password.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.password.scram-sha-512.sasl.jaas.config": scram,
            "listener.name.password.plain.sasl.jaas.config": f"{plain} {users};",
            "listener.name.clear.scram-sha-256.sasl.jaas.config": scram,
            "listener.name.token.sasl.enabled.mechanisms": "OAUTHBEARER",
            "listener.name.token.oauthbearer.sasl.jaas.config": (
                f"{oauth}.OAuthBearerLoginModule required;"
            ),
            "listener.name.token.oauthbearer.sasl.server.callback.handler.class": (
                f"{oauth}.OAuthBearerValidatorCallbackHandler"
            ),
            "listener.name.token.oauthbearer.sasl.oauthbearer.jwks.endpoint.url": keys,
            "listener.name.token.oauthbearer.sasl.oauthbearer.expected.audience": AUDIENCE,
            "listener.name.token.oauthbearer.sasl.oauthbearer.expected.issuer": ISSUER,
            # a sign-in ends with its token
            "listener.name.token.oauthbearer.connections.max.reauth.ms": 3_600_000,
        },
        format=[
            argument
            for name in ("alice", "nobody")
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
            for argument in ("--add-scram", f'{mechanism}=[name={name},password="{PASSWORD}"]')
        ],
        java=[f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}"],
    )


@pytest.fixture(scope="session")
def secure_kafka() -> Iterator[SecureBroker]:
    """A broker that all tests of this run share; each test makes topics and rights of its own."""
    tokens = TokenEndpoint()
    made: list[Authority] = []

    def extras(folder: Path) -> Extras:
        made.append(Authority(folder))
        return _extras(folder, made[0], tokens)

    for broker in run_broker(extras):
        yield SecureBroker(broker, made[0], tokens)
