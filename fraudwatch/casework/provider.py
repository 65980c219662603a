"""A provider of OpenID Connect: where it sends people, what its tokens say, which keys it signs by.

OpenID Connect Core 1.0 with the code flow and PKCE (RFC 7636); discovery; RP-initiated logout. What
the provider describes of itself, and its keys, are kept and read anew after an hour, and at once
for a key that is not known, at most once a minute. Called from several threads.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from fraudwatch.casework.provider_claims import Claims, Refused, Rules, read_roles
from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.settings import Settings

ANSWER_SECONDS = 5.0
KEPT_SECONDS = 3600.0
SILENT_SECONDS = 10.0
"""How long a provider that did not answer is not asked again: waiting takes a thread each time."""
KEYS_AGAIN_SECONDS = 60.0
"""How often an unknown key id may have the keys read: forged tokens must not become requests."""
SKEW_SECONDS = 60
"""How far the provider's clock may be from ours."""
CALLBACK = "/signin/provider/callback"
_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519",
    "EdDSA",
)  # fmt: skip
"""Signatures by a key that the provider alone has: neither `none` nor a shared secret's."""
_KINDS = ("RSA", "EC", "OKP")
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
_UNTRUE = Refused("token", "what the provider sent does not hold: try again, or tell who runs this")
_REFUSED = Refused("code", "the provider did not confirm this sign-in: try again")

_SILENT = "the provider of sign-in does not answer: try again"
_DISCOVERY = "/.well-known/openid-configuration"
_END = "end_session_endpoint"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Registration:
    """Who we are at the provider, and where people come back to."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    scopes: str
    label: str
    public_url: str

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends browsers back; registered there."""
        return f"{self.public_url}{CALLBACK}"

    @property
    def after_logout(self) -> str:
        """Where browsers come back to once signed out; registered there."""
        return f"{self.public_url}/signin?bye=true"


@dataclass(frozen=True, slots=True)
class Checked:
    """An id token that holds: the token itself and what it says."""

    id_token: str
    claims: Claims


class Provider:
    """One provider. Raises `Unavailable` where it does not answer."""

    def __init__(
        self,
        registration: Registration,
        rules: Rules,
        tls: ssl.SSLContext,
        monotonic: Callable[[], float],
    ) -> None:
        self.registration = registration
        self.rules = rules
        self._tls = tls
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._metadata: dict[str, Any] = {}
        self._describe_at = -float("inf")
        self._keys = KeySet([])
        self._keys_at = -float("inf")

    def require(self) -> None:
        """Raise `Unavailable` unless the provider can be used."""
        self._described()

    def sign_in_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the browser goes to sign in."""
        endpoint = self._described()["authorization_endpoint"]
        with self._client() as client:
            url, _ = client.create_authorization_url(
                endpoint, state=state, nonce=nonce, code_verifier=verifier
            )
        return str(url)

    def redeem(self, code: str, *, nonce: str, verifier: str, now: datetime) -> Checked | Refused:
        """Exchange the code that came back for an id token, and check that."""
        metadata = self._described()
        try:
            with self._client(metadata) as client:
                token = client.fetch_token(
                    metadata["token_endpoint"], code=code, code_verifier=verifier
                )
        except OAuthError as error:
            # `invalid_client` and its like are for the operator; the words may hold anything.
            _log.warning("the provider refused a code", extra={"data": {"error": error.error}})
            return _REFUSED
        except (httpx2.HTTPError, ValueError) as error:
            raise Unavailable(_SILENT) from error
        id_token = token.get("id_token")
        if not isinstance(id_token, str):
            _log.warning("the provider sent no id token: is `openid` among the scopes?")
            return _UNTRUE
        try:
            return Checked(id_token, self._checked(id_token, token.get("access_token"), nonce, now))
        except (JoseError, ValueError) as error:
            _log.warning("an id token does not hold", extra={"data": {"error": str(error)}})
            return _UNTRUE

    def sign_out_url(self, id_token: str) -> str | None:
        """Where the browser goes to end its session at the provider; None: it has no such page,
        or does not answer, and signing out here must work all the same."""
        try:
            endpoint = self._described().get(_END)
        except Unavailable:
            return None
        if not isinstance(endpoint, str):
            return None
        asked = {
            "id_token_hint": id_token,
            "client_id": self.registration.client_id,
            "post_logout_redirect_uri": self.registration.after_logout,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(asked)}"

    def _checked(
        self, id_token: str, access_token: str | None, nonce: str, now: datetime
    ) -> Claims:
        """Raises `JoseError` or `ValueError` for a token that does not hold."""
        try:
            token = self._decoded(id_token, self._known_keys())
        except InvalidKeyIdError:
            token = self._decoded(id_token, self._known_keys(after=KEYS_AGAIN_SECONDS))
        claims = CodeIDToken(
            token.claims,
            token.header,
            {
                "iss": {"essential": True, "value": self.registration.issuer},
                "aud": {"essential": True, "value": self.registration.client_id},
                "sub": {"essential": True},
            },
            {
                "nonce": nonce,
                "client_id": self.registration.client_id,
                "access_token": access_token,
            },
        )
        claims.validate(now=int(now.timestamp()), leeway=SKEW_SECONDS)
        return dict(claims)

    @staticmethod
    def _decoded(id_token: str, keys: KeySet) -> jwt.Token:
        registry = JWSRegistry(algorithms=list(_ALGORITHMS), strict_check_header=False)
        return jwt.decode(id_token, keys, registry=registry)

    def _described(self) -> Mapping[str, Any]:
        """What the provider describes of itself; what is kept stays good while it is silent."""
        with self._lock:
            if self._monotonic() >= self._describe_at:
                self._describe_at = self._monotonic() + SILENT_SECONDS
                try:
                    found = self._read(f"{self.registration.issuer.rstrip('/')}{_DISCOVERY}")
                    _check_description(found, self.registration.issuer)
                    self._metadata = found
                    self._describe_at = self._monotonic() + KEPT_SECONDS
                except Unavailable:
                    if not self._metadata:
                        raise
            if not self._metadata:
                raise Unavailable(_SILENT)
            return self._metadata

    def _known_keys(self, after: float = KEPT_SECONDS) -> KeySet:
        """The provider's keys, read anew when they are older than `after`."""
        address = self._described()["jwks_uri"]
        with self._lock:
            if self._monotonic() >= self._keys_at + after:
                self._keys = _key_set(self._read(address))
                self._keys_at = self._monotonic()
            return self._keys

    def _read(self, url: str) -> Any:
        try:
            with self._http() as client:
                answer = client.get(url, headers={"Accept": "application/json"})
                answer.raise_for_status()
                return answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            _log.warning("the provider does not answer", extra={"data": {"url": url}})
            raise Unavailable(_SILENT) from error

    def _http(self) -> httpx2.Client:
        return httpx2.Client(verify=self._tls, timeout=ANSWER_SECONDS)

    def _client(self, metadata: Mapping[str, Any] | None = None) -> Any:
        basic = "client_secret_basic"
        ways = (metadata or {}).get("token_endpoint_auth_methods_supported", [basic])
        return OAuth2Client(
            client_id=self.registration.client_id,
            client_secret=self.registration.client_secret,
            token_endpoint_auth_method=basic if basic in ways else "client_secret_post",
            scope=self.registration.scopes,
            redirect_uri=self.registration.redirect_uri,
            code_challenge_method="S256",
            verify=self._tls,
            timeout=ANSWER_SECONDS,
        )


def make_provider(settings: Settings, monotonic: Callable[[], float]) -> Provider | None:
    """The provider of the settings; None without one. Raises `ConfigurationError`; does not call
    the provider, so that the API starts without it."""
    if not settings.oidc_issuer:
        if settings.oidc_client_id or settings.oidc_roles:
            raise ConfigurationError("FRAUDWATCH_OIDC_…: FRAUDWATCH_OIDC_ISSUER is missing")
        return None
    for name in ("oidc_client_id", "oidc_name_claim", "oidc_role_claim", "public_url"):
        if not getattr(settings, name):
            raise ConfigurationError(f"FRAUDWATCH_OIDC_ISSUER needs FRAUDWATCH_{name.upper()} too")
    for name in ("oidc_issuer", "public_url"):
        if not _private(getattr(settings, name)):
            raise ConfigurationError(
                f"FRAUDWATCH_{name.upper()} must be https://… (http on this machine alone)"
            )
    if "openid" not in settings.oidc_scopes.split():
        raise ConfigurationError("FRAUDWATCH_OIDC_SCOPES must hold `openid`")
    registration = Registration(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=_secret(settings),
        scopes=settings.oidc_scopes,
        label=settings.oidc_label,
        public_url=settings.public_url.rstrip("/"),
    )
    rules = Rules(
        name=settings.oidc_name_claim,
        role=settings.oidc_role_claim,
        roles=read_roles(settings.oidc_roles),
        units=settings.oidc_units_claim or None,
    )
    return Provider(registration, rules, _trust(settings.oidc_ca_file), monotonic)


def _secret(settings: Settings) -> str:
    given, file = settings.oidc_client_secret.get_secret_value(), settings.oidc_client_secret_file
    if bool(given) == bool(file):
        raise ConfigurationError(
            "FRAUDWATCH_OIDC_ISSUER needs one of FRAUDWATCH_OIDC_CLIENT_SECRET and "
            "FRAUDWATCH_OIDC_CLIENT_SECRET_FILE"
        )
    if given:
        return given
    try:
        found = Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"FRAUDWATCH_OIDC_CLIENT_SECRET_FILE: {file} cannot be read"
        ) from error
    if not found:
        raise ConfigurationError(f"FRAUDWATCH_OIDC_CLIENT_SECRET_FILE: {file} is empty")
    return found


def _trust(file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file or None)
    except OSError as error:
        raise ConfigurationError(
            f"FRAUDWATCH_OIDC_CA_FILE: {file} is no file of certificates (PEM)"
        ) from error


def _check_description(found: Any, issuer: str) -> None:
    """Raise `Unavailable` unless it is the description of this issuer, with private addresses."""
    if not isinstance(found, dict) or any(not isinstance(found.get(n), str) for n in _NEEDED):
        raise Unavailable("the provider of sign-in does not describe itself")
    if found["issuer"] != issuer:
        _log.error(
            "the provider names another issuer than FRAUDWATCH_OIDC_ISSUER",
            extra={"data": {"issuer": found["issuer"]}},
        )
        raise Unavailable("the provider of sign-in is another than expected")
    endpoints = [value for name, value in found.items() if name in (*_NEEDED[1:], _END)]
    if not all(isinstance(value, str) and _private(value) for value in endpoints):
        raise Unavailable("the provider of sign-in has addresses without TLS")


def _key_set(found: Any) -> KeySet:
    """The keys that may have signed. Kinds that we do not know are left out, as RFC 7517 wants."""
    try:
        listed = [key for key in found["keys"] if key.get("kty") in _KINDS]
        return KeySet.import_key_set({"keys": [k for k in listed if k.get("use") != "enc"]})
    except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable("the provider of sign-in does not show its keys") from error


def _private(url: str) -> bool:
    """Whether nobody on the way can read or change what goes there."""
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return bool(parts.hostname) and (parts.scheme == "https" or local)
