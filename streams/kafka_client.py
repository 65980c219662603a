"""What all clients of Kafka share: how they connect, what their errors mean, when we are refused.

kafka-python 3.0.12 tries a connection again and again, whatever went wrong with it: a broker that
is away and one that refuses our password look alike to the caller. `_Manager` looks at why a
connection failed and keeps what only an operator can mend. (The client's own way to remember such
failures is never reached, because its connections do not raise while they are set up. And when a
broker answers and closes at once, as it does for a wrong password, the client often drops the
answer, because it sees both together.)
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    AuthorizationError,
    ClusterAuthorizationFailedError,
    FencedInstanceIdError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    InvalidSessionTimeoutError,
    InvalidTimestampError,
    KafkaError,
    KafkaTimeoutError,
    RetriableError,
    SaslAuthenticationFailedError,
    TopicAuthorizationFailedError,
    UnknownError,
    UnknownTopicOrPartitionError,
    UnsupportedSaslMechanismError,
    for_code,
)
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from fraudwatch.errors import ConfigurationError, Unavailable
from fraudwatch.telemetry import KAFKA_CONNECTIONS
from streams.kafka_security import Security

CONNECT_MS = 15_000

_ABRUPT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""Errors of TLS that also come from a broker which dies while it is connected to."""


class Refused(KafkaError):  # type: ignore[misc]
    """A broker refuses us, or we refuse it: trying again is of no use. Says what to set."""


class _Manager(KafkaConnectionManager):  # type: ignore[misc]
    """Remembers the last failure to connect, and every refusal.

    A node that refused is not connected to again: whoever asks for it gets the refusal.
    """

    def __init__(self, net: NetworkSelector, **options: object) -> None:
        super().__init__(net, **options)
        self.last_failure: BaseException | None = None

    async def _do_bootstrap(self, deadline: float | None) -> Any:
        try:
            return await super()._do_bootstrap(deadline)
        except KafkaTimeoutError as error:
            raise KafkaTimeoutError(
                f"no answer ({_text(self.last_failure or error)}); is FRAUDWATCH_STREAM_URL right, "
                f"and FRAUDWATCH_KAFKA_SECURITY_PROTOCOL ({self.config['security_protocol']})?"
            ) from error

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        transport = await super()._build_transport(node, timeout_at)
        receive = transport._sock_recv  # noqa: SLF001 - see the top of this file

        def receive_all() -> tuple[bytes, BaseException | None]:
            data, error = receive()
            return data, None if data else error  # the next read finds the end again

        transport._sock_recv = receive_all  # noqa: SLF001
        return transport

    async def _connect(self, node: Any, conn: Any, **options: object) -> None:
        await super()._connect(node, conn, **options)

        def refused(error: BaseException) -> None:
            if refusal := _refusal(error, f"{node.host}:{node.port}"):
                self._auth_failures[node.node_id] = refusal

        def failed(error: BaseException) -> None:
            self.last_failure = error
            KAFKA_CONNECTIONS.labels("failed").inc()
            refused(error)

        def lost(error: BaseException) -> None:
            # A broker that asks for a certificate tells after the handshake that ours will not
            # do. A sign-in that could not be renewed is tried anew, which tells whether it can.
            if _tls_error(error):
                refused(error)

        conn.init_future.add_callback(lambda _: KAFKA_CONNECTIONS.labels("made").inc())
        conn.init_future.add_errback(failed)
        conn.close_future.add_errback(lost)

    @property
    def refusal(self) -> Refused | None:
        return next(iter(self._auth_failures.values()), None)


def _text(error: BaseException) -> str:
    """What an error says, without the names of classes that the client puts before it."""
    said = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return said.rstrip(".")


def _refusal(error: BaseException, broker: str) -> Refused | None:
    """What the operator must do about a failed connection; None if it may work later."""
    if isinstance(error, SaslAuthenticationFailedError):
        return Refused(
            f"Kafka at {broker} refuses to let us in ({_text(error)}): "
            "look at FRAUDWATCH_KAFKA_USERNAME and FRAUDWATCH_KAFKA_PASSWORD, or with OAUTHBEARER "
            "at FRAUDWATCH_KAFKA_OAUTH_…"
        )
    if isinstance(error, UnsupportedSaslMechanismError | IllegalSaslStateError):
        return Refused(
            f"Kafka at {broker} does not take this way to sign in ({_text(error)}): look at "
            "FRAUDWATCH_KAFKA_SASL_MECHANISM and FRAUDWATCH_KAFKA_SECURITY_PROTOCOL"
        )
    cause = _tls_error(error)
    if cause is None or isinstance(cause, _ABRUPT):
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return Refused(
            f"the certificate of Kafka at {broker} is not trusted: "
            f"{cause.verify_message.rstrip('.')}. Look at "
            "FRAUDWATCH_KAFKA_CA_FILE, and whether FRAUDWATCH_STREAM_URL (and the broker's "
            "advertised.listeners) names the host as its certificate does"
        )
    reason = cause.reason or str(cause)
    return Refused(
        f"TLS with Kafka at {broker} fails ({reason}): look at "
        "FRAUDWATCH_KAFKA_SECURITY_PROTOCOL, and if the broker asks for a certificate at "
        "FRAUDWATCH_KAFKA_CERT_FILE and FRAUDWATCH_KAFKA_KEY_FILE"
    )


def _tls_error(error: BaseException | None) -> ssl.SSLError | None:
    """The error of TLS behind one of the client's: wrapped as its cause, context or argument."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error
        inner = next((part for part in error.args if isinstance(part, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return None


def make_client(**options: object) -> KafkaNetClient:
    """A client that never creates a topic by naming it, as kafka-python does by default."""
    net = NetworkSelector(**options)
    client = KafkaNetClient(net=net, manager=_Manager(net, **options))
    client.cluster.config["allow_auto_create_topics"] = False
    return client


def require_access(client: KafkaNetClient, topic: str = "") -> None:
    """Raise what the brokers refused and the client keeps to itself: to connect (`Refused`), or
    to tell of the topic (`TopicAuthorizationFailedError`)."""
    if refused := client._manager.refusal:  # noqa: SLF001 - ours
        raise refused
    if topic in client.cluster.unauthorized_topics:
        raise TopicAuthorizationFailedError(topic)


def partition_count(client: KafkaNetClient, topic: str, seconds: float) -> int:
    """How many partitions the topic has; 0 when there is no such topic.

    Asks for it by name: in an answer about all topics, those hidden from us are left out. Raises
    errors of Kafka, `TopicAuthorizationFailedError` for a hidden one.
    """
    deadline = time.monotonic() + seconds
    manager, cluster = client._manager, client.cluster  # noqa: SLF001
    # Asked twice: an answer that was on its way may not have heard of a new topic yet.
    for _ in range(2):
        if known := cluster.partitions_for_topic(topic):
            return len(known)
        client.get_broker_version(timeout_ms=left_ms(deadline))
        cluster.add_topic(topic)
        with suppress(UnknownTopicOrPartitionError):
            manager.run(manager.wait_for, cluster.request_update(), left_ms(deadline))
        require_access(client, topic)
    return len(cluster.partitions_for_topic(topic) or ())


def left_ms(deadline: float) -> float:
    """Milliseconds until then, at least one."""
    return max(1.0, (deadline - time.monotonic()) * 1000)


class ClientFactory:
    """Makes the clients that consumers, producers and admins ask for, and can close them: when
    one of those fails in its constructor, its client's thread and sockets would live on.
    """

    def __init__(self) -> None:
        self.made: list[KafkaNetClient] = []

    def __call__(self, **options: object) -> KafkaNetClient:
        self.made.append(make_client(**options))
        return self.made[-1]

    @property
    def connected(self) -> bool:
        """Whether any broker is connected. Brokers that are frozen count until a request fails."""
        return any(
            client.connected(broker.node_id)
            for client in self.made
            for broker in client.cluster.brokers()
        )

    def require_access(self, topic: str) -> None:
        for client in self.made:
            require_access(client, topic)

    def why_away(self) -> str:
        """The last failure to connect, as the end of a sentence; empty if there was none."""
        failures = [client._manager.last_failure for client in self.made]  # noqa: SLF001 - ours
        last = next((failure for failure in failures if failure), None)
        return f" ({_text(last)})" if last else ""

    @contextmanager
    def closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            for client in self.made:
                client.close()
            raise


@contextmanager
def open_admin(bootstrap: str, security: Security) -> Iterator[KafkaAdminClient]:
    """An admin client for the block; errors in it are translated by `kafka_errors`."""
    clients = ClientFactory()
    with kafka_errors(bootstrap):
        with clients.closed_on_error():
            admin = KafkaAdminClient(
                bootstrap_servers=bootstrap.split(","),
                bootstrap_timeout_ms=CONNECT_MS,
                kafka_client=clients,
                **security.options,
            )
        try:
            yield admin
        finally:
            admin.close()


def describe_topics(admin: KafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What Kafka tells of those topics that exist, by name. Raises errors of Kafka,
    `TopicAuthorizationFailedError` for topics hidden from us, whether they exist or not."""
    found = admin.describe_topics(list(names))
    hidden = {
        t["name"] for t in found if for_code(t["error_code"]) is TopicAuthorizationFailedError
    }
    if hidden:
        raise TopicAuthorizationFailedError(hidden)
    return {topic["name"]: topic for topic in found if not topic["error_code"]}


@contextmanager
def kafka_errors(bootstrap: str, *, doing: str = "") -> Iterator[None]:
    """What passes by itself becomes `Unavailable`, what the operator must mend
    `ConfigurationError`; the rest stays what it is and ends the worker.

    `doing` names the right that is needed, such as ``Write on topic decisions``, where it is known.
    """
    try:
        yield
    except FencedInstanceIdError as error:
        raise ConfigurationError(
            "another worker runs with the same FRAUDWATCH_WORKER_ID; give each its own"
        ) from error
    except InvalidSessionTimeoutError as error:
        raise ConfigurationError(
            f"Kafka at {bootstrap} does not take FRAUDWATCH_SESSION_SECONDS: it is outside of its "
            "group.min.session.timeout.ms and group.max.session.timeout.ms"
        ) from error
    except Refused as error:
        raise ConfigurationError(_text(error)) from error
    except AuthorizationError as error:
        raise ConfigurationError(
            f"Kafka at {bootstrap} does not allow it: we need {doing or _right(error)}; "
            "docs/clusters.md lists the rights of each part"
        ) from error
    except (SaslAuthenticationFailedError, UnsupportedSaslMechanismError) as error:
        raise ConfigurationError(_text(_refusal(error, bootstrap) or error)) from error
    except UnknownError as error:
        # The broker's own fault, for example a disk that it cannot read: it says no more.
        raise Unavailable(f"Kafka at {bootstrap} fails, see its log ({_text(error)})") from error
    except (RetriableError, OSError, InvalidTimestampError) as error:
        # A timestamp is refused while our clock is wrong, or the broker's: that passes.
        raise Unavailable(f"Kafka at {bootstrap}: {_text(error)}") from error


def _right(error: AuthorizationError) -> str:
    """The right that an error of the broker is about, as far as it tells."""
    found = error.args[0] if error.args else ""
    named = ", ".join(sorted(map(str, found))) if isinstance(found, set) else str(found)
    if isinstance(error, TopicAuthorizationFailedError):
        return f"Read, Write or Describe on topic {named}"
    if isinstance(error, GroupAuthorizationFailedError):
        return f"Read on group {named}"
    if isinstance(error, ClusterAuthorizationFailedError):
        return f"a right on the cluster ({named})"
    return f"a right ({named})"
