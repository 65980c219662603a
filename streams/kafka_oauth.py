"""Access tokens for SASL OAUTHBEARER: the client-credentials grant (RFC 6749, section 4.4)."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote_plus, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, OpenerDirector, Request, build_opener

from kafka.errors import KafkaConnectionError, SaslAuthenticationFailedError
from kafka.net.sasl.oauth import AbstractTokenProvider

from fraudwatch.errors import ConfigurationError

ANSWER_SECONDS = 5
"""The client's loop waits for a token, and sends no heartbeat meanwhile: far below a session."""
LIFE_USED = 0.8
"""A new token is asked for after this part of the old one's life. Below 0.85: brokers that want a
new sign-in when a token ends get it after 85 to 95 % of its life, and it must bring a new one."""
LIFE_LEFT = 10.0
"""No token with fewer seconds of life is given out. (Brokers refuse a new sign-in within a second
of the last one.)"""
ANSWER_BYTES = 1 << 20
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """Who asks for tokens, and where."""

    token_url: str
    client_id: str
    client_secret: str = field(repr=False)
    scope: str = ""


class _NoRedirects(HTTPRedirectHandler):
    """A redirect would carry the secret to wherever it points."""

    def redirect_request(self, *_: object) -> None:
        return None


class TokenProvider(AbstractTokenProvider):  # type: ignore[misc]
    """Tokens for all clients of this process, asked for when one connects and kept while they
    live. Called by kafka-python on each client's loop, so from several threads.
    """

    def __init__(
        self, credentials: ClientCredentials, opener: OpenerDirector, monotonic: Callable[[], float]
    ) -> None:
        self._credentials = credentials
        self._opener = opener
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = -float("inf")

    def token(self) -> str:
        """Raises `SaslAuthenticationFailedError` when the server refuses us, which is final, and
        `KafkaConnectionError` when it does not answer: the client tries again."""
        with self._lock:
            if self._monotonic() >= self._renew_at:
                asked_at = self._monotonic()
                self._token, seconds = self._fetch()
                self._renew_at = asked_at + min(seconds * LIFE_USED, seconds - LIFE_LEFT)
            return self._token

    def _fetch(self) -> tuple[str, float]:
        url = self._credentials.token_url
        try:
            with self._opener.open(self._request(), timeout=ANSWER_SECONDS) as answer:
                found = json.loads(answer.read(ANSWER_BYTES))
            return str(found["access_token"]), float(found.get("expires_in", 0))
        except HTTPError as error:
            with error:
                if error.code in (408, 429) or error.code >= 500:
                    raise KafkaConnectionError(
                        f"the token endpoint {url} answers {error.code}"
                    ) from None
                raise SaslAuthenticationFailedError(
                    f"the token endpoint {url} answers {error.code}: {error.reason}"
                ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise SaslAuthenticationFailedError(
                f"the token endpoint {url} does not answer with a token"
            ) from error
        except (OSError, HTTPException) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
                raise SaslAuthenticationFailedError(
                    f"the certificate of the token endpoint {url} is not trusted "
                    "(FRAUDWATCH_KAFKA_OAUTH_CA_FILE)"
                ) from error
            raise KafkaConnectionError(f"the token endpoint {url}: {error}") from error

    def _request(self) -> Request:
        asked = {"grant_type": "client_credentials"}
        if self._credentials.scope:
            asked["scope"] = self._credentials.scope
        # RFC 6749, 2.3.1: both parts are form-encoded before they are joined.
        client_id = quote_plus(self._credentials.client_id)
        pair = f"{client_id}:{quote_plus(self._credentials.client_secret)}"
        return Request(  # noqa: S310 - the scheme is checked by make_token_provider
            self._credentials.token_url,
            data=urlencode(asked).encode(),
            headers={
                "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
                "Accept": "application/json",
            },
        )


def make_token_provider(
    credentials: ClientCredentials,
    context: ssl.SSLContext,
    monotonic: Callable[[], float] = time.monotonic,
) -> TokenProvider:
    """Raises `ConfigurationError` for an address that would carry the secret in the clear."""
    address = urlsplit(credentials.token_url)
    secure = address.scheme == "https" or (
        address.scheme == "http" and address.hostname in LOOPBACK
    )
    if not secure or not address.hostname:
        raise ConfigurationError(
            "FRAUDWATCH_KAFKA_OAUTH_TOKEN_URL must be https://… (http only to this machine)"
        )
    opener = build_opener(HTTPSHandler(context=context), _NoRedirects)
    return TokenProvider(credentials, opener, monotonic)
