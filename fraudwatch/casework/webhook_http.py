"""One POST to an address that somebody else chose, without letting them reach our own network.

The name is resolved here, each address is checked, and the connection goes to a checked one: there
is no second look-up that could answer differently (DNS rebinding). Redirects are not followed and
bodies of answers are not read. TLS is checked against the name, with the system's authorities.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from threading import Timer
from urllib.parse import SplitResult, urlsplit

from fraudwatch.errors import ConfigurationError, Invalid

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request: the status, or why there is none."""

    status: int | None
    fault: str | None = None

    @property
    def taken(self) -> bool:
        """Whether the receiver has the message."""
        return self.status is not None and 200 <= self.status < 300


def read_networks(text: str) -> tuple[Network, ...]:
    """Networks with commas between. Raises `ConfigurationError`."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"FRAUDWATCH_WEBHOOK_NETWORKS must be networks such as 10.1.0.0/16: {error}"
        ) from error


def check_url(url: str) -> SplitResult:
    """The parts of a URL that a webhook may have. Raises `Invalid`."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid("the URL cannot be read") from error
    if parts.scheme not in ("https", "http") or not parts.hostname or port == 0:
        raise Invalid("the URL must be https://host[:port]/path")
    if parts.username is not None or parts.fragment:
        raise Invalid("the URL must hold no user and no fragment")
    if not url.isascii() or any(ord(char) <= 32 or ord(char) == 127 for char in url):
        raise Invalid("the URL must be written in plain ASCII, without blanks")
    return parts


def public(address: Address) -> bool:
    """Whether an address is one of the public internet, also by what is wrapped in it."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def choose(addresses: Sequence[str], *, tls: bool, allowed: Sequence[Network]) -> str | None:
    """The first address that may be connected to; None for none.

    Public ones only with TLS; those of the allowed networks in any case.
    """
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        if any(address in network for network in allowed) or (tls and public(address)):
            return text
    return None


def post(
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    seconds: float,
    allowed: Sequence[Network] = (),
) -> Answer:
    """Send; an answer in any case, within `seconds` after the name was resolved."""
    try:
        parts = check_url(url)
        host, tls = str(parts.hostname), parts.scheme == "https"
        port = parts.port or (443 if tls else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        address = choose([str(one[4][0]) for one in found], tls=tls, allowed=allowed)
    except (Invalid, OSError, UnicodeError, ValueError) as error:
        return Answer(None, f"the name was not resolved: {type(error).__name__}")
    if address is None:
        return Answer(None, "the address is not allowed: private, or without TLS")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        return _post(host, address, port, tls, path, headers, body, seconds)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Answer(None, f"no answer: {type(error).__name__}")


def _post(
    host: str,
    address: str,
    port: int,
    tls: bool,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    seconds: float,
) -> Answer:
    sock: socket.socket = socket.create_connection((address, port), timeout=seconds)
    cut = _Cut(sock)
    # A receiver that sends a byte now and then would never run into the socket's own timeout.
    end = Timer(seconds, cut)
    end.daemon = True
    end.start()
    try:
        if tls:
            context = ssl.create_default_context()
            cut.sock = secure = context.wrap_socket(
                sock, server_hostname=host, do_handshake_on_connect=False
            )
            secure.do_handshake()
        connection = http.client.HTTPConnection(host, port, timeout=seconds)
        connection.sock = cut.sock
        connection.request("POST", path, body, dict(headers))
        status = connection.getresponse().status
        if cut.done:
            raise TimeoutError("cut off in the middle of the answer")
        return Answer(status)
    finally:
        end.cancel()
        cut.sock.close()


@dataclass(slots=True)
class _Cut:
    """Ends a connection from another thread; with TLS `sock` is the one around the first."""

    sock: socket.socket
    done: bool = False

    def __call__(self) -> None:
        self.done = True
        with suppress(OSError):  # it is closed already
            self.sock.shutdown(socket.SHUT_RDWR)
