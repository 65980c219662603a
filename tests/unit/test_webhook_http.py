"""Where webhooks may go, and what their signatures hold."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fraudwatch.casework.webhook_http import check_url, choose, post, public, read_networks
from fraudwatch.domain.webhook_signature import secret_text, sign, verify
from fraudwatch.errors import ConfigurationError, Invalid
from tests.api.seed import NOW
from tests.receivers import receiving

HERE = read_networks("127.0.0.0/8, ::1/128")
SECRET, OTHER = secret_text(b"a" * 32), secret_text(b"b" * 32)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "2002:a00:1::",
        "64:ff9b::a00:1",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    ],
)
def test_no_private_address_is_public_however_it_is_written(address: str) -> None:
    assert not public(ip_address(address))
    assert choose([address], tls=True, allowed=()) is None


def test_public_addresses_need_tls_and_allowed_networks_do_not() -> None:
    assert choose(["1.1.1.1"], tls=True, allowed=()) == "1.1.1.1"
    assert choose(["1.1.1.1"], tls=False, allowed=()) is None
    assert choose(["10.0.0.1", "1.1.1.1"], tls=True, allowed=()) == "1.1.1.1"
    assert choose(["10.0.0.1"], tls=False, allowed=[ip_network("10.0.0.0/24")]) == "10.0.0.1"


def test_a_request_into_this_machine_is_refused_unless_allowed() -> None:
    with receiving() as receiver:
        refused = post(receiver.url, {}, b"{}", seconds=5)
        assert (refused.status, refused.taken) == (None, False)
        assert "not allowed" in str(refused.fault)
        by_name = receiver.url.replace("127.0.0.1", "localhost")
        assert "not allowed" in str(post(by_name, {}, b"{}", seconds=5).fault)
        assert receiver.got == []
        assert post(by_name, {"x-a": "1"}, b"{}", seconds=5, allowed=HERE).taken
        headers, body = receiver.got[0]
        assert (headers["x-a"], body) == ("1", b"{}")
        assert headers["host"].startswith("localhost:")


def test_a_redirect_is_not_followed() -> None:
    """It could lead anywhere, also to where the first address may not."""
    with receiving() as target, receiving() as receiver:
        receiver.status, receiver.location = 307, target.url
        answer = post(receiver.url, {}, b"{}", seconds=5, allowed=HERE)
        assert (answer.status, answer.taken, target.got) == (307, False, [])


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server that sends one byte of an endless header every 50 ms."""
    ending = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
                while not ending.wait(0.05):
                    try:
                        connection.sendall(b"x")
                    except OSError:
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        ending.set()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_receiver_that_drips_is_cut_off(dripping: str, scheme: str) -> None:
    """It would never run into a timeout that begins anew with each byte."""
    answer = post(f"{scheme}://{dripping}/", {}, b"{}", seconds=0.3, allowed=HERE)
    assert (answer.status, answer.taken) == (None, False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "https:///x",
        "https://a:b@example.org/",
        "https://example.org/#x",
        "https://example.org:99999/",
        "https://example.org/a b",
        "https://example.org/\r\nx: y",
        "https://exämple.org/",
        "//example.org/",
        "https://[::1",
    ],
)
def test_odd_urls_are_refused(url: str) -> None:
    with pytest.raises(Invalid):
        check_url(url)


def test_a_wrong_network_is_named() -> None:
    with pytest.raises(ConfigurationError, match="WEBHOOK_NETWORKS"):
        read_networks("10.1.0.0/16, nonsense")


def test_a_signature_holds_for_its_time_body_id_and_either_secret() -> None:
    headers = sign([SECRET, OTHER], "case:1", NOW, b"body")
    assert verify(SECRET, headers, b"body", NOW) == "case:1"
    assert verify(OTHER, headers, b"body", NOW + timedelta(minutes=5)) == "case:1"
    changed = [
        (secret_text(b"c" * 32), headers, b"body", NOW),
        (SECRET, headers, b"bodY", NOW),
        (SECRET, headers | {"webhook-id": "case:2"}, b"body", NOW),
        (SECRET, headers, b"body", NOW + timedelta(minutes=5, seconds=1)),
        (SECRET, headers, b"body", NOW - timedelta(minutes=5, seconds=1)),
        (SECRET, headers | {"webhook-timestamp": str(int(NOW.timestamp()) + 1)}, b"body", NOW),
        (SECRET, headers | {"webhook-timestamp": "x"}, b"body", NOW),
        (SECRET, {}, b"body", NOW),
    ]
    for secret, told, body, now in changed:
        with pytest.raises(Invalid):
            verify(secret, told, body, now)


@given(st.binary(max_size=50), st.binary(max_size=50))
def test_no_other_body_has_the_same_signature(one: bytes, other: bytes) -> None:
    headers = sign([SECRET], "case:1", NOW, one)
    if one == other:
        assert verify(SECRET, headers, other, NOW) == "case:1"
    else:
        with pytest.raises(Invalid, match="no signature"):
            verify(SECRET, headers, other, NOW)
